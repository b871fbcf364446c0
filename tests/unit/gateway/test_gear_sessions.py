"""Whole sessions with the inner loop and without it: the same traffic, the same troubles, and
to the byte the same sent and the same on record."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
import trio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

sys.path[:0] = [
    str(Path(__file__).parent),
    str(Path(__file__).parents[1] / "protocols" / "postgres"),
]

from gear_kit import (  # noqa: E402
    ANEW,
    EXTRAS,
    PLAIN_RUNS,
    STEPS,
    TRANSACTIONS,
    Ground,
    Stranger,
    anew,
    bind,
    gear_type,
)
from pg_kit import (  # noqa: E402
    SYNC,
    TERMINATE,
    columns,
    complete,
    describe,
    error,
    execute,
    f,
    parse,
    query,
    ready,
    row,
)

from gateway.farewell import farewell  # noqa: E402
from gateway.leg import Leg  # noqa: E402
from gateway.policy.own import own_screen  # noqa: E402
from gateway.policy.principal import Principal  # noqa: E402
from gateway.policy.verdicts import Decision, Verdict  # noqa: E402
from gateway.reactor import Reactor  # noqa: E402
from gateway.seat import FRUITLESS, MOST_STAY, Seat  # noqa: E402
from gateway.session import Session  # noqa: E402
from gateway.world import World  # noqa: E402
from protocols import load  # noqa: E402
from protocols.contract import Command, Destined, Done, Mask, Plan, Refuse  # noqa: E402
from protocols.postgres.conversation import PostgresConversation  # noqa: E402
from protocols.wire import Side  # noqa: E402
from recorder import framing, records  # noqa: E402
from recorder.errors import RecorderError  # noqa: E402
from recorder.journal import Journal  # noqa: E402
from recorder.scan import OpenSegment  # noqa: E402

pytestmark = pytest.mark.skipif(gear_type is None, reason="the inner loop is not built")

OWN = b"hunter22"
WIDE = columns("a") + b"".join(row(b"%03d" % i * 200) for i in range(3)) + complete("SELECT 3")
MORE = {
    "select 5": columns("a") + row(b"5") + complete("SELECT 1"),
    "select 6": columns("a") + row(b"secret") + complete("SELECT 1"),
    "select 7": columns("a") + row(b"7") + complete("SELECT 1"),
    "select 8": WIDE,
}
TIMED, MASKED, STANDING = "select 7", "select 6", "select 5"
NAMED = {name: f"select {number}" for number, name in enumerate("abcdefgh", 1)}
NAMED |= {"y": "begin", "z": "commit"}


class Lane:
    """One session between two socket pairs, stepped by hand."""

    def __init__(self, folder: Path, *, geared: bool, masked: bool, part: int) -> None:
        self.server = Stranger()
        self.server.results = {**self.server.results, **MORE}
        self.evening = False
        self.full = False
        self.alarms: list[str] = []
        self.journal = Journal(
            folder, gateway="g", clock=time.monotonic_ns, wall=time.time_ns,
            chance=lambda n: b"\7" * n, sealer=False, segment_bytes=1 << 16, ballast_bytes=1 << 16,
            part_size=part,
        )  # fmt: skip
        own = own_screen([OWN])
        journal = self.journal
        if geared:
            self.disk = Ground(journal)
            self.reactor = Reactor(journal.flush, journal.sync, self.disk, own)
            journal.recall = self.reactor.recall
        else:
            self.reactor = Reactor(journal.flush, journal.sync)
        assert (self.reactor.gear is not None) == geared
        world = World()
        chances = iter(range(1, 1 << 20))
        world.chance = lambda n: next(chances).to_bytes(n, "big")  # type: ignore[method-assign]
        world.ulid = lambda: "S1"  # type: ignore[method-assign]
        limits = SimpleNamespace(message=1 << 20, held=1 << 14, idle=0, greeting=60, dial=60)
        kind = load("postgres")
        policy = SimpleNamespace(version="v", reads_text=False, plan=self.plan)
        services: Any = SimpleNamespace(
            world=world,
            config=SimpleNamespace(recording=SimpleNamespace(durability="os"), limits=limits),
            journal=journal, policy=policy, sessions={}, depot=None, reactor=self.reactor,
            alarm=lambda what, text: self.alarms.append(f"{what}: {text}"),
            crash=self.crash,
            cancels=None, holds=SimpleNamespace(withdraw=lambda session: False), mask_key=b"k" * 32,
        )  # fmt: skip
        listener: Any = SimpleNamespace(
            address="here", tls="off",
            kind=SimpleNamespace(name="postgres", carrier="tcp", start=PostgresConversation,
                recurs=kind.recurs),
        )  # fmt: skip
        near, self.client = socket.socketpair()
        far, self.upstream = socket.socketpair()
        self.peers = [self.client, self.upstream]
        for sock in (near, far, *self.peers):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
            sock.setblocking(False)
        self.session = session = Session(services, listener, near, "192.0.2.1")
        talk: Any = session.conversation
        self.memory: dict[object, object] = {}
        destined = Destined("u", "d", "disable", b"k", masked=masked, own=own, memory=self.memory)
        login = SimpleNamespace(parameters={}, key=b"", rest=b"")
        talk._enter(SimpleNamespace(login=login, destined=destined, parked=lambda: b""))
        session.relay.principal = Principal("ada", "here")
        session.relay.target = SimpleNamespace(name="db")  # type: ignore[assignment]
        session.relay._key = None
        self.waits: list[Any] = []
        session._nursery = SimpleNamespace(  # type: ignore[assignment]
            start_soon=lambda call, question: self.waits.append(question)
        )
        self.masked = masked
        assert session.legs[0] is not None
        self.reactor.attach(session.legs[0], session)
        session.adopt(Leg(far))
        self.heard = [bytearray(), bytearray()]
        self.deaf = self.slow = False
        self.owed: list[bytes] = []
        self.open = [True, True]

    def crash(self, session: str, fault: BaseException) -> None:
        self.alarms.append(f"crash: {type(fault).__name__}")

    # what the policy says

    def judge(self, command: Command, *_: object) -> Decision:
        text = command.text
        if text == "delete from t":
            return Decision(Verdict.BLOCK, ("b",), "no", "v")
        if text == TIMED:
            late = self.evening
            verdict = Verdict.BLOCK if late else Verdict.ALLOW
            return Decision(verdict, ("t",), "late" if late else "", "v", cacheable=False)
        if not self.masked:
            return Decision(Verdict.ALLOW, ("r",), "", "v")
        if text == MASKED:
            return Decision(Verdict.MASK, ("m",), "", "v", masks=("m",))
        return Decision(Verdict.ALLOW, ("r",), "", "v", standing=("m",))

    def plan(self, decision: Decision, shown: Any, build: object) -> Plan:
        if decision.masks:
            return Plan(tuple(Mask("star", lambda value: b"*", "m") for _ in shown))
        return Plan(tuple([None] * len(shown)))

    # what goes on

    def pump(self) -> None:
        """Until nothing moves any more."""
        reactor = self.reactor
        turn = reactor._turn if reactor.gear is None else reactor._geared_turn
        while True:
            turn(time.monotonic() + 60)
            moved = False
            for question in self.waits:
                self.session._resolve(question.number, Done(error="not here"))
                moved = True
            self.waits.clear()
            for side in (Side.CLIENT, Side.UPSTREAM):
                if not self.open[side] or (side is Side.CLIENT and self.deaf):
                    continue
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    while piece := self.peers[side].recv(1 << 16):
                        moved = True
                        self.heard[side] += piece
                        if side is Side.UPSTREAM:
                            self.owed.append(self.server.receive(piece))
            if not self.slow:
                moved = self.reply() or moved
            if not moved:
                return

    def reply(self) -> bool:
        owed, self.owed = self.owed, []
        for piece in owed:
            self.say(Side.UPSTREAM, piece)
        return bool(owed)

    def say(self, side: Side, data: bytes) -> None:
        """``data`` from a peer, as fast as it is taken."""
        at = 0
        stuck = 0
        turn = self.reactor._turn if self.reactor.gear is None else self.reactor._geared_turn
        while at < len(data) and self.open[side] and stuck < 3:
            try:
                at += self.peers[side].send(data[at : at + 4096])
                stuck = 0
            except BlockingIOError:
                stuck += 1
                turn(time.monotonic() + 60)
            except OSError:
                return

    def do(self, step: Any) -> None:
        session = self.session
        if isinstance(step, bytes):
            self.say(Side.CLIENT, step)
        elif isinstance(step, tuple):
            self.say(Side.UPSTREAM, step[0])
        elif step == "forget":
            self.memory.clear()
        elif step == "relieve":
            self.journal._idle_after = 0
            with contextlib.suppress(Exception):
                self.journal.relieve()
        elif step == "note":
            session.note("noted", {"a": 1})
            with contextlib.suppress(RecorderError):
                self.journal.flush()  # as the loop's next turn does: one record, and not two
        elif step == "evening":
            self.evening = not self.evening
        elif step in ("deaf", "slow"):
            setattr(self, step, not getattr(self, step))
        elif step == "reply":
            self.reply()
        elif step == "leave":
            session.leave(Refuse("the gateway is shutting down", kind="shutdown"))
        elif step == "dismiss":
            session.dismiss(Refuse("idle", kind="shutdown"))
        elif step == "fault":
            session.fail(ZeroDivisionError())
        elif step == "full":
            self.full = True
            if self.reactor.gear is not None:
                self.disk.full = True
        elif step in ("client gone", "upstream gone"):
            side = Side.CLIENT if step == "client gone" else Side.UPSTREAM
            self.open[side] = False
            self.peers[side].close()
        elif step in ("client done", "upstream done"):
            side = Side.CLIENT if step == "client done" else Side.UPSTREAM
            if self.open[side]:
                self.peers[side].shutdown(socket.SHUT_WR)
        else:
            raise AssertionError(step)

    def write(self, fd: int, data: bytes) -> int:
        if self.full and fd == self.journal._segment.fd:
            raise OSError(28, "No space left on device")
        return _write(fd, data)

    def play(self, script: list[Any]) -> list[Any]:
        """What had been heard on both sides after each step."""
        seen: list[Any] = []
        with (
            patch("gateway.relay.judge", self.judge),
            patch("recorder.journal.os.write", self.write),
        ):
            for name, text in NAMED.items():
                self.do(parse(name, text) + SYNC)
                self.pump()
            for step in script:
                if self.session._over.is_set():
                    break
                self.do(step)
                self.pump()
                seen.append((step, [bytes(heard) for heard in self.heard]))
            self.deaf = self.slow = False
            if not self.session._over.is_set():
                self.pump()
                self.session.dismiss(Refuse("the end", kind="shutdown"))
            trio.run(self.leave)
        seen.append([bytes(heard) for heard in self.heard])
        return seen

    async def leave(self) -> None:
        for side, peer in enumerate(self.peers):
            if self.open[side]:
                with contextlib.suppress(OSError):
                    peer.shutdown(socket.SHUT_WR)
        with trio.move_on_after(0.2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.listen)
                await farewell(self.session)
                nursery.cancel_scope.cancel()
        for side, peer in enumerate(self.peers):
            if self.open[side]:
                with contextlib.suppress(OSError):
                    while piece := peer.recv(1 << 16):
                        self.heard[side] += piece
        self.session._close()

    async def listen(self) -> None:
        while True:
            for side, peer in enumerate(self.peers):
                if self.open[side]:
                    with contextlib.suppress(OSError):
                        self.heard[side] += peer.recv(1 << 16)
            await trio.sleep(0.001)

    def end(self) -> list[Any]:
        """Every record, with times left out."""
        seat = self.session._seat
        assert seat is None or not seat.aboard
        with contextlib.suppress(Exception):
            self.journal.close()
        for peer in self.peers:
            peer.close()
        self.reactor.close()
        found = []
        for path in sorted(self.journal.directory.glob("*.agj")):
            with OpenSegment(path) as segment:
                for record in segment.records():
                    if not isinstance(record, framing.Framed):
                        assert path.stem == "ballast"  # nothing more is in it
                    elif record.kind != framing.COMMIT:
                        found.append((record.kind, record.flags, timeless(record)))
        return found


_write = os.write


def timeless(record: framing.Framed) -> Any:
    body = records.unpack(record.body)
    body[2] = 0
    if record.kind == framing.HEADER:
        for key in ("wall", "mono", "keys", "started"):
            body[4].pop(key, None)
    return body


def runs(name: str, value: bytes | None = b"7") -> bytes:
    return bind(name, [value], []) + describe("P") + execute() + SYNC


NOTICE = f("N", b"SNOTICE\0VNOTICE\0C00000\0Mx\0\0")
FATAL = error("57P01", "terminating connection", severity="FATAL")
ORDINARY = st.one_of(
    st.builds(runs, st.sampled_from([*NAMED]), st.sampled_from([b"1", None, b"x" * 400])),
    st.builds(runs, st.sampled_from([*NAMED])),
    st.builds(runs, st.just("a")),
    PLAIN_RUNS,
    ANEW,
    STEPS.filter(lambda step: step != b"forget"),
    st.builds(lambda n: runs(n)[:-3], st.just("a")),
    st.just(runs("a")[-3:]),
)
TROUBLE = st.sampled_from(
    ["forget", "relieve", "note", "evening", "slow", "slow", "reply", "deaf", "deaf", (NOTICE,),
     (f("S", b"TimeZone\0UTC\0"),)]
)  # fmt: skip
ENDS = st.sampled_from(
    ["leave", "dismiss", "fault", "full", "client gone", "upstream gone", "client done",
     "upstream done", (FATAL,), (ready(),), TERMINATE, b"\0\0\0\0\0\0"]
)  # fmt: skip
PAIRS = TRANSACTIONS.map(lambda steps: steps * 2)
SCRIPTS = st.builds(
    lambda first, end, last: [*chain(*first), end, *last],
    st.lists(
        st.one_of(PAIRS, *[one.map(lambda step: [step]) for one in (ORDINARY, ORDINARY, TROUBLE)]),
        min_size=1,
        max_size=16,
    ),
    ENDS,
    st.lists(st.one_of(ORDINARY, TROUBLE), max_size=4),
)


def lanes(masked: bool, part: int, script: list[Any], extra: Any) -> Iterator[Any]:
    for geared in (False, True):
        with TemporaryDirectory() as folder:
            lane = Lane(Path(folder), geared=geared, masked=masked, part=part)
            lane.server.extra = extra
            heard = lane.play(script)
            gear = lane.reactor.gear
            carried = int(gear.records) if gear is not None else 0
            yield heard, lane.end(), lane.alarms, lane.session._why, carried


def compare(masked: bool, part: int, script: list[Any], extra: Any = None) -> int:
    """How many records the inner loop wrote; AssertionError where anything differs."""
    without, with_it = lanes(masked, part, script, extra or {})
    assert with_it[0] == without[0], "other bytes were sent"
    assert with_it[1] == without[1], "something else is on record"
    assert with_it[2:4] == without[2:4]
    return int(with_it[4])


PARTS = st.sampled_from([8 << 20, 8 << 20, 1500])


@given(masked=st.booleans(), part=PARTS, script=SCRIPTS, extra=EXTRAS)
@example(masked=False, part=8 << 20, script=["note", "leave"], extra={})
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_session_is_the_same(**case: Any) -> None:
    compare(**case)


@pytest.mark.deep
@pytest.mark.timeout(3600)
@given(masked=st.booleans(), part=PARTS, script=SCRIPTS, extra=EXTRAS)
@settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_session_is_the_same_at_length(**case: Any) -> None:
    compare(**case)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("end", ["leave", "full", "client gone", "upstream gone", "fault"])
def test_what_comes_again_is_carried_to_the_end(masked: bool, end: str) -> None:
    again = [runs(name) for name in "aabb" * 5]
    assert compare(masked, 8 << 20, [*again, "slow", runs("a"), end, "reply", runs("a")]) > 30


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "end", ["leave", "dismiss", "full", "client gone", "upstream gone", "fault", (FATAL,)]
)
def test_what_is_carried_within_transactions(masked: bool, end: Any) -> None:
    one = [runs("y"), runs("a"), anew("select 1"), runs("b"), runs("z")]
    assert compare(masked, 8 << 20, [*one * 8, *one[:3], end, *one[3:], *one]) > 40
    assert compare(masked, 1500, [*one * 8, *one[:2], "slow", one[2], end, "reply", *one]) > 8


def test_what_a_full_disk_did_not_take_is_not_counted() -> None:
    assert compare(False, 8 << 20, [*[runs("a")] * 6, "full", runs("a")]) == 2 * 4 + 1
    assert compare(False, 8 << 20, [runs("a"), "full", runs("a")]) == 0


def test_a_rule_that_looks_at_the_clock_is_asked_each_time() -> None:
    script = [runs("g")] * 6 + ["evening"] + [runs("g")] * 3 + ["leave"]
    assert compare(False, 8 << 20, script) == 0


def test_what_is_masked_is_never_carried() -> None:
    assert compare(True, 8 << 20, [runs("f")] * 8) == 0


def test_parts_are_cut_where_they_were() -> None:
    assert compare(False, 900, [runs("a"), runs("b")] * 30) > 40


def test_a_client_that_does_not_listen_gets_it_all_later() -> None:
    again = [runs("h")] * 5
    assert compare(False, 8 << 20, [*again, "deaf", *again, "deaf", *again]) > 10


def test_a_secret_of_the_gateway_is_starred() -> None:
    assert compare(False, 8 << 20, [runs("a")] * 4 + [runs("d")] * 4 + [runs("a")] * 4) > 6


def test_one_who_can_not_board_is_ended_in_order(tmp_path: Path) -> None:
    lane = Lane(tmp_path, geared=True, masked=False, part=8 << 20)
    with patch("gateway.seat.Seat._take", side_effect=MemoryError):
        lane.play([runs("a")] * 4)
    assert lane.alarms == ["crash: MemoryError"]
    assert lane.session.log.ended
    assert lane.end()[-1][0] == framing.END


def test_one_who_never_says_the_same_twice_stays_ashore(tmp_path: Path) -> None:
    """And who does so again is carried again."""
    boarded: list[int] = []
    take = Seat._take

    def counted(seat: Seat, *more: Any) -> None:
        boarded.append(1)
        take(seat, *more)

    lane = Lane(tmp_path, geared=True, masked=False, part=8 << 20)
    with patch.object(Seat, "_take", counted):
        lane.play([runs("a")] * 2 + [query("select 1")] * 500 + [runs("a")] * (MOST_STAY + 10))
    # 2 + 4 + ... + 64 requests are let pass between the trips, then 64 each time.
    assert FRUITLESS < len(boarded) < 28, len(boarded)
    assert lane.reactor.gear.records >= 12
    lane.end()


def test_what_comes_again_between_other_things_is_carried() -> None:
    """As drivers do that begin and end transactions by simple queries."""
    one = [query("begin"), runs("a"), query("commit")]
    assert compare(False, 8 << 20, one * 40) > 2 * 35
    one = [query("begin"), runs("a"), runs("b"), query("rollback"), query("select 1")]
    assert compare(True, 8 << 20, one * 40) > 2 * 2 * 30
