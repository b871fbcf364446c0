"""The straight gear: what is waited for, what is released, and when."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

import pytest
import trio

from gateway.leg import Leg
from gateway.reactor import Reactor
from protocols.wire import Mark, Move, Side, Span
from recorder.errors import RecorderError


def span(raw: bytes) -> Span:
    return Span(Move.SEND, Side.CLIENT, Mark.OURS, raw, -1)


class Rider:
    def __init__(self, synced: bool = False) -> None:
        self.synced = synced
        self.calls: list[str] = []
        self.released: list[bytes] = []
        self.failed: list[Exception] = []

    def ready(self, leg: Leg) -> None:
        self.calls.append(f"ready {leg.read()!r}" if leg.fd >= 0 else "ready")

    def writable(self, leg: Leg) -> None:
        self.calls.append("writable")

    def release(self, spans: list[Span]) -> None:
        self.released += [s.raw for s in spans]

    def fail(self, error: Exception) -> None:
        self.failed.append(error)


Scene = Callable[[Reactor, Rider, Leg, socket.socket], Awaitable[None]]


def drive(scene: Scene, flush: Callable[[], None] = lambda: None, sync: object = None) -> None:
    async def main() -> None:
        near, far = socket.socketpair()
        reactor = Reactor(flush, sync or flush)  # type: ignore[arg-type]
        leg = Leg(near)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reactor.run)
            with trio.fail_after(5):
                await scene(reactor, Rider(), leg, far)
            nursery.cancel_scope.cancel()
        reactor.close()
        near.close()
        far.close()

    trio.run(main)


def test_a_leg_that_only_drains_is_not_read() -> None:
    async def scene(reactor: Reactor, rider: Rider, leg: Leg, far: socket.socket) -> None:
        reactor.attach(leg, rider)
        reactor.drain(leg, rider)
        far.send(b"x")
        reactor.soon(leg)
        await trio.sleep(0.05)
        assert set(rider.calls) == {"writable"}
        reactor.detach(leg)
        calls = len(rider.calls)
        await trio.sleep(0.05)
        assert len(rider.calls) == calls

    drive(scene)


def test_a_peer_that_leaves_a_paused_leg_is_noticed() -> None:
    async def scene(reactor: Reactor, rider: Rider, leg: Leg, far: socket.socket) -> None:
        reactor.attach(leg, rider)
        reactor.want(leg, read=False, write=False)
        far.send(b"x")
        await trio.sleep(0.05)
        assert rider.calls == []
        far.shutdown(socket.SHUT_WR)
        await trio.sleep(0.05)
        assert rider.calls[0] == "ready b'x'"

    drive(scene)


def test_a_failed_flush_releases_nothing() -> None:
    def flush() -> None:
        raise RecorderError("full")

    async def scene(reactor: Reactor, rider: Rider, leg: Leg, far: socket.socket) -> None:
        reactor.touch(rider, [span(b"a")])
        reactor.settle()
        assert rider.released == []
        assert [str(e) for e in rider.failed] == ["full"]

    drive(scene, flush)


def test_disk_releases_after_the_sync_in_order_and_batches() -> None:
    syncs = 0

    def sync() -> None:
        nonlocal syncs
        syncs += 1
        trio.from_thread.run(trio.sleep, 0.05)

    async def scene(reactor: Reactor, rider: Rider, leg: Leg, far: socket.socket) -> None:
        rider.synced = True
        for n in range(20):
            reactor.touch(rider, [span(b"%d" % n)])
            reactor.settle()
            assert rider.released == [] or n > 3
            await trio.sleep(0.005)
        with trio.move_on_after(2):
            while len(rider.released) < 20:
                await trio.sleep(0.01)
        assert rider.released == [b"%d" % n for n in range(20)]
        assert syncs < 10

    drive(scene, sync=sync)


def test_a_sync_that_fails_releases_nothing_of_its_batch() -> None:
    def sync() -> None:
        raise RecorderError("EIO")

    async def scene(reactor: Reactor, rider: Rider, leg: Leg, far: socket.socket) -> None:
        rider.synced = True
        reactor.touch(rider, [span(b"a")])
        reactor.settle()
        await trio.sleep(0.1)
        assert rider.released == []
        assert [str(e) for e in rider.failed] == ["EIO"]

    drive(scene, sync=sync)


def test_becoming_durable_keeps_the_order() -> None:
    """Spans of the same round, before and after ``synced`` was set."""

    async def scene(reactor: Reactor, rider: Rider, leg: Leg, far: socket.socket) -> None:
        reactor.touch(rider, [span(b"a")])
        rider.synced = True
        reactor.touch(rider, [span(b"b")])
        reactor.settle()
        with trio.fail_after(2):
            while len(rider.released) < 2:
                await trio.sleep(0.01)
        assert rider.released == [b"a", b"b"]

    drive(scene)


@pytest.mark.parametrize("where", ["ready", "release"])
def test_a_rider_that_raises_fails_alone(where: str) -> None:
    async def scene(reactor: Reactor, rider: Rider, leg: Leg, far: socket.socket) -> None:
        def boom(_: object) -> None:
            raise ZeroDivisionError

        setattr(rider, where, boom)
        other = Rider()
        reactor.attach(leg, rider)
        far.send(b"x")
        reactor.touch(rider, [span(b"a")])
        reactor.touch(other, [span(b"b")])
        await trio.sleep(0.05)
        reactor.settle()
        assert isinstance(rider.failed[0], ZeroDivisionError)
        assert other.released == [b"b"]
        reactor.detach(leg)

    drive(scene)
