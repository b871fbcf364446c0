"""Whatever is written, however it is cut: it comes back."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recorder_world import ULIDS, C, Legs, U, World, header, make_journal

from protocols.wire import Mark, Move, Span
from recorder import records, verify
from recorder.errors import FormatError
from recorder.reader import decoded, open_recording
from recorder.records import CommandEntry, Event
from recorder.recovery import recover_idle
from recorder.seal import Sealer
from recorder.streams import Hop, Streams

OPS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.sampled_from([C, U]), st.binary(min_size=1, max_size=80)),
        st.tuples(st.just("take"), st.sampled_from([C, U]), st.binary(min_size=1, max_size=80)),
        st.tuples(st.just("send"), st.sampled_from([C, U]), st.binary(min_size=1, max_size=80)),
        st.tuples(st.just("forward"), st.integers(0, 7), st.integers(1, 40)),
        st.tuples(st.just("command"), st.integers(0, 3), st.text(max_size=20)),
        st.tuples(st.just("flush"), st.none(), st.none()),
        st.tuples(st.just("pack"), st.none(), st.none()),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(OPS, st.booleans(), st.integers(200, 3000))
def test_any_session_comes_back(
    ops: list[tuple[str, object, object]], die: bool, size: int
) -> None:
    with tempfile.TemporaryDirectory() as place:
        state = Path(place)
        journal = make_journal(state, segment_bytes=size, sealer=not die)
        log = journal.open(header())
        legs, commands = Legs(), []
        held: list[Span] = []
        for kind, a, b in ops:
            if kind == "pass":
                log.spans([legs.passed(a, b)])  # type: ignore[arg-type]
            elif kind == "take":
                held.append(legs.take(a, b))  # type: ignore[arg-type]
                log.spans(held[-1:])
            elif kind == "send":
                log.spans([legs.send(a, b)])  # type: ignore[arg-type]
            elif kind == "forward" and held:
                span = held.pop(int(a) % len(held))  # type: ignore[call-overload]
                cut = min(int(b), len(span.raw))  # type: ignore[call-overload]
                parts = [(span.offset, cut), (span.offset + cut, len(span.raw) - cut)]
                log.spans([legs.forward(span.side, at, n) for at, n in parts if n])
            elif kind == "command":
                log.command(len(commands), "run", b, a)  # type: ignore[arg-type]
                commands.append((b, a))
            elif kind == "flush":
                journal.flush()
            elif kind == "pack":
                journal.pack(log)
        journal.flush()
        if die:
            import os

            os.close(journal._lock)
            assert list(recover_idle(state)) == ["0"]
        else:
            log.end("closed", "x")
            journal.close()
        found = open_recording(state, ULIDS[0])
        assert not found.live
        verdict = verify.verify(found)
        assert verdict.status == (verify.INCOMPLETE if die else verify.OK), verdict
        for side in (C, U):
            for arrives in (True, False):
                raw = b"".join(p.raw or b"!" for p in Streams(found).pieces(Hop(side, arrives)))
                assert raw == legs.hops[side, arrives]
        entries = [e for r in decoded(found) for e in r.entries]
        got = [(e.text, e.verdict) for e in entries if isinstance(e, CommandEntry)]
        assert got == commands
        found.close()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_body_decodes_or_is_refused(raw: bytes) -> None:
    try:
        body = records.unpack(raw)
        records.Decoder().entries(body, 0)
    except FormatError:
        pass
    try:
        records.prefix(raw)
    except FormatError:
        pass


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 1 << 60), st.integers(0, 1 << 33), st.integers(0, 1 << 62), st.integers(0, 20)
)
def test_the_quick_prefix_is_the_slow_one(n: int, seq: int, at: int, more: int) -> None:
    body = records.packer().pack([n, seq, at, *["x"] * more])
    assert list(records.prefix(body)) == records.unpack(body)[:3]


def test_clock_steps_are_on_record_and_do_not_disorder(tmp_path: Path) -> None:
    world = World()
    wall = [1_790_000_000_000_000_000]
    journal = make_journal(tmp_path, world, sealer=True)
    journal.wall = lambda: wall[0]
    log = journal.open(header())
    legs = Legs()
    for turn in range(6):
        log.spans([legs.passed(C, b"%d" % turn)])
        journal.flush()
        world.now += 61_000_000_000
        wall[0] += (-1) ** turn * 31_536_000_000_000_000
    log.end("closed", "x")
    journal.close()
    found = open_recording(tmp_path, ULIDS[0])
    assert verify.verify(found).status == verify.OK
    events = [e for r in decoded(found) for e in r.entries if isinstance(e, Event)]
    assert [e.kind for e in events] == ["clock"] * 5
    assert len({e.fields["wall"] for e in events}) == 2
    times = [r.at for r in decoded(found)]
    assert times == sorted(times)


def test_one_session_that_can_not_be_sealed_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recorder import seal

    real: Callable[..., Any] = seal.cut
    bad = {"left": 1}

    def fails_once(*args: object, **more: object) -> Any:
        if bad["left"]:
            bad["left"] -= 1
            raise RuntimeError("surprise")
        return real(*args, **more)

    monkeypatch.setattr(seal, "cut", fails_once)
    journal = make_journal(tmp_path, sealer=True)
    for n in range(3):
        log = journal.open(header(ULIDS[n]))
        log.end("closed", "x")
        journal.flush()
    assert isinstance(journal._sealer, Sealer)
    journal.close()
    assert len(journal.faults) == 1
    assert "surprise" in journal.faults[0]
    for n in range(3):
        assert not open_recording(tmp_path, ULIDS[n]).live


def test_workers_that_are_gone_are_recovered(tmp_path: Path) -> None:
    import os

    journal = make_journal(tmp_path, worker="7")
    log = journal.open(header(ULIDS[5]))
    log.spans([Span(Move.PASS, C, Mark.PLAIN, b"x", 0)])
    journal.flush()
    running = make_journal(tmp_path, worker="0")
    os.close(journal._lock)
    found = recover_idle(tmp_path)
    assert list(found) == ["7"]
    assert [p.stem for p in found["7"].recovered] == [ULIDS[5]]
    running.close()
