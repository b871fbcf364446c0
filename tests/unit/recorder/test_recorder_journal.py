"""The journal as the relay uses it, and what comes out of it."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest
from recorder_world import ULIDS, C, Legs, U, World, header, make_journal, play_session

from protocols.wire import Mark, Move, Side, Span
from recorder import framing, verify
from recorder.errors import RecorderError
from recorder.evidence.inbox import inbox_directory, waiting
from recorder.log_reader import LogFile
from recorder.parted import PartedLog
from recorder.reader import decoded, open_recording
from recorder.records import CommandEntry, Event
from recorder.sealed import note_sealed, read_sealed
from recorder.segment import segment_numbers
from recorder.streams import Hop, Streams


def hop_bytes(log: LogFile | PartedLog, side: Side, arrives: bool) -> bytes:
    pieces = Streams(log).pieces(Hop(side, arrives))
    return b"".join(b"?" * p.length if p.raw is None else p.raw for p in pieces)


def concealed(legs: Legs, side: Side, arrives: bool) -> bytes:
    raw = legs.hops[side, arrives]
    for secret in (b"hunter2 secret", b"pw-proof"):
        raw = raw.replace(secret, b"?" * len(secret))
    return raw.replace(b"D ssn 123-45-6789", b"?" * 17)


def sealed(state: Path, session: str = ULIDS[0]) -> LogFile | PartedLog:
    found = open_recording(state, session)
    assert isinstance(found, LogFile | PartedLog)
    return found


def test_a_session_comes_back_whole(tmp_path: Path) -> None:
    with_sealer = make_journal(tmp_path, sealer=True)
    legs = play_session(with_sealer)
    with_sealer.close()
    log = sealed(tmp_path)
    verdict = verify.verify(log)
    assert verdict.status == verify.OK, verdict
    assert "not externally anchored" in verdict.scope
    for side in (C, U):
        for arrives in (True, False):
            assert hop_bytes(log, side, arrives) == concealed(legs, side, arrives)
    assert log.end is not None
    assert log.end.status == "closed"
    assert log.end.counts == (
        *(len(legs.hops[side, True]) for side in (C, U)),
        *(len(legs.hops[side, False]) for side in (C, U)),
    )
    assert log.end.summary["subject"] == "ci@repo"
    assert log.end.summary["target"] == "prod-db"
    assert log.end.summary["verdicts"] == [3, 0, 1, 1]
    assert log.peek_end() == log.end
    assert segment_numbers(with_sealer.directory) == [1]


def test_events_and_commands_come_back_in_order(tmp_path: Path) -> None:
    journal = make_journal(tmp_path, sealer=True)
    play_session(journal)
    journal.close()
    entries = [e for r in decoded(sealed(tmp_path)) for e in r.entries]
    commands = [e for e in entries if isinstance(e, CommandEntry)]
    assert [(c.number, c.text, c.verdict) for c in commands] == [
        *((n, "select 1", 0) for n in range(3)), (9, "delete from t", 3), (10, "update t", 2),
    ]  # fmt: skip
    assert commands[4].digest == "d" * 64
    assert commands[4].parameters == ("a", None)
    kinds = [e.kind for e in entries if isinstance(e, Event)]
    assert kinds == ["identity", "destination", "approval"]
    places = {type(e).__name__: i for i, e in enumerate(entries)}
    assert entries.index(commands[3]) < places["StoredSpan"]


def test_a_repeated_statement_is_stored_once(tmp_path: Path) -> None:
    journal = make_journal(tmp_path)
    log = journal.open(header())
    text = "select a_rather_recognisable_column from t"
    for number in range(50):
        log.command(number, "run", text, 0, ("r",), "", "p")
        journal.flush()
    raw = (journal.directory / "00000001.agj").read_bytes()
    assert raw.count(text.encode()) == 1
    log.end("closed", "x")
    journal.close()


def test_secrets_and_originals_are_nowhere_on_disk(tmp_path: Path) -> None:
    journal = make_journal(tmp_path)
    play_session(journal)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            raw = path.read_bytes()
            for secret in (b"hunter2", b"pw-proof", b"123-45-6789"):
                assert secret not in raw, path
    journal.close()


def test_one_tick_of_a_session_is_one_record(tmp_path: Path) -> None:
    journal = make_journal(tmp_path)
    log = journal.open(header())
    journal.flush()
    before = journal.written
    log.command(1, "run", "select 1", 0)
    log.spans([Span(Move.PASS, C, Mark.PLAIN, b"abc", 0)])
    log.event("notice", {"text": "hi"})
    journal.flush()
    raw = (journal.directory / "00000001.agj").read_bytes()
    assert raw.count(bytes((framing.MAGIC, framing.DATA))) == 1
    assert journal.written > before
    journal.close()


@pytest.mark.parametrize("size", [1 << 18, (1 << 18) + 1, 3 << 20])
def test_large_spans_are_cut_and_joined(tmp_path: Path, size: int) -> None:
    journal = make_journal(tmp_path, sealer=True, segment_bytes=1 << 20)
    log = journal.open(header())
    legs = Legs()
    body = os.urandom(size)
    log.spans([legs.passed(U, body), legs.take(C, body), legs.send(C, body)])
    log.spans([legs.passed(U, body[:65536]) for _ in range(40)])
    journal.flush()
    log.end("closed", "done")
    journal.flush()
    journal.close()
    found = sealed(tmp_path)
    assert verify.verify(found).status == verify.OK
    for side in (C, U):
        for arrives in (True, False):
            assert hop_bytes(found, side, arrives) == legs.hops[side, arrives]


def test_many_sessions_interleave_and_segments_go(tmp_path: Path) -> None:
    journal = make_journal(tmp_path, sealer=True, segment_bytes=20_000)
    legs = {}
    logs = {}
    for session in ULIDS[:8]:
        logs[session], legs[session] = journal.open(header(session)), Legs()
    for turn in range(60):
        for session, log in logs.items():
            log.spans([legs[session].passed(C, f"{session} {turn}".encode() * (turn % 7))])
            log.spans([legs[session].passed(U, os.urandom(turn))])
        journal.flush()
    for log in logs.values():
        log.end("closed", "x")
    journal.flush()
    journal.close()
    assert len(segment_numbers(journal.directory)) == 1
    for session in logs:
        found = sealed(tmp_path, session)
        assert verify.verify(found).status == verify.OK
        assert hop_bytes(found, U, False) == legs[session].hops[U, False]


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    journal = make_journal(tmp_path)
    with pytest.raises(RecorderError, match="another process"):
        make_journal(tmp_path)
    other = make_journal(tmp_path, worker="1")
    other.close()
    journal.close()
    make_journal(tmp_path).close()


def test_a_live_session_can_be_read(tmp_path: Path) -> None:
    journal = make_journal(tmp_path)
    legs = play_session(journal, end=False)
    live = open_recording(tmp_path, ULIDS[0][:20])
    assert live.live
    verdict = verify.verify(live)
    assert verdict.status == verify.INCOMPLETE
    assert "still open" in verdict.message
    pieces = Streams(live).pieces(Hop(U, False))
    assert b"".join(p.raw or b"?" * p.length for p in pieces) == concealed(legs, U, False)
    journal.close()


def failing(monkeypatch: pytest.MonkeyPatch, behave: object) -> None:
    monkeypatch.setattr("recorder.journal.os.write", behave)
    monkeypatch.setattr("recorder.journal.os.writev", behave)


@pytest.mark.parametrize("how", ["ENOSPC", "EIO", "short"])
def test_a_failed_write_ends_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    journal = make_journal(tmp_path)
    legs = play_session(journal, ULIDS[0], end=False)
    second = journal.open(header(ULIDS[1]))
    journal.flush()
    first = next(iter(journal.open_sessions.values()))
    real = os.write

    def broken(fd: int, data: bytes) -> int:
        if how == "short":
            return real(fd, data[: len(data) // 2])
        raise OSError(getattr(errno, how), os.strerror(getattr(errno, how)))

    never = journal.open(header(ULIDS[2]))
    first.spans([Span(Move.PASS, C, Mark.PLAIN, b"must not move", legs.arrived[C])])
    failing(monkeypatch, broken)
    with pytest.raises(RecorderError):
        journal.flush()
    monkeypatch.undo()
    for call in (
        journal.flush,
        journal.sync,
        lambda: journal.open(header(ULIDS[3])),
        lambda: first.spans([Span(Move.PASS, C, Mark.PLAIN, b"x", 0)]),
        lambda: second.event("notice", {}),
        lambda: never.command(1, "run", "x", 0),
    ):
        with pytest.raises(RecorderError):
            call()
    first.end("closed", "too late, and harmless")
    journal.close()
    again = make_journal(tmp_path)
    assert again.recovery.corrupt == []
    log = sealed(tmp_path, ULIDS[0])
    verdict = verify.verify(log)
    assert verdict.status == verify.OK, verdict
    assert log.end is not None
    assert log.end.status == "terminated"
    assert log.end.reason.startswith("recorder: ")
    assert hop_bytes(log, U, False) == concealed(legs, U, False)
    assert verify.verify(sealed(tmp_path, ULIDS[1])).status == verify.OK
    again.close()


def test_a_failed_sync_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = make_journal(tmp_path)
    log = journal.open(header())
    journal.flush()
    assert journal.sync() == journal.written

    def broken(fd: int) -> None:
        raise OSError(errno.EIO, "I/O error")

    log.event("notice", {"text": "x"})
    journal.flush()
    monkeypatch.setattr("recorder.journal.os.fdatasync", broken)
    with pytest.raises(RecorderError):
        journal.sync()
    monkeypatch.undo()
    with pytest.raises(RecorderError):
        journal.sync()
    with pytest.raises(RecorderError):
        journal.flush()
    journal.close()


def test_sync_covers_segments_left_behind(tmp_path: Path) -> None:
    journal = make_journal(tmp_path, segment_bytes=1000)
    log = journal.open(header())
    for _ in range(20):
        log.event("notice", {"text": "x" * 400})
        journal.flush()
    assert journal.sync() == journal.written == journal.durable
    assert len(segment_numbers(journal.directory)) > 5
    log.end("closed", "x")
    journal.close()


def test_state_follows_free_space(tmp_path: Path) -> None:
    world = World()
    assert make_journal(tmp_path, world, worker="a").state() == "ok"
    assert make_journal(tmp_path, world, worker="b", low=1 << 60).state() == "low"
    assert make_journal(tmp_path, world, worker="c", critical=1 << 60).state() == "critical"


def test_what_can_not_be_encoded_fails_nobody(tmp_path: Path) -> None:
    journal = make_journal(tmp_path, sealer=True)
    log = journal.open(header())
    log.event("identity", {"subject": "a\ud800b", "tags": {"\udfff": 1 << 70}, "x": {1.5, b"y"}})
    log.command(1, "run", "select '\ud83d'", 3, ("r\ud800",), "\ud800", "", None, ["\ud800", None])
    log.command(2, "run", "select '\udcff'", 0)
    journal.flush()
    log.end("closed", "\ud800")
    journal.flush()
    journal.close()
    found = sealed(tmp_path)
    assert verify.verify(found).status == verify.OK
    event, first, second = (e for r in decoded(found) for e in r.entries)
    assert isinstance(event, Event)
    assert event.fields["subject"] == "a\\ud800b"
    assert event.fields["tags"] == {"\\udfff": str(1 << 70)}
    assert isinstance(first, CommandEntry)
    assert isinstance(second, CommandEntry)
    assert first.text == "select '\\ud83d'"
    assert second.text == "select '\udcff'"


def test_hostile_fields_are_bounded(tmp_path: Path) -> None:
    journal = make_journal(tmp_path, sealer=True)
    log = journal.open(header())
    log.event("notice", {"text": "x" * (1 << 19), "kept": 1})
    log.event("plan", {"command": 5, "masks": [["column" * 10, "redact", "rule"]] * 5000})
    log.event(
        "worst",
        {"a": {"b" * 500: [["c" * 9000] * 90] * 90}, "d": {str(n): n for n in range(90_000)}},
    )
    text = "select '" + "é\udc80" * 300_000
    for number in range(12):
        log.command(number, "run", f"{number}{text}", 0, (), "r", "p", None, ["y" * 900_000] * 3)
    journal.flush()
    log.end("closed", "x")
    journal.flush()
    journal.close()
    found = sealed(tmp_path)
    assert verify.verify(found).status == verify.OK
    entries = [e for r in decoded(found) for e in r.entries]
    notice, plan, worst = (e for e in entries if isinstance(e, Event))
    assert notice.fields == {"text": "x" * 4000, "kept": 1, "cut": notice.fields["cut"]}
    assert plan.fields["command"] == 5
    assert len(plan.fields["masks"]) == 300
    assert worst.fields["cut"] > 1 << 20
    commands = [e for e in entries if isinstance(e, CommandEntry)]
    assert len(commands) == 12
    assert commands[3].cut == len(text) + 1
    assert commands[3].text == f"3{text}"[: 1 << 16]
    for bad in ("", "../etc", "a/b", "é", "A" * 65):
        with pytest.raises((ValueError, RecorderError)):
            make_journal(tmp_path, worker="9").open({"session": bad})


def test_a_record_that_can_not_be_packed_lets_nothing_move(tmp_path: Path) -> None:
    journal = make_journal(tmp_path)
    bad, good = journal.open(header(ULIDS[0])), journal.open(header(ULIDS[1]))
    journal.flush()
    bad.command(1 << 80, "run", "x", 0)
    good.spans([Span(Move.PASS, C, Mark.PLAIN, b"abc", 0)])
    with pytest.raises(RecorderError, match="packed"):
        journal.flush()
    with pytest.raises(RecorderError):
        journal.flush()
    journal.close()
    make_journal(tmp_path).close()
    for session in ULIDS[:2]:
        found = sealed(tmp_path, session)
        assert verify.verify(found).status == verify.OK
        assert found.end is not None
        assert found.end.counts == (0, 0, 0, 0)


def test_where_little_goes_on_the_ledger_hears_of_an_end_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What many Logs at a time are spared, one need not wait for."""
    monkeypatch.setattr("recorder.seal._SETTLE", 3600.0)
    monkeypatch.setattr("recorder.seal._QUIET", 0.1)
    inbox = inbox_directory(tmp_path)
    inbox.mkdir(parents=True)
    journal = make_journal(tmp_path, sealer=True)
    journal.open(header(ULIDS[0])).end("closed", "x")
    journal.flush()
    deadline = time.monotonic() + 20
    while not waiting(inbox):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    journal.close()


def test_an_idle_session_pins_only_its_own_segments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.seal._SETTLE", 0.1)
    journal = make_journal(tmp_path, sealer=True, segment_bytes=10_000)
    idle = journal.open(header(ULIDS[0]))
    legs = Legs()
    idle.spans([legs.passed(C, b"first")])
    for n in range(1, 6):
        log = journal.open(header(ULIDS[n]))
        busy = Legs()
        for _ in range(20):
            log.spans([busy.passed(U, bytes(3000))])
            journal.flush()
        if n == 3:
            idle.spans([legs.passed(C, b"second")])
        log.end("closed", "x")
        journal.flush()
    sealer = journal._sealer
    assert sealer is not None
    deadline = time.monotonic() + 20
    while len(segment_numbers(journal.directory)) > 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    left = segment_numbers(journal.directory)
    assert set(idle.segments) <= set(left)
    assert len(left) <= len(idle.segments) + 1
    live = open_recording(tmp_path, ULIDS[0])
    assert live.live
    pieces = Streams(live).pieces(Hop(C, True))
    assert b"".join(p.raw or b"" for p in pieces) == b"firstsecond"
    os.close(journal._lock)
    sealer.stop()
    again = make_journal(tmp_path)
    assert [p.stem for p in again.recovery.recovered] == [ULIDS[0]]
    assert again.recovery.corrupt == []
    assert again.recovery.notices == []
    assert not (again.directory / "sealed").exists()
    again.close()


def test_the_list_of_sealed_sessions_may_be_torn(tmp_path: Path) -> None:
    note_sealed(tmp_path, [1, 2])
    note_sealed(tmp_path, [300])
    assert read_sealed(tmp_path) == {1, 2, 300}
    path = tmp_path / "sealed"
    path.write_bytes(path.read_bytes()[:-1])
    assert read_sealed(tmp_path) == {1, 2}
    raw = bytearray(path.read_bytes())
    raw[12] ^= 1
    path.write_bytes(raw)
    assert read_sealed(tmp_path) == {1}
