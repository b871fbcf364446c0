"""Durations as people write them."""

from __future__ import annotations

import pytest

from gateway.durations import duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("15m", 900), ("2h", 7200), ("7d", 604800), ("0s", 0)]
)
def test_seconds(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "30", "s", "-1s", "1.5h", "1 s", "1s\n", "٣s", "1w", "1S", "9999999999s"]
)
def test_nothing_else(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        duration(text)
