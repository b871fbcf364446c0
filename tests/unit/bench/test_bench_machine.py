"""What makes a run's numbers worth less."""

from __future__ import annotations

from typing import Any

import pytest

from bench.machine import complaints

QUIET: dict[str, object] = {
    "steal_percent": 0.0,
    "foreign_percent": 0.0,
    "load_before": [0.0, 0.0, 0.0],
    "gateway": "wirewarden 0.1.0 (compiled; in C: masks, row loops, inner loop)",
}


def test_a_quiet_machine_and_a_whole_build_are_no_reason() -> None:
    assert complaints(QUIET) == []


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("gateway", "wirewarden 0.1.0 (pure: not compiled; in C: masks)", "compiled"),
        ("gateway", "wirewarden 0.1.0 (compiled; in C: masks; in Python: inner loop)", "compiled"),
        ("steal_percent", 90.0, "guests"),
        ("foreign_percent", 90.0, "other programs"),
        ("load_before", [99.0, 0.0, 0.0], "load 99.0"),
    ],
)
def test_each_reason_is_said(key: str, value: Any, word: str) -> None:
    (said,) = complaints(QUIET | {key: value})
    assert word in said
