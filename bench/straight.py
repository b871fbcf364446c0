"""A real session between legs without sockets, and where its time goes.

``gateway.session.Session`` with the real Relay, Policy and Journal, logged in
and warmed up over real sockets to a real server; then its legs are swapped for
ones that hand over what the peers sent before, and transactions run through ``ready`` and
``settle`` as the reactor runs them.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from bench.contenders import DATABASE
from bench.figures import BenchFault
from gateway.config import load_config
from gateway.leg import Leg
from gateway.services import Services
from gateway.session import Session
from gateway.worker import Post, services
from protocols.wire import Side

STAGES = ("ask", "go on", "reply", "moves", "relay", "record", "flush", "legs", "session")
"""``ask``: the conversation takes in the client's bytes. ``go on``: it takes
answers to its questions. ``reply``: it takes in the server's bytes. ``moves``: it
tells what moved. ``relay``: verdicts and plans. ``record``: entries are collected.
``flush``: they are packed and written. ``session``: what is left of ``ready``,
``settle`` and ``release``."""


def message(kind: bytes, body: bytes) -> bytes:
    """A PostgreSQL message."""
    return kind + struct.pack(">I", len(body) + 4) + body


TEXT = b"SELECT abalance FROM pgbench_accounts WHERE aid = $1;"
PARSE = message(b"P", b"P0_1\0" + TEXT + b"\0\0\0") + message(b"S", b"")
ASKED = (
    message(b"B", b"\0P0_1\0\0\0\0\x01\0\0\0\x0512345\0\x01\0\0")
    + message(b"D", b"P\0")
    + message(b"E", b"\0\0\0\0\0")
    + message(b"S", b"")
)
"""What pgbench -S -M prepared sends per transaction."""
READY = message(b"Z", b"I")


class DryLeg(Leg):
    """A leg without a socket: ``read`` hands over ``incoming`` once, what is
    flushed is counted."""

    __slots__ = ("incoming", "sent")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.pending = 0
        self.tls = None
        self.incoming: bytes | None = None
        self.sent = 0

    def read(self) -> bytes | None:
        data, self.incoming = self.incoming, None
        return data

    def queue(self, data: bytes) -> None:
        self.pending += len(data)

    def flush(self) -> bool:
        self.sent += self.pending
        self.pending = 0
        return True

    def send(self, data: bytes) -> None:
        self.sent += len(data)


class Dry:
    """A logged-in session whose legs are dry."""

    def __init__(self, made: Services, session: Session) -> None:
        self.session = session
        self.real = [leg for leg in session.legs if leg is not None]
        for leg in self.real:
            made.reactor.detach(leg)
        self.client, self.upstream = DryLeg(1 << 20), DryLeg((1 << 20) + 1)
        session.legs[:] = [self.client, self.upstream]

    def restore(self) -> None:
        """Give the session its sockets back, so that it can end."""
        self.session.legs[:] = self.real


class Track:
    """Sessions that run in step: in each round of the reactor every one of
    them is ready, as under load."""

    def __init__(self, made: Services, dry: list[Dry], answer: bytes) -> None:
        self.made = made
        self.dry = dry
        self.answer = answer

    def exchange(self) -> None:
        """One transaction of each session: two rounds."""
        settle = self.made.reactor.settle
        for dry in self.dry:
            dry.client.incoming = ASKED
            dry.session.ready(dry.client)
        settle()
        for dry in self.dry:
            dry.upstream.incoming = self.answer
            dry.session.ready(dry.upstream)
        settle()

    def _moved(self) -> tuple[int, int, int]:
        return (
            sum(dry.client.sent for dry in self.dry),
            sum(dry.upstream.sent for dry in self.dry),
            self.made.journal.written,
        )

    def batch(self, rounds: int) -> float:
        """Seconds for ``rounds`` transactions of each session. BenchFault
        unless each byte went through and was recorded."""
        before = self._moved()
        exchange = self.exchange
        start = time.perf_counter()
        for _ in range(rounds):
            exchange()
        took = time.perf_counter() - start
        count = rounds * len(self.dry)
        down, up, written = (b - a for a, b in zip(before, self._moved(), strict=True))
        if (down, up) != (len(self.answer) * count, len(ASKED) * count):
            raise BenchFault(f"{down} and {up} bytes moved in {count} transactions")
        if written < (len(self.answer) + len(ASKED)) * count:
            raise BenchFault("less was recorded than moved")
        return took


class Stopwatch:
    """Wraps functions so that each one's own time is known. Of each call, what
    the clock itself costs (measured with functions that do nothing) is taken
    off."""

    def __init__(self) -> None:
        self.own = dict.fromkeys(STAGES, 0)
        self._children = [0]
        self._inner = self._outer = 0
        self._calibrate()

    def wrap(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        clock, children, own = time.perf_counter_ns, self._children, self.own

        def timed(*arguments: Any, **named: Any) -> Any:
            children.append(0)
            start = clock()
            try:
                return function(*arguments, **named)
            finally:
                spent = clock() - start
                own[stage] += spent - children.pop() - self._inner
                children[-1] += spent + self._outer

        return timed

    def by_side(self, receive: Callable[..., Any]) -> Callable[..., Any]:
        """``receive`` with a stage for each side."""
        sides = self.wrap("ask", receive), self.wrap("reply", receive)

        def timed(side: Side, data: bytes) -> Any:
            return sides[side](side, data)

        return timed

    def _calibrate(self) -> None:
        """``_inner``: nanoseconds of a call that its own clock sees beyond the
        work; ``_outer``: those that only its caller's clock sees."""
        count = 2000

        def nothing() -> None:
            pass

        timed = self.wrap("session", nothing)
        clock = time.perf_counter_ns
        best: tuple[int, int] | None = None
        for _ in range(40):
            start = clock()
            for _ in range(count):
                nothing()
            plain = clock() - start
            self.own["session"] = 0
            start = clock()
            for _ in range(count):
                timed()
            whole = clock() - start
            seen = self.own["session"]
            cost = (max(0, seen - plain) // count, max(0, whole - seen) // count)
            best = cost if best is None or sum(cost) < sum(best) else best
        assert best is not None
        self._inner, self._outer = best
        self.own["session"] = 0
        self._children[:] = [0]


@contextmanager
def watched(track: Track) -> Iterator[Stopwatch]:
    """Put a stopwatch on every stage of ``track``."""
    watch = Stopwatch()
    reactor = track.made.reactor
    places: list[tuple[Any, str, str]] = [
        (reactor, "_flush", "flush"),
        (reactor, "settle", "session"),
    ]
    swapped: list[tuple[Dry, Any, DryLeg, DryLeg]] = []
    for dry in track.dry:
        session = dry.session
        places += [
            (session.conversation, "receive", "ask"),
            (session.conversation, "answer", "go on"),
            (session.conversation, "moves", "moves"),
            (session.relay, "now", "relay"),
            (session, "ready", "session"),
            (session, "release", "session"),
        ]
        swapped.append((dry, session.log, dry.client, dry.upstream))
        session.log = TimedLog(session.log, watch)  # type: ignore[assignment]
        dry.client, dry.upstream = TimedLeg(dry.client, watch), TimedLeg(dry.upstream, watch)
        session.legs[:] = [dry.client, dry.upstream]
    olds = [(owner, name, owner.__dict__.get(name)) for owner, name, _ in places]
    for owner, name, stage in places:
        plain = getattr(owner, name)
        timed = watch.by_side(plain) if name == "receive" else watch.wrap(stage, plain)
        setattr(owner, name, timed)
    try:
        yield watch
    finally:
        for owner, name, old in olds:
            if old is None:
                delattr(owner, name)
            else:
                setattr(owner, name, old)
        for dry, log, client, upstream in swapped:
            dry.session.log = log
            dry.client, dry.upstream = client, upstream
            dry.session.legs[:] = [client, upstream]


class TimedLog:
    """A session's log whose collecting calls are timed."""

    def __init__(self, log: Any, watch: Stopwatch) -> None:
        self.spans = watch.wrap("record", log.spans)
        self.command = watch.wrap("record", log.command)
        self.event = watch.wrap("record", log.event)


class TimedLeg(DryLeg):
    """A dry leg whose calls are timed."""

    def __init__(self, leg: DryLeg, watch: Stopwatch) -> None:
        super().__init__(leg.fd)
        self._read = watch.wrap("legs", super().read)
        self._queue_data = watch.wrap("legs", super().queue)
        self._flush_all = watch.wrap("legs", super().flush)
        self._send_one = watch.wrap("legs", super().send)

    def read(self) -> bytes | None:
        return self._read()  # type: ignore[no-any-return]

    def queue(self, data: bytes) -> None:
        self._queue_data(data)

    def flush(self) -> bool:
        return self._flush_all()  # type: ignore[no-any-return]

    def send(self, data: bytes) -> None:
        self._send_one(data)


# -- getting there ----------------------------------------------------------


@dataclass(slots=True)
class Login:
    """A session that has run one transaction over sockets: the client's end,
    and the server's ``answer``."""

    session: Session
    client: trio.SocketStream
    answer: bytes


async def log_in(made: Services, token: str) -> Login:
    """Connect, prove, prepare, and run one transaction, so that what is looked
    up once (the catalog) is known."""
    client, ours = socket.socketpair()
    session = Session(made, made.listeners[0], ours, "127.0.0.1")
    trio.lowlevel.spawn_system_task(session.live)
    client.setblocking(False)
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(client))
    body = b"\0\3\0\0user\0agent\0database\0" + DATABASE.encode() + b"\0\0"
    await stream.send_all(struct.pack(">I", len(body) + 4) + body)
    await _until(stream, message(b"R", struct.pack(">I", 3)))
    await stream.send_all(message(b"p", token.encode() + b"\0"))
    await _until(stream, READY)
    await stream.send_all(PARSE)
    await _until(stream, READY)
    await stream.send_all(ASKED)
    return Login(session, stream, await _until(stream, READY))


async def _until(stream: trio.SocketStream, last: bytes) -> bytes:
    said = b""
    with trio.fail_after(20):
        while not said.endswith(last):
            fresh = await stream.receive_some(65536)
            if not fresh:
                raise BenchFault(f"no login: {said[-300:]!r}")
            said += fresh
    return said


def drive(config_file: Path, token: str, sessions: int, work: Callable[[Track], None]) -> None:
    """Run ``work`` with ``sessions`` dry sessions of the gateway that
    ``config_file`` describes. Raises BenchFault, and what ``work`` raises."""

    async def main() -> None:
        async with (
            services(load_config(config_file), Post(0, ())) as made,
            trio.open_nursery() as nursery,
        ):
            # What the inner loop in C would carry has no stages, and needs sockets: measured is
            # the way of all that it leaves to Python.
            made.reactor.gear = None
            nursery.start_soon(made.reactor.run)
            logins = [await log_in(made, token) for _ in range(sessions)]
            dry = [Dry(made, login.session) for login in logins]
            try:
                work(Track(made, dry, logins[0].answer))
            finally:
                for each in dry:
                    each.restore()
                    each.session.end("closed", "the bench is over")
                with trio.move_on_after(20):
                    while made.sessions:
                        await trio.sleep(0.01)
                for login in logins:
                    await trio.aclose_forcefully(login.client)
            nursery.cancel_scope.cancel()

    try:
        trio.run(main)
    except ExceptionGroup as group:
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise BenchFault(f"{type(first).__name__}: {first}") from group
