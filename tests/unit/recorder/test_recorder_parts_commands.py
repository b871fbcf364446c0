"""Commands say the same of a session in parts as of one in a single file."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from recorder_world import ULIDS, C, Legs, U, World, header, make_journal
from test_recorder_parts import recorded, running, until

from protocols.wire import Mark
from recorder import framing, records, verify
from recorder.cli import main
from recorder.errors import MissingKeyError
from recorder.index.answer import NAME as INDEX
from recorder.index.answer import Answer
from recorder.index.wanted import Wanted, Words
from recorder.keys import load_private, load_public, new_pair
from recorder.parted import PartedLog, files_of
from recorder.prune import Pruning
from recorder.reader import decoded, every_log, open_recording
from recorder.records import StoredSpan
from recorder.retention import Retention, Rule
from recorder.scan import Damage, OpenSegment
from recorder.segment import segment_numbers, segment_path
from recorder.tombstones import tombstones
from recorder.wrapped import opener_of

NAME = ULIDS[0]


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same session, in parts and in one file."""
    parts, whole = tmp_path_factory.mktemp("parts"), tmp_path_factory.mktemp("whole")
    recorded(parts)
    recorded(whole, part_size=1 << 30)
    assert len(files_of(next(every_log(parts)))) > 3
    assert len(files_of(next(every_log(whole)))) == 1
    return parts, whole


def said(state: Path, *arguments: str) -> tuple[int, bytes]:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="utf-8", write_through=True)
    kept, sys.stdout = sys.stdout, out
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            code = main(["--dir", str(state), *arguments])
        out.flush()
    finally:
        sys.stdout = kept
    text = raw.getvalue().replace(str(state).encode(), b"STATE")
    # A boundary takes a sequence number, by which also the ids of exported commands go.
    return code, re.sub(rb'"seq": ?\d+|"good_records": ?\d+|0/\d+/\d+"', b"", text)


COMMANDS = [
    ("list", "--json"),
    ("events", NAME, "--json"),
    ("events", NAME),
    *(("cat", NAME, "--leg", leg, "--side", side)
      for leg in ("client", "upstream") for side in ("in", "out")),
    ("grep", "select 2"),
    ("tail", NAME, "-n", "5"),
    ("play", NAME, "--speed", "max"),
    ("export", NAME, "--format", "ndjson"),
    ("export", NAME, "--format", "pcapng"),
    ("export", NAME, "--format", "asciicast"),
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: "-".join(c).replace(NAME, ""))
def test_a_command_says_the_same(states: tuple[Path, Path], command: tuple[str, ...]) -> None:
    parts, whole = (said(state, *command) for state in states)
    assert parts == whole
    assert len(parts[1]) > 50


def test_show_and_verify(states: tuple[Path, Path]) -> None:
    for state in states:
        code, raw = said(state, "show", NAME, "--json")
        assert code == 0
        assert json.loads(raw)["verify"]["status"] == "OK-UNANCHORED"
        assert said(state, "verify", "--all")[0] == 0
    log = next(every_log(states[0]))
    assert said(states[0], "verify", str(log)) == said(states[0], "verify", NAME)
    assert b" of part 2" not in said(states[0], "verify", NAME)[1]


def found(state: Path, wanted: Wanted, plain: bool) -> list[tuple[str, str, str]]:
    def never(text: str) -> None:
        raise AssertionError(text)

    items = Answer(state, wanted, never, plain).items()
    return [(line.session, line.status, item.shown()) for line, item in items]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.seal._SETTLE", 0.0)
    monkeypatch.setattr("recorder.seal._LOOK", 0.01)


@pytest.mark.usefixtures("at_once")
def test_an_index_answers_as_the_files_do(tmp_path: Path) -> None:
    journal, log, _ = running(tmp_path)
    until(lambda: len(segment_numbers(journal.directory)) <= 2)
    wanted = Wanted(text=Words("select 2"))
    first = found(tmp_path, wanted, plain=True)
    assert {status for _, status, _ in first} == {"open"}
    assert found(tmp_path, wanted, plain=False) == first
    log.end("closed", "done")
    journal.flush()
    journal.close()
    second = found(tmp_path, wanted, plain=True)
    assert [line[2] for line in second] == [line[2] for line in first]
    assert {status for _, status, _ in second} == {"closed"}
    for _ in range(2):
        assert found(tmp_path, wanted, plain=False) == second
    assert (tmp_path / INDEX).exists()
    # A part that is missing, and one that comes back.
    shutil.rmtree(tmp_path / "journal")
    last = files_of(next(every_log(tmp_path)))[-1]
    raw = last.read_bytes()
    last.unlink()
    damaged = found(tmp_path, wanted, plain=True)
    assert {status for _, status, _ in damaged} == {"damaged"}
    assert found(tmp_path, wanted, plain=False) == damaged
    last.write_bytes(raw)
    assert found(tmp_path, wanted, plain=False) == found(tmp_path, wanted, plain=True) == second


def pruning(state: Path) -> Pruning:
    rules = Retention((Rule("retention", delete_after=timedelta(days=30)),))
    return Pruning(state, rules, "lena", now=datetime.now(UTC) + timedelta(days=400))


def prune(state: Path) -> list[str]:
    def never(text: str) -> None:
        raise AssertionError(text)

    work = pruning(state)
    lines = Answer(state, Wanted(), never, plain=True).lines()
    return [work.delete(choice) or choice.why for choice in work.choices(lines) if choice.delete]


def test_prune_deletes_all_parts_and_goes_on_where_it_died(
    states: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = shutil.copytree(states[0], tmp_path / "state")
    files = files_of(next(every_log(state)))
    size = sum(path.stat().st_size for path in files)
    left = {"calls": 2}
    real = os.unlink

    def dies(path: Any, *more: Any, **named: Any) -> None:
        if str(path).endswith(".agr"):
            left["calls"] -= 1
            if left["calls"] < 0:
                raise KeyboardInterrupt
        real(path, *more, **named)

    with monkeypatch.context() as patch:
        patch.setattr("recorder.prune.os.unlink", dies)
        with pytest.raises(KeyboardInterrupt):
            prune(state)
    assert [path.exists() for path in files] == [True] * (len(files) - 2) + [False] * 2
    assert len(prune(state)) == 1
    assert not list(state.rglob("*.agr"))
    (stone,) = tombstones(state)
    assert (stone.line.session, stone.size) == (NAME, size)


def test_a_damaged_session_in_parts_is_not_pruned(
    states: tuple[Path, Path], tmp_path: Path
) -> None:
    state = shutil.copytree(states[0], tmp_path / "state")
    files = files_of(next(every_log(state)))
    files[-1].unlink()
    assert prune(state) == []
    assert len(list(state.rglob("*.agr"))) == len(files) - 1


@pytest.mark.usefixtures("at_once")
def test_sealed_originals_in_later_parts_open(tmp_path: Path) -> None:
    """Also of a session that runs, and whose keys are no more in the journal."""
    private, public = new_pair(tmp_path / "keys")
    state = tmp_path / "state"
    journal = make_journal(
        state, World(), part_size=2000, segment_bytes=4000, sealer=True, commit_interval=0.01,
        auditors=[load_public(public)],
    )  # fmt: skip
    log, legs = journal.open(header()), Legs()
    for number in range(60):
        log.spans([legs.take(U, b"ssn %03d" % number, Mark.EDITED)])
        log.spans([legs.send(C, b"ssn ***", Mark.EDITED), legs.passed(U, b"x" * 200)])
        journal.flush()
    until(lambda: segment_numbers(journal.directory)[0] > 1)

    def opened() -> list[bytes]:
        recording = open_recording(state, NAME)
        opener = opener_of(recording, [load_private(private)])
        spans = [e for r in decoded(recording) for e in r.entries if isinstance(e, StoredSpan)]
        return [opener.open(span) for span in spans if span.blob]

    wanted = [b"ssn %03d" % number for number in range(60)]
    assert opened() == wanted
    log.end("closed", "done")
    journal.flush()
    journal.close()
    assert opened() == wanted
    next(state.rglob("*.keys")).unlink()
    with pytest.raises(MissingKeyError):
        opened()


def records_in(directory: Path) -> Iterator[tuple[Path, framing.Framed]]:
    for number in segment_numbers(directory):
        with OpenSegment(segment_path(directory, number)) as segment:
            for found in segment.records():
                assert not isinstance(found, Damage)
                yield segment_path(directory, number), found


def test_a_damaged_boundary_loses_only_itself(tmp_path: Path) -> None:
    legs = recorded(tmp_path, sealer=False)
    directory = tmp_path / "journal" / "0"
    boundaries = [
        (path, found)
        for path, found in records_in(directory)
        if found.kind == framing.HEADER and records.prefix(found.body)[1]
    ]
    assert len(boundaries) > 3
    path, hit = boundaries[1]
    raw = bytearray(path.read_bytes())
    raw[hit.offset + 30] ^= 1
    path.write_bytes(raw)
    make_journal(tmp_path).close()
    log = open_recording(tmp_path, NAME)
    assert isinstance(log, PartedLog)
    verdict = verify.verify(log)
    assert (verdict.status, verdict.part) == (verify.INCOMPLETE, 1)
    assert verdict.message.startswith("1 records are missing")
    assert len(log.roots) == len(boundaries)
    spans = [e for r in decoded(log) for e in r.entries if isinstance(e, StoredSpan)]
    arrived = sum(s.length for s in spans if s.side is U and s.arrival >= 0)
    assert arrived == len(legs.hops[U, True])


@pytest.mark.parametrize("which", [0, 1, 2, -1])
def test_a_part_that_a_crash_damaged_is_made_again(tmp_path: Path, which: int) -> None:
    """While the journal has it; byte for byte, so that what follows still follows."""
    recorded(tmp_path / "good", sealer=False)
    shutil.copytree(tmp_path / "good", tmp_path / "bad")
    make_journal(tmp_path / "good").close()
    files = files_of(next(every_log(tmp_path / "good")))
    wanted = [path.read_bytes() for path in files]
    shutil.copytree(
        tmp_path / "good" / "sessions", tmp_path / "bad" / "sessions", dirs_exist_ok=True
    )
    files = files_of(next(every_log(tmp_path / "bad")))
    files[which].write_bytes(wanted[which][:-40] + bytes(40))
    make_journal(tmp_path / "bad").close()
    assert [path.read_bytes() for path in files] == wanted
    assert len(list(tmp_path.rglob("*.damaged"))) == 1
