"""SCHEMAS.md names every member that is printed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from recorder_world import ULIDS, World, make_journal, play_session

from recorder.cli import main
from recorder.export.parquet import schema
from recorder.replay.compare import DECLARED, DEFAULT
from recorder.replay.report import Item, Status, Tally

TEXT = files("recorder").joinpath("SCHEMAS.md").read_text(encoding="utf-8")


def words(title: str) -> set[str]:
    """What the section says whose title has ``title`` in it."""
    (section,) = (s for s in TEXT.split("\n## ") if s.startswith(title))
    return set(re.findall(r"[A-Za-z][A-Za-z_-]*", section))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    journal = make_journal(tmp_path, World(), sealer=True)
    play_session(journal, ULIDS[0])
    play_session(journal, ULIDS[1])
    journal.close()
    return tmp_path


@pytest.mark.parametrize(
    ("section", "command"),
    [
        ("session (`list`)", "list"),
        ("session (`list`)", f"show {ULIDS[0]}"),
        ("event (`events`", f"events {ULIDS[0]} --bytes"),
        ("event (`events`", f"tail {ULIDS[0]}"),
        ("event (`events`", "grep ."),
        ("verdict (`verify`)", f"verify {ULIDS[0]}"),
        ("hold, prune, keys", f"keys show {ULIDS[0]}"),
        ("hold, prune, keys", "prune --delete-after 1d"),
    ],
)
def test_what_is_printed_is_described(
    state: Path, capfd: pytest.CaptureFixture[str], section: str, command: str
) -> None:
    main(["--dir", str(state), *command.split(), "--json"])
    known = words(section)
    lines = capfd.readouterr().out.splitlines()
    assert lines
    for line in lines:
        told = json.loads(line)
        name = re.fullmatch(r"wirewarden\.([a-z-]+)/1", told.pop("schema"))
        assert name
        assert name[1] in known
        assert set(told) <= known, set(told) - known


def test_replays_are_described() -> None:
    known = words("replay-item")
    assert set(Item(Status.EQUAL, 1, 1, "x").as_dict()) <= known
    assert set(Tally().as_dict()) - {s.value.replace("-", "_") for s in Status} <= known
    assert {s.value for s in Status} <= known
    assert {*DEFAULT, *DECLARED} <= known


def _columns() -> Iterator[tuple[str, Any]]:
    yield from ((field.name, field.type) for field in schema())


def test_columns_are_described() -> None:
    pytest.importorskip("pyarrow")
    known = words("Parquet")
    assert {name for name, _ in _columns()} <= known
