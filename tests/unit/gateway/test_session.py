"""Sessions with a conversation, a log and a disk that do as they are told."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from gateway.reactor import Reactor
from gateway.session import Session
from gateway.world import World
from protocols.contract import Question, Refuse
from protocols.outbox import Outbox
from protocols.wire import Mark, Side, Span
from recorder.errors import RecorderError


class Plain:
    """Passes everything on. ``over`` is what the client hears at the end."""

    def __init__(self) -> None:
        self.outbox = Outbox()
        self.closing = False
        self.ready = True
        self.owed = self.at_rest = False
        self.between = True
        self.held = 0
        self.waiting = (0, 0)
        self.unforwarded = (0, 0)
        self.aside = ""
        self.bug = False

    def receive(self, side: Side, data: bytes) -> list[Question]:
        if self.bug:
            raise ZeroDivisionError
        if data:
            self.outbox.pass_on(side, data)
        else:
            self.closing = True
        return []

    def moves(self) -> list[Span]:
        return self.outbox.drain()

    def dismiss(self, refuse: Refuse) -> None:
        if not self.closing:
            self.closing = True
            self.outbox.send(Side.CLIENT, b"BYE:" + refuse.kind.encode(), Mark.OURS)

    def cancel(self) -> None:
        return None


class Log:
    def __init__(self) -> None:
        self.ended = False
        self.broken = False
        self.events: list[tuple[str, dict[str, object]]] = []
        self.why: tuple[str, str] = ("", "")

    def spans(self, spans: list[Span]) -> None:
        if self.broken:
            raise RecorderError("this session's log takes nothing more")

    def event(self, kind: str, fields: dict[str, object]) -> None:
        if self.broken or self.ended:
            raise RecorderError("this session's log takes nothing more")
        self.events.append((kind, fields))

    def end(self, status: str, reason: str) -> None:
        self.ended, self.why = True, (status, reason)


class Scene:
    """One session between two socket pairs; ``disk`` may fail or be slow."""

    def __init__(self, nursery: trio.Nursery, durability: str = "os") -> None:
        self.broken = ""
        self.alarms: list[str] = []
        self.crashes: list[BaseException] = []
        self.conversation = Plain()
        self.log = Log()
        self.reactor = Reactor(self.flush, self.sync)
        journal = SimpleNamespace(
            open=lambda header: self.log, flush=lambda: None, state=lambda: "ok"
        )
        limits = SimpleNamespace(message=1 << 20, held=1 << 20, idle=0, greeting=60, dial=60)
        services: Any = SimpleNamespace(
            world=World(),
            config=SimpleNamespace(recording=SimpleNamespace(durability=durability), limits=limits),
            journal=journal,
            policy=SimpleNamespace(version="v", reads_text=False),
            sessions={},
            depot=SimpleNamespace(open=None),
            reactor=self.reactor,
            alarm=lambda what, text: self.alarms.append(f"{what}: {text}"),
            crash=lambda session, error: self.crashes.append(error),
        )
        listener: Any = SimpleNamespace(
            address="here",
            tls="off",
            kind=SimpleNamespace(
                name="plain", carrier="tcp", start=lambda opening: self.conversation
            ),
        )
        near, self.client = socket.socketpair()
        far, self.upstream = socket.socketpair()
        self.client.settimeout(0)
        self.upstream.settimeout(0)
        self.session = Session(services, listener, near, "192.0.2.1")
        nursery.start_soon(self.reactor.run)
        nursery.start_soon(self.live)
        from gateway.leg import Leg

        self.session.legs[1] = Leg(far)
        self.reactor.attach(self.session.legs[1], self.session)
        self.over = trio.Event()

    def flush(self) -> None:
        if self.broken:
            raise RecorderError(self.broken)

    def sync(self) -> None:
        self.flush()

    async def live(self) -> None:
        await self.session.live()
        self.over.set()

    async def heard(self, sock: socket.socket) -> bytes:
        """Everything up to the end of the stream."""
        out = b""
        with trio.fail_after(3):
            while True:
                try:
                    piece = sock.recv(1 << 16)
                except BlockingIOError:
                    await trio.sleep(0.01)
                    continue
                if not piece:
                    return out
                out += piece


def run(scene: Any, durability: str = "os") -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            made = Scene(nursery, durability)
            with trio.fail_after(8):
                await scene(made)
                await made.over.wait()
            nursery.cancel_scope.cancel()
            made.reactor.close()

    trio.run(main)


@pytest.mark.parametrize("durability", ["os", "disk"])
def test_bytes_cross_and_the_first_to_leave_is_named(durability: str) -> None:
    async def scene(s: Scene) -> None:
        s.client.send(b"hello")
        await trio.sleep(0.1)
        assert s.upstream.recv(99) == b"hello"
        s.upstream.close()
        assert await s.heard(s.client) == b""
        await s.over.wait()
        assert s.log.why == ("closed", "the upstream closed the connection")

    run(scene, durability)


@pytest.mark.parametrize("durability", ["os", "disk"])
def test_a_recorder_that_fails_moves_nothing_and_says_so(durability: str) -> None:
    async def scene(s: Scene) -> None:
        s.broken = "the disk is full"
        s.client.send(b"delete everything")
        assert await s.heard(s.client) == b"BYE:recorder"
        assert await s.heard(s.upstream) == b""
        assert s.log.why[0] == "terminated"
        assert s.alarms == ["recorder: the disk is full"]

    run(scene, durability)


def test_no_last_word_inside_of_a_message() -> None:
    """Half a message has left: a refusal there would be read as its rest."""

    async def scene(s: Scene) -> None:
        s.conversation.between = False
        s.upstream.send(b"half a mess")
        await trio.sleep(0.1)
        assert s.client.recv(99) == b"half a mess"
        s.broken = "the disk is full"
        s.conversation.between = True
        s.upstream.send(b"age")
        assert await s.heard(s.client) == b""

    run(scene)


def test_nothing_follows_the_last_word() -> None:
    """Bytes that wait for the disk when the session fails are never sent."""

    async def scene(s: Scene) -> None:
        sync = trio.Event()

        def slow() -> None:
            trio.from_thread.run(sync.wait)

        s.reactor._sync = slow
        s.upstream.send(b"late")
        await trio.sleep(0.1)
        s.session.fail(ZeroDivisionError())
        await trio.sleep(0.05)
        sync.set()
        assert await s.heard(s.client) == b"BYE:upstream"

    run(scene, "disk")


def test_a_fault_of_ours_ends_one_session_only() -> None:
    async def scene(s: Scene) -> None:
        s.conversation.bug = True
        s.client.send(b"x")
        assert await s.heard(s.client) == b"BYE:upstream"
        assert [type(error) for error in s.crashes] == [ZeroDivisionError]

    run(scene)


def test_a_log_that_takes_nothing_more_stops_no_caller() -> None:
    """dismiss and note come from tasks that other sessions share."""

    async def scene(s: Scene) -> None:
        s.log.broken = True
        s.session.note("cancel", {})
        s.session.dismiss(Refuse("away", kind="shutdown"))
        await s.over.wait()
        s.session.note("errand", {})
        s.session.dismiss(Refuse("again", kind="shutdown"))

    run(scene)


def test_the_first_reason_counts() -> None:
    async def scene(s: Scene) -> None:
        s.session.dismiss(Refuse("first", kind="shutdown"))
        s.session.dismiss(Refuse("second", kind="shutdown"))
        await s.over.wait()
        assert s.log.why == ("terminated", "first")

    run(scene)


def test_a_session_leaves_when_it_comes_to_rest() -> None:
    async def scene(s: Scene) -> None:
        s.session.leave(Refuse("drain", kind="shutdown"))
        s.upstream.send(b"still working,")
        await trio.sleep(0.05)
        assert not s.over.is_set()
        s.conversation.at_rest = True
        s.upstream.send(b"done,")
        assert await s.heard(s.client) == b"still working,done,BYE:shutdown"

    run(scene)


def test_what_the_client_must_not_hear_reaches_the_operator() -> None:
    async def scene(s: Scene) -> None:
        s.conversation.aside = "28P01: no such user"
        s.session.dismiss(Refuse("refused", kind="upstream"))
        assert b"28P01" not in await s.heard(s.client)
        await s.over.wait()
        assert ("aside", {"message": "28P01: no such user"}) in s.log.events
        assert "28P01" in s.alarms[0]

    run(scene)


@pytest.mark.parametrize("side", [0, 1])
def test_what_waits_behind_a_question_slows_its_own_side_only(side: int) -> None:
    """The other side may be what it waits for."""

    async def scene(s: Scene) -> None:
        both = [0, 0]
        both[side] = s.conversation.held = 2 << 20
        s.conversation.waiting = (both[0], both[1])
        s.client.send(b"a")
        s.upstream.send(b"b")
        await trio.sleep(0.1)
        s.client.send(b"c")
        s.upstream.send(b"d")
        await trio.sleep(0.1)
        stopped, free = (s.client, s.upstream) if side else (s.upstream, s.client)
        assert stopped.recv(9) in (b"b", b"a")
        assert free.recv(9) in (b"bd", b"ac")
        s.client.close()

    run(scene)
