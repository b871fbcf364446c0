"""Sessions with the straight gear's inner loop and without it, side by side, and what is said
on them: shared by the tests of the loop."""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

from hypothesis import strategies as st

sys.path[:0] = [str(Path(__file__).parents[1] / "protocols" / "postgres")]

from pg_kit import (  # noqa: E402
    FLUSH,
    SYNC,
    Server,
    close,
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

from gateway import seat as seats  # noqa: E402
from gateway.policy.verdicts import Decision, Verdict  # noqa: E402
from gateway.relay import shown  # noqa: E402
from protocols.contract import (  # noqa: E402
    Allow,
    Answer,
    Command,
    Destined,
    Done,
    Errand,
    Opening,
    Plan,
    Question,
    Refuse,
    Result,
    Screen,
)
from protocols.errors import WireError  # noqa: E402
from protocols.outbox import Numbers, Outbox  # noqa: E402
from protocols.postgres.intent import Intent  # noqa: E402
from protocols.postgres.traffic import Traffic  # noqa: E402
from protocols.recurring import Carried  # noqa: E402
from protocols.wire import Move, Side  # noqa: E402
from recorder import framing, records  # noqa: E402
from recorder.journal import Journal  # noqa: E402
from recorder.scan import OpenSegment  # noqa: E402
from recorder.session_log import SessionLog  # noqa: E402

gear_type = seats._Gear

CLIENT, UPSTREAM = Side.CLIENT, Side.UPSTREAM
OWN = b"hunter22"
FULL = os.open("/dev/full", os.O_WRONLY)
RESULTS = {
    "select 1": columns("a") + row(b"1") + complete("SELECT 1"),
    "select 2": columns("a", "b") + row(b"2", None) + row(b"", b"x") + complete("SELECT 2"),
    "select 3": columns("a") + complete("SELECT 0"),
    "select 4": columns("a") + row(b"it is " + OWN) + complete("SELECT 1"),
    "delete from t": complete("DELETE 5"),
    "begin": complete("BEGIN"),
    "commit": complete("COMMIT"),
    "rollback": complete("ROLLBACK"),
    "savepoint s": complete("SAVEPOINT"),
    "set search_path to b": complete("SET"),
    "fail": error("22012", "division by zero"),
    "deallocate a": complete("DEALLOCATE"),
    "prepare b as select 2": complete("PREPARE"),
    "select set_config('a','b',false)": columns("c") + row(b"b") + complete("SELECT 1"),
}
BLOCKED = "delete from t"
"""By the policy of half of the scripts."""


def bind(name: str, values: list[bytes | None], forms: list[int], portal: str = "") -> bytes:
    body = portal.encode() + b"\0" + name.encode() + b"\0"
    body += struct.pack(f">H{len(forms)}H", len(forms), *forms) + struct.pack(">H", len(values))
    for v in values:
        body += struct.pack(">i", -1) if v is None else struct.pack(">i", len(v)) + v
    return f("B", body + struct.pack(">HH", 1, 0))


class Stranger(Server):
    """A server with transactions, that now and then says more than it has to, or is inside of
    one that nobody began."""

    def __init__(self) -> None:
        super().__init__(RESULTS)
        self.status = "I"
        self.extra: dict[int, bytes] = {}
        self.count = 0
        self.tail = b""

    def run(self, text: str) -> tuple[bytes, bool]:
        over = text in ("commit", "rollback")
        if self.status == "E" and not over:
            return error("25P02", "current transaction is aborted"), False
        raw, good = super().run(text)
        if good and text == "begin":
            self.status = "T"
        elif over:
            raw = complete("ROLLBACK") if self.status == "E" else raw
            self.status = "I"
        return raw, good

    def on_P(self, body: bytes) -> tuple[bytes, bool]:
        if body[:1] == b"\0":
            self.statements.pop("", None)
        return super().on_P(body)

    def message(self, kind: str, body: bytes) -> bytes:
        out = super().message(kind, body)
        if out[:1] == b"E" and self.status == "T":
            self.status = "E"
        return out[:-6] + ready(self.status) if kind in "SQ" and out else out

    def receive(self, data: bytes) -> bytes:
        data = self.tail + data
        at = 0
        while len(data) - at >= 5 and len(data) - at > int.from_bytes(data[at + 1 : at + 5], "big"):
            at += 1 + int.from_bytes(data[at + 1 : at + 5], "big")
        self.tail = data[at:]
        out = super().receive(data[:at])
        self.count += 1
        extra = self.extra.get(self.count, b"")
        return out[:-1] + b"T" if extra == b"T" and out[-6:] == ready() else extra + out


class Here:
    """A session in Python alone: its conversation, its log, and a relay that remembers."""

    def __init__(self, folder: Path, *, masked: bool, blocks: bool) -> None:
        self.server = Stranger()
        self.numbers, self.outbox = Numbers(), Outbox()
        chances = iter(range(1, 1 << 20))
        opening = Opening("s1", lambda n: next(chances).to_bytes(n, "big"))
        own = Screen(_own, len(OWN), (OWN,))
        self.memory: dict[object, object] = {}
        destined = Destined("u", "d", "disable", b"k", masked=masked, own=own, memory=self.memory)
        self.traffic = Traffic(opening, destined, self.outbox, self.numbers, {})
        self.masked, self.blocks = masked, blocks
        self.decisions: dict[int, tuple[object, Decision]] = {}
        self.journal = Journal(
            folder, gateway="g", clock=time.monotonic_ns, wall=time.time_ns,
            chance=lambda n: b"\7" * n, sealer=False, segment_bytes=1 << 15, ballast_bytes=1 << 16,
        )  # fmt: skip
        self.log: SessionLog = self.journal.open({"session": "S1"})
        self.journal.flush()
        self.sent: list[bytearray] = [bytearray(), bytearray()]
        self.questions: list[tuple[Any, ...]] = []

    # what the relay does

    def decision(self, command: Command) -> Decision:
        known = self.decisions.get(id(command.parts))
        if known is None:
            blocked = self.blocks and command.text == BLOCKED
            decision = Decision(
                Verdict.BLOCK if blocked else Verdict.ALLOW,
                ("r",), "", "v", standing=("m",) if self.masked else (),
            )  # fmt: skip
            known = self.decisions[id(command.parts)] = (command.parts, decision)
        return known[1]

    def granted(self, text: str, parts: tuple[Any, ...]) -> Decision | None:
        known = self.decisions.get(id(parts))
        return None if known is None or known[1].verdict is not Verdict.ALLOW else known[1]

    def remember(self, number: int, decision: Decision) -> None:
        assert decision.standing
        assert number

    def answer(self, question: Question) -> Answer:
        if isinstance(question, Command):
            decision = self.decision(question)
            self.log.command(
                question.number, question.phase.value, question.text, decision.verdict,
                decision.rules, decision.reason, decision.policy,
                parameters=[shown(p) for p in question.parameters] or None,
                masks=decision.masks, shadow=decision.shadow,
            )  # fmt: skip
            if decision.verdict is Verdict.BLOCK:
                return Refuse("no", "r")
            return Allow(masked=self.masked)
        if isinstance(question, Result):
            return Plan(tuple([None] * len(question.columns)), lasting=True)
        assert isinstance(question, Errand)
        return Done(error="not here")

    # what the session does

    def hear(self, side: Side, data: bytes) -> None:
        try:
            questions = self.traffic.receive(side, data)
            while questions:
                question = questions.pop(0)
                if not isinstance(question, Command):
                    self.questions.append((type(question).__name__, question.number))
                questions += self.traffic.answer(question.number, self.answer(question))
        except WireError as fault:
            self.questions.append(("fault", str(fault)))
        spans = self.traffic.moves()
        self.log.spans(spans)
        self.journal.flush()
        for span in spans:
            if span.move is not Move.TAKE:
                to = span.side if span.move is Move.SEND else span.side.other
                self.sent[to] += span.raw

    def feed(self, side: Side, data: bytes) -> None:
        self.hear(side, data)

    def take(self, side: Side) -> bytes:
        raw = bytes(self.sent[side])
        self.sent[side].clear()
        return raw

    def end(self) -> list[Any]:
        """Close; every record with its time left out."""
        self.log.end("closed", "the end")
        self.journal.flush()
        self.journal.close()
        found, places = [], []
        for path in sorted(self.journal.directory.glob("0*.agj")):
            with OpenSegment(path) as segment:
                for record in segment.records():
                    assert isinstance(record, framing.Framed)
                    if record.kind == framing.COMMIT:
                        continue
                    body = records.unpack(record.body)
                    body[2] = 0
                    if record.kind == framing.HEADER:
                        body[4] = {}
                    found.append((record.kind, record.flags, body))
                    places.append(int(path.stem) << 32 | record.offset)
        assert list(self.log.places or ()) == places
        assert self.log.segments == sorted({place >> 32 for place in places})
        return found


class Ground:
    """Where the loop writes; ``full``: the disk takes nothing more."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.full = False
        self.wrote = journal.wrote

    def ground(self) -> Any:
        ground = self.journal.ground()
        return ground._replace(fd=FULL) if self.full else ground


class Geared(Here):
    """The same with its bytes on sockets, and a seat in the inner loop."""

    steady = True

    def __init__(self, folder: Path, **more: bool) -> None:
        super().__init__(folder, **more)
        self.epoll = select.epoll()
        self.peers, self.fds = [], []
        for _ in range(2):
            near, far = socket.socketpair()
            near.setblocking(False)
            far.setblocking(False)
            self.epoll.register(near.fileno(), select.EPOLLIN | select.EPOLLRDHUP)
            self.fds.append(near)
            self.peers.append(far)
        self.gear = gear_type(self.epoll.fileno(), (OWN,))
        self.legs = [SimpleNamespace(fd=near.fileno()) for near in self.fds]
        self.relay = self
        self.moved = 0
        self.conversation = self
        self.services = SimpleNamespace(
            config=SimpleNamespace(limits=SimpleNamespace(message=1 << 20))
        )
        self.seat = seats.Seat(self, self.gear)  # type: ignore[arg-type]
        self.journal.recall = self.recall
        self.disk = Ground(self.journal)
        self.ground = self.disk.ground
        self.refrain, self.standing = self.traffic.refrain, self.traffic.standing

    @property
    def watched(self) -> Any:
        return self.traffic.watched

    @property
    def position(self) -> tuple[int, int, int]:
        return self.numbers.following, self.outbox.arrived[0], self.outbox.arrived[1]

    def catch_up(self, carried: Carried) -> None:
        self.numbers.following = carried.number
        self.traffic.catch_up(carried)

    def recall(self) -> None:
        self.gear.undo()
        self.seat.ashore()

    def feed(self, side: Side, data: bytes) -> None:
        self.peers[side].sendall(data)
        while rest := self.round():
            for fd, _, read in rest:
                mine = Side.UPSTREAM if fd == self.legs[1].fd else Side.CLIENT
                self.seat.ashore()
                self.hear(mine, self.fds[mine].recv(1 << 16) if read is None else read)
                if mine is UPSTREAM and not self.traffic.closing:
                    self.seat.board()

    def round(self) -> Any:
        ground = self.ground()
        rest, late, strangers, length, fault, moved = self.gear.drive(0, 0, tuple(ground))
        assert late is None
        if length or fault:
            self.journal.wrote(length, strangers or (), fault)
        if moved:
            for to in (CLIENT, UPSTREAM):
                try:
                    self.sent[to] += self.peers[to].recv(1 << 16)
                except BlockingIOError:
                    continue
        return rest

    def end(self) -> list[Any]:
        self.seat.ashore()
        for sock in (*self.fds, *self.peers):
            sock.close()
        self.epoll.close()
        return super().end()


def _own(data: bytes) -> list[tuple[int, int]]:
    at = data.find(OWN)
    return [] if at < 0 else [(at, at + len(OWN))]


SCRATCH = {
    "last", "_epoch", "described_as", "fields", "_next", "_need", "_run", "_fields", "_outputs",
    "_sources", "_shape", "_count", "_copied", "_stage", "_substitutes", "_token", "opening",
    "destined", "sources", "own",
}  # fmt: skip
"""What is left over from the last question, and what isn't state."""


def state(thing: object, depth: int = 0) -> Any:
    """All that ``thing`` holds, in plain types."""
    assert depth < 12
    kind = type(thing)
    if isinstance(thing, Intent):
        return ("intent", thing.raw)
    if isinstance(thing, dict):
        return sorted(
            (repr(k), state(v, depth + 1)) for k, v in thing.items() if type(k) is not int
        )
    if isinstance(thing, deque | list | tuple | set | frozenset):
        found = [state(item, depth + 1) for item in thing]
        return sorted(map(repr, found)) if isinstance(thing, set | frozenset) else found
    if kind.__module__.startswith("protocols.") and not isinstance(thing, int):
        names: set[str] = set()
        for base in kind.__mro__:
            names |= set(getattr(base, "__mypyc_attrs__", ())) | set(getattr(base, "__slots__", ()))
        return kind.__name__, sorted(
            (name, state(getattr(thing, name, None), depth + 1))
            for name in names - SCRATCH - {"__dict__", "__weakref__"}
        )
    return repr(thing) if isinstance(thing, int | bytes | str | None) else kind.__name__


NAMES = st.sampled_from(["a", "b", "", "y", "z"])
OIDS = st.sampled_from([(), (), (23,), (23, 25)])
VALUES = st.lists(
    st.none() | st.binary(max_size=6) | st.sampled_from([b"42", b"x" * 300, "\u00e9".encode()]),
    max_size=3,
)
FORMS = st.sampled_from([[], [0], [1], [0, 1], [1, 1, 0], [2]])
LOOKS = st.sampled_from([b"", describe("P"), describe("P"), describe("S", "a")])
RUNS = st.builds(
    lambda name, values, forms, look, rows: (
        bind(name, values, forms) + look + execute(rows=rows) + SYNC
    ),
    NAMES, VALUES, FORMS, LOOKS, st.sampled_from([0, 0, 5]),
)  # fmt: skip
PLAIN_RUNS = st.builds(
    lambda name, value: bind(name, [value], []) + describe("P") + execute() + SYNC,
    NAMES, st.sampled_from([b"1", b"22", None]),
)  # fmt: skip
ANEW = st.builds(
    lambda text, oids, value, look: (
        parse("", text, *oids) + bind("", [value], [0]) + look + execute() + SYNC
    ),
    st.sampled_from(["select 1", "select 1", "select 2", *RESULTS, "nonsense"]),
    OIDS,
    st.sampled_from([b"1", b"22", None, b"\xc3\xa9"]),
    st.sampled_from([describe("P"), describe("P"), describe("P"), b"", describe("S")]),
)
STEPS = st.one_of(
    PLAIN_RUNS,
    PLAIN_RUNS,
    ANEW,
    ANEW,
    RUNS,
    st.builds(lambda n, t: parse(n, t, 23) + SYNC, NAMES, st.sampled_from([*RESULTS, "nonsense"])),
    st.builds(lambda n: close("S", n) + SYNC, NAMES),
    st.sampled_from([*RESULTS]).map(query),
    st.sampled_from([execute() + SYNC, FLUSH, SYNC, bind("a", [b"1"], []) + FLUSH]),
    st.builds(lambda a, b: a + b, PLAIN_RUNS, PLAIN_RUNS),
    st.builds(lambda a, b: a + b, ANEW, st.one_of(ANEW, PLAIN_RUNS)),
    st.builds(lambda anew: anew[:-5] + FLUSH, ANEW),
    st.sampled_from([b"forget"]),
)


def run(name: str, value: bytes | None = b"7", portal: str = "") -> bytes:
    """A prepared statement, run as drivers do it."""
    return bind(name, [value], [], portal) + describe("P", portal) + execute(portal) + SYNC


def anew(text: str, *oids: int) -> bytes:
    """The unnamed statement, prepared and run at once."""
    return parse("", text, *oids) + run("")


INSIDE = st.one_of(
    st.builds(run, NAMES, st.just(b"7"), st.sampled_from(["", "", "", "p"])),
    ANEW,
    st.sampled_from(
        [query("fail"), query("savepoint s"), anew("savepoint s"), anew("fail"), execute() + SYNC,
         anew("set search_path to b"), anew("nonsense"), bind("a", [], [], "p") + SYNC,
         execute("p", 1) + SYNC]
    ),
)  # fmt: skip
"""What is said within a transaction."""
TRANSACTIONS = st.builds(
    lambda first, inside, last: [first, *inside, last],
    st.sampled_from([run("y"), run("y"), anew("begin"), query("begin")]),
    st.lists(INSIDE, max_size=6),
    st.sampled_from([run("z"), run("z"), anew("commit"), query("rollback"), anew("rollback")]),
)


def scripts(least: int, most: int) -> st.SearchStrategy[list[bytes]]:
    """Steps in and out of transactions, and what is said again and again."""
    again = TRANSACTIONS.map(lambda steps: steps * 2)
    one = st.one_of(again, STEPS.map(lambda step: [step]))
    return st.lists(one, min_size=least, max_size=most).map(lambda found: [*chain(*found)])


SCRIPTS = scripts(1, 12)
ORDINARY = [
    run("a"), run("b", None), run("a", b"x" * 300), run("b"), run(""), run("a", b"\xc3\xa9"),
    anew("select 1"), anew("select 2"), anew("select 2", 23), anew("select 3", 25),
    anew("select 4"),
    parse("", "select 1") + bind("", [b"\1", None], [1]) + execute() + SYNC,
    bind("a", [b"7", b"8"], [0, 1]) + execute() + SYNC,
    bind("a", [b"7"], []) + describe("P") + execute(rows=1) + SYNC,
    bind("b", [b"7"], []) + describe("P") + execute(rows=1) + SYNC,
]  # fmt: skip
NOISE = [
    query("select 1"), query("fail"), anew("fail"), anew("nonsense"), parse("", "nonsense") + SYNC,
    parse("", "select 2", 23) + describe("S") + SYNC, describe("S") + SYNC, close("S") + SYNC,
    close("S", "b") + SYNC, parse("b", "select 3") + SYNC, query("deallocate a"),
    parse("a", "select 1") + SYNC, query("prepare b as select 2"), query("set search_path to b"),
    query("begin"), query("commit"), query("rollback"), anew("savepoint s"), run("a") + run("b"),
    anew("select 1") + anew("select 2"), anew("select 1")[:-5] + FLUSH, SYNC, FLUSH,
    execute() + SYNC, execute("", 1) + SYNC, run("a", portal="p"), execute("p", 1) + SYNC,
    bind("a", [], [], "p") + SYNC, bind("a", [], []) + FLUSH, parse("", "select 1") + run("a"),
    anew("delete from t"), b"forget", query("select set_config('a','b',false)"),
]  # fmt: skip


def tunes(chance: Random) -> list[bytes]:
    """What clients say again and again, with something else now and then."""
    found: list[bytes] = []
    for _ in range(chance.randint(1, 4)):
        tune = [chance.choice(ORDINARY) for _ in range(chance.randint(1, 4))]
        if chance.random() < 0.6:
            tune.insert(0, chance.choice([run("y"), anew("begin"), query("begin")]))
            tune.append(chance.choice([run("z"), anew("commit"), query("rollback")]))
        for _ in range(chance.randint(2, 5)):
            for step in tune:
                found.append(step)
                if chance.random() < 0.05:
                    found.append(chance.choice(NOISE))
    return found


def surprises(chance: Random) -> dict[int, bytes]:
    """Of the server, by the number of its reads."""
    said = [b"T", f("N", b"SNOTICE\0VNOTICE\0C00000\0Mx\0\0"), f("S", b"TimeZone\0UTC\0")]
    return {chance.randint(8, 60): chance.choice(said) for _ in range(chance.choice([0, 0, 1, 2]))}


EXTRAS = st.dictionaries(
    st.integers(1, 30),
    st.sampled_from(
        [b"T", f("N", b"SNOTICE\0VNOTICE\0C00000\0Mx\0\0"), f("S", b"TimeZone\0UTC\0")]
    ),
    max_size=3,
)
PREPARED = {"a": "select 1", "b": "select 2", "y": "begin", "z": "commit", "": "select 3"}
BEGIN = [parse(name, text) + SYNC for name, text in PREPARED.items()]


def pieces(data: bytes, chance: Random, cut: int) -> Iterator[bytes]:
    """``data`` whole (0), bytewise (1), or cut at random."""
    at = 0
    while at < len(data):
        step = len(data) if cut == 0 else 1 if cut == 1 else chance.randint(1, 60)
        yield data[at : at + step]
        at += step


def play(
    side: Here, script: list[bytes], extra: dict[int, bytes], cut: int, seed: int
) -> list[Any]:
    """What came out at each step."""
    chance, server, out = Random(seed), side.server, []
    server.extra = extra
    for step in script:
        if step == b"forget":
            side.memory.clear()
            continue
        for piece in pieces(step, chance, cut):
            if side.traffic.closing:
                break
            side.feed(CLIENT, piece)
            out.append(side.take(CLIENT))
            while asked := side.take(UPSTREAM):
                out.append(asked)
                for part in pieces(
                    server.receive(asked), chance, cut if chance.random() < 0.5 else 0
                ):
                    side.feed(UPSTREAM, part)
                    out.append(side.take(CLIENT))
    return out
