"""Sessions in parts: cut while they run, read as one, judged part by part."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from recorder_world import ULIDS, C, Legs, U, World, header, make_journal

from protocols.wire import Side
from recorder import verify
from recorder.catalog import catalog
from recorder.cli import main
from recorder.errors import FormatError
from recorder.journal import Journal
from recorder.live import LiveSession
from recorder.log_reader import LogFile
from recorder.parted import PartedLog, files_of
from recorder.reader import decoded, every_log, open_recording
from recorder.records import CommandEntry
from recorder.segment import segment_numbers
from recorder.session_log import SessionLog
from recorder.state import part_of, part_path
from recorder.streams import Hop, Streams

NAME = ULIDS[0]


def talk(log: SessionLog, legs: Legs, journal: Journal, rounds: int, rows: bytes = b"D") -> None:
    """The same few commands again and again, and a TAKE that is forwarded a round later."""
    held = None
    for number in range(rounds):
        log.command(number, "run", f"select {number % 3}", 0, ("reads",))
        log.spans([legs.passed(C, b"Q%05d" % number), legs.passed(U, rows * 300)])
        if held is not None:
            log.spans([legs.forward(C, held, 40)])
        held = legs.arrived[C]
        log.spans([legs.take(C, b"%040d" % number)])
        journal.flush()
    assert held is not None
    log.spans([legs.forward(C, held, 40)])


def recorded(state: Path, rounds: int = 40, rows: bytes = b"D", **settings: Any) -> Legs:
    """A session of several parts."""
    settings = {"sealer": True, "part_size": 4000} | settings
    journal = make_journal(state, World(), **settings)
    log = journal.open(header())
    log.event("identity", {"subject": "ci@repo"})
    legs = Legs()
    talk(log, legs, journal, rounds, rows)
    log.end("closed", "done")
    journal.flush()
    journal.close() if settings["sealer"] else os.close(journal._lock)
    if settings["sealer"]:
        shutil.rmtree(state / "journal")  # what is in it still would do for a missing part
    return legs


def parts(state: Path) -> list[Path]:
    return files_of(next(every_log(state)))


def streams(found: Any) -> dict[tuple[Side, bool], bytes]:
    return {
        (side, arrives): b"".join(p.raw or b"?" for p in Streams(found).pieces(Hop(side, arrives)))
        for side in (C, U)
        for arrives in (True, False)
    }


def check_whole(state: Path, legs: Legs, rounds: int = 40) -> PartedLog:
    found = open_recording(state, NAME)
    assert isinstance(found, PartedLog)
    assert verify.verify(found).status == verify.OK, verify.verify(found)
    assert streams(found) == legs.hops
    texts = [e for r in decoded(found) for e in r.entries if isinstance(e, CommandEntry)]
    assert [e.text for e in texts] == [f"select {n % 3}" for n in range(rounds)]
    return found


def test_a_session_in_parts_is_read_as_one(tmp_path: Path) -> None:
    legs = recorded(tmp_path)
    assert [part_of(path) for path in parts(tmp_path)] == [*range(len(parts(tmp_path)))]
    assert len(parts(tmp_path)) > 3
    assert len(list(every_log(tmp_path))) == 1
    found = check_whole(tmp_path, legs)
    assert f"in {len(parts(tmp_path))} parts" in verify.verify(found).message
    (line,) = catalog(tmp_path)
    assert (line.status, line.principal, line.allowed) == ("closed", "ci@repo", 40)
    assert line.bytes == sum(map(len, legs.hops.values()))
    assert not list(tmp_path.rglob("*.tmp"))


def test_each_part_is_readable_by_itself(tmp_path: Path) -> None:
    recorded(tmp_path)
    texts = 0
    for number, path in enumerate(parts(tmp_path)[1:], 1):
        found = open_recording(tmp_path, str(path))
        assert isinstance(found, LogFile)
        verdict = verify.verify(found)
        assert (verdict.status, verdict.part) == (verify.INCOMPLETE, number)
        assert "whole in itself" in verdict.message
        for record in decoded(found):
            for entry in record.entries:
                if isinstance(entry, CommandEntry):
                    assert entry.text, "a shape of an earlier part"
                    texts += 1
        found.close()
    assert texts


def test_without_a_sealer_recovery_cuts_in_the_same_places(tmp_path: Path) -> None:
    recorded(tmp_path / "a")
    recorded(tmp_path / "b", sealer=False)
    make_journal(tmp_path / "b").close()
    one, two = ([p.read_bytes() for p in parts(tmp_path / name)] for name in "ab")
    assert one == two


def test_time_begins_a_part_too(tmp_path: Path) -> None:
    legs = recorded(tmp_path, part_size=1 << 30, part_seconds=0.01)
    assert len(parts(tmp_path)) > 2
    check_whole(tmp_path, legs)


def running(state: Path, rounds: int = 40, **settings: Any) -> tuple[Journal, SessionLog, Legs]:
    settings = {"part_size": 4000, "sealer": True, "segment_bytes": 6000} | settings
    journal = make_journal(state, World(), commit_interval=0.01, **settings)
    log, legs = journal.open(header()), Legs()
    log.event("identity", {"subject": "ci@repo"})
    talk(log, legs, journal, rounds)
    journal.flush()
    return journal, log, legs


def until(true: Any) -> None:
    for _ in range(1000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it took too long")


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make Logs durable, and delete segments, without waiting."""
    monkeypatch.setattr("recorder.seal._SETTLE", 0.0)
    monkeypatch.setattr("recorder.seal._LOOK", 0.01)


@pytest.mark.usefixtures("at_once")
def test_a_running_session_frees_its_segments_and_is_read_whole(tmp_path: Path) -> None:
    journal, log, legs = running(tmp_path)
    assert segment_numbers(journal.directory)[-1] >= 3
    until(lambda: len(segment_numbers(journal.directory)) <= 2)
    found = open_recording(tmp_path, NAME)
    assert isinstance(found, LiveSession)
    assert streams(found) == legs.hops
    assert "still open" in verify.verify(found).message
    (line,) = catalog(tmp_path)
    assert (line.status, line.principal) == ("open", "ci@repo")
    assert 30 < line.allowed <= 40, "counted exactly up to the last part"
    talk(log, legs, journal, 40)
    log.end("closed", "done")
    journal.flush()
    journal.close()
    found = open_recording(tmp_path, NAME)
    assert verify.verify(found).status == verify.OK
    assert streams(found) == legs.hops


@pytest.mark.usefixtures("at_once")
def test_reading_goes_on_where_the_sealer_takes_the_journal_away(tmp_path: Path) -> None:
    journal, log, legs = running(tmp_path, part_size=1 << 30)
    found = open_recording(tmp_path, NAME)
    assert isinstance(found, LiveSession)
    pieces = Streams(found).pieces(Hop(U, True))
    raw = next(pieces).raw or b""
    last = journal._segment.number
    assert last >= 3
    log.room = -1
    talk(log, legs, journal, 1)
    journal.flush()
    until(lambda: len(segment_numbers(journal.directory)) == 1)
    assert segment_numbers(journal.directory) == [last], "it holds the end of what was cut, too"
    raw += b"".join(p.raw or b"?" for p in pieces)
    assert raw == legs.hops[U, True]
    journal.close()


@pytest.mark.usefixtures("at_once")
def test_an_idle_session_holds_no_old_segments(tmp_path: Path) -> None:
    world = World()
    journal = make_journal(
        tmp_path, world, part_size=4000, sealer=True, segment_bytes=6000, commit_interval=0.01
    )
    idle, silent = journal.open(header(ULIDS[1])), journal.open(header(ULIDS[2]))
    idle.command(1, "run", "select 1", 0)
    busy, legs = journal.open(header()), Legs()
    for _ in range(3):
        for _ in range(6):
            talk(busy, legs, journal, 20)
            journal.flush()
        journal.flush()
        world.now += 61_000_000_000
        journal.relieve()
        until(lambda: len(segment_numbers(journal.directory)) <= 8)
    last = journal._segment.number
    assert idle.part == silent.part == 1
    assert segment_numbers(journal.directory)[0] >= last - 8 > 5
    assert {line.session: line.status for line in catalog(tmp_path)} == dict.fromkeys(
        ULIDS[:3], "open"
    )
    os.close(journal._lock)  # and a crash finds them all
    journal._sealer.stop() if journal._sealer else None
    make_journal(tmp_path).close()
    assert {line.session: line.status for line in catalog(tmp_path)} == dict.fromkeys(
        ULIDS[:3], "recovered"
    )
    for name in ULIDS[:3]:
        assert "recovered" in verify.verify(open_recording(tmp_path, name)).message


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("parts")
    recorded(state)
    return state


@pytest.fixture
def state(base: Path, tmp_path: Path) -> Path:
    return shutil.copytree(base, tmp_path / "state")


def verdict_of(state: Path) -> tuple[str, int, int | None]:
    found = verify.verify_file(next(every_log(state)))
    return found.status, found.part, found.offset


def test_a_missing_part_is_named(state: Path) -> None:
    some = parts(state)
    for number in (1, 2, len(some) - 1):
        raw = some[number].read_bytes()
        some[number].unlink()
        assert verdict_of(state) == (verify.INCOMPLETE, number, 0)
        (line,) = catalog(state)
        assert (line.status == "damaged") == (number == len(some) - 1)
        assert line.principal == "ci@repo"
        with pytest.raises(FormatError, match=f"byte 0 of part {number}"):
            streams(open_recording(state, NAME))
        some[number].write_bytes(raw)
    some[0].unlink()
    assert verdict_of(state) == (verify.INCOMPLETE, 1, None)


def test_swapped_spliced_and_added_parts_are_found(state: Path, tmp_path: Path) -> None:
    some = parts(state)
    one, two = some[1].read_bytes(), some[2].read_bytes()
    some[1].write_bytes(two)
    some[2].write_bytes(one)
    assert verdict_of(state) == (verify.TAMPERED, 1, 12)
    some[1].write_bytes(one)
    assert verdict_of(state) == (verify.TAMPERED, 2, 12)
    # Of the same session's name and number, made by another run.
    recorded(tmp_path / "other", rounds=41)
    some[2].write_bytes(parts(tmp_path / "other")[2].read_bytes())
    some[1].write_bytes(parts(tmp_path / "other")[1].read_bytes())
    assert verdict_of(state) == (verify.OK, 0, None)  # the same records so far: the same bytes
    (tmp_path / "third").mkdir()
    world = World()
    world.now += 7
    journal = make_journal(tmp_path / "third", world, part_size=4000, sealer=True)
    log, legs = journal.open(header()), Legs()
    talk(log, legs, journal, 50)
    log.end("closed", "done")
    journal.close()
    some[2].write_bytes(parts(tmp_path / "third")[2].read_bytes())
    assert verdict_of(state) == (verify.TAMPERED, 2, 32)
    some[2].write_bytes(two)
    # Of the same times and sizes, made by somebody: only the root of the part before tells.
    recorded(tmp_path / "fourth", rows=b"E")
    some[2].write_bytes(parts(tmp_path / "fourth")[2].read_bytes())
    assert verdict_of(state) == (verify.TAMPERED, 2, 32)
    some[2].write_bytes(two)
    # Something after the end.
    extra = part_path(some[0], len(some))
    shutil.copy(some[-1], extra)
    assert verdict_of(state)[:2] == (verify.TAMPERED, len(some))
    extra.unlink()
    assert verdict_of(state) == (verify.OK, 0, None)
    # A bit in the middle of the third.
    raw = bytearray(two)
    raw[len(raw) // 2] ^= 1
    some[2].write_bytes(raw)
    assert verdict_of(state)[:2] == (verify.CORRUPT, 2)
    some[2].write_bytes(two[:-20])
    assert verdict_of(state)[:2] == (verify.INCOMPLETE, 2)


def test_a_part_of_another_session(state: Path, tmp_path: Path) -> None:
    journal = make_journal(tmp_path / "other", World(), part_size=4000, sealer=True)
    log, legs = journal.open(header(ULIDS[3])), Legs()
    talk(log, legs, journal, 50)
    log.end("closed", "done")
    journal.close()
    some = parts(state)
    some[2].write_bytes(parts(tmp_path / "other")[2].read_bytes())
    assert verdict_of(state) == (verify.TAMPERED, 2, 32)


def test_a_bundle_holds_every_part(tmp_path: Path) -> None:
    recorded(tmp_path / "state")
    assert len(parts(tmp_path / "state")) > 2
    out = tmp_path / "x.tar"
    words = ["--dir", str(tmp_path / "state"), "export", NAME, "--format", "bundle"]
    assert main([*words, "-o", str(out)]) == 3  # this state has no ledger
    with tarfile.open(out) as tar:
        tar.extractall(tmp_path / "elsewhere", filter="data")
    folder = tmp_path / "elsewhere" / NAME
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=folder, check=True)
    for path in parts(tmp_path / "state"):
        assert (folder / path.name).read_bytes() == path.read_bytes()
    assert (
        verify.verify(open_recording(tmp_path, str(folder / f"{NAME}.agr"))).status
        == "OK-UNANCHORED"
    )
    readme = (folder / "README.txt").read_text()
    assert all(path.name in readme for path in parts(tmp_path / "state"))
