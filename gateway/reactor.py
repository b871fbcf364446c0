"""The straight gear: one task that moves bytes for every session of a worker.

A pair of trio tasks per connection costs several times the work that it moves.
Here one task waits on an inner epoll, and for every ready socket runs read,
``receive``, ``answer`` and record in one synchronous step; then one journal
write covers the whole round, and only then bytes are sent. Sessions step out of
it to wait (a handshake, a dial, an approval) in their own trio task.

Sessions that do again what was allowed before go aboard an inner loop in C, where
there is one (``gateway.seat``): read, recognise, record and send, with the same order
of record and send.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Sequence
from typing import Any
from typing import Protocol as Interface

import trio

from gateway.leg import Leg
from gateway.seat import inner_loop
from protocols.contract import Screen
from protocols.wire import Span

READ = select.EPOLLIN
GONE = select.EPOLLRDHUP
"""Also watched for on a leg that is not read, so that a client that leaves while
its bytes are held back is seen."""
WRITE = select.EPOLLOUT
MOST_EVENTS = 256
_NOWHERE = (-1, 0, 0, 0, 0, 0)
TURN = 0.002
"""Seconds of the inner epoll before other trio tasks get a turn."""
NAP = 1
"""Milliseconds that the inner epoll is waited on before trio is, where nothing but
the inner loop had something to do: a peer's answer is there within a part of one."""


class Rider(Interface):
    """What the reactor drives: one session, or one errand."""

    synced: bool
    """True when its bytes wait for the disk, not only for the kernel."""

    def ready(self, leg: Leg) -> None:
        """``leg`` can be read, or its peer is gone: put on record what came of it."""

    def writable(self, leg: Leg) -> None:
        """``leg`` can be written again."""

    def release(self, spans: list[Span]) -> None:
        """``spans`` are safe on record: send them."""

    def fail(self, error: Exception) -> None:
        """The recorder failed, or the rider itself raised: end."""


class Aboard(Rider, Interface):
    """A rider that can go aboard the inner loop."""

    def ashore(self) -> None:
        """Come ashore."""

    def heard(self, leg: Leg, data: bytes | OSError) -> None:
        """As ``ready``, for what was read from ``leg`` already."""

    def late(self, side: int, rest: bytes, error: int) -> None:
        """The kernel did not take ``rest`` of what was to be sent to ``side``;
        ``error`` says why, 0: its buffer is full."""


class Open(Interface):
    """A journal that others write to as well."""

    def ground(self) -> tuple[int, ...]:
        """Where (``recorder.journal.Ground``)."""

    def wrote(self, length: int, strangers: Sequence[Any], fault: int) -> None:
        """What was written there."""


class Reactor:
    """``flush`` makes what was put on record safe from a crash of this process,
    ``sync`` (run in a thread) safe from a power cut; both raise on failure. With
    ``journal`` there is an inner loop, where it was built; ``own`` finds the
    gateway's own secrets."""

    def __init__(
        self,
        flush: Callable[[], None],
        sync: Callable[[], object],
        journal: Open | None = None,
        own: Screen | None = None,
    ) -> None:
        self._epoll = select.epoll()
        self.gear: Any = inner_loop(self._epoll.fileno(), own) if journal is not None else None
        self._flush = flush
        self._sync = sync
        self._journal = journal
        self._undone: list[Aboard] = []
        self._legs: dict[int, tuple[Leg, Rider]] = {}
        self._interest: dict[int, int] = {}
        self._touched: dict[Rider, list[Span]] = {}
        self._unsynced: dict[Rider, list[Span]] = {}
        self._sync_wanted = trio.Event()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._bell, select.EPOLLIN)
        self._ripe: list[int] = []
        # A thread of its own: others may all be waiting for a slow store or secret.
        self._thread = trio.CapacityLimiter(1)
        self.rounds = 0

    def record_with(
        self,
        flush: Callable[[], None],
        sync: Callable[[], object],
        journal: Open | None = None,
    ) -> None:
        """Another journal takes over. No rider may wait for the old one."""
        self._flush = flush
        self._sync = sync
        self._journal = journal

    def recall(self) -> None:
        """Bring everybody ashore; a round that is not on record did not happen."""
        gear = self.gear
        if gear is None:
            return
        self._undone += gear.undo()
        for rider in gear.aboard():
            try:
                rider.ashore()
            except Exception as error:
                rider.fail(error)

    def close(self) -> None:
        self._epoll.close()
        os.close(self._bell)

    # -- which legs -------------------------------------------------------

    def attach(self, leg: Leg, rider: Rider) -> None:
        """Drive ``leg`` from now on. Bytes that TLS already holds are seen at
        once."""
        self._legs[leg.fd] = (leg, rider)
        self._interest[leg.fd] = READ | GONE
        self._epoll.register(leg.fd, READ | GONE)
        if leg.ripe:
            self.soon(leg)

    def soon(self, leg: Leg) -> None:
        """Treat ``leg`` as readable in the next round, though the kernel does
        not say so: TLS may hold bytes that were read before."""
        self._ripe.append(leg.fd)
        os.eventfd_write(self._bell, 1)

    def detach(self, leg: Leg) -> None:
        """Stop driving ``leg``; it may be unknown."""
        if self._legs.pop(leg.fd, None) is not None:
            del self._interest[leg.fd]
            try:
                self._epoll.unregister(leg.fd)
            except (OSError, ValueError):
                pass  # The kernel drops closed descriptors by itself.

    def want(self, leg: Leg, *, read: bool, write: bool) -> None:
        """Change what to wait for on ``leg``."""
        wanted = GONE | (READ if read else 0) | (WRITE if write else 0)
        fd = leg.fd
        if self._interest.get(fd, wanted) != wanted:
            self._interest[fd] = wanted
            self._epoll.modify(fd, wanted)

    def drain(self, leg: Leg, rider: Rider) -> None:
        """``leg`` has ended its stream and may still take bytes: wait for writing
        alone. ``ready`` is then called only when the peer is gone altogether."""
        fd = leg.fd
        if fd not in self._legs:
            self._epoll.register(fd, WRITE)
        elif self._interest[fd] != WRITE:
            self._epoll.modify(fd, WRITE)
        self._legs[fd] = (leg, rider)
        self._interest[fd] = WRITE

    # -- the rounds -------------------------------------------------------

    def touch(self, rider: Rider, spans: list[Span]) -> None:
        """``rider`` has put ``spans`` on record: release them after the next
        flush."""
        _add(self._touched, rider, spans)

    def settle(self) -> None:
        """Record what was put on record, then release what it gated."""
        while self._touched:
            touched, self._touched = self._touched, {}
            try:
                self._flush()
            except Exception as error:
                for rider in touched:
                    rider.fail(error)
                continue
            for rider, spans in touched.items():
                if rider.synced:
                    _add(self._unsynced, rider, spans)
                else:
                    self._release(rider, spans)
            if self._unsynced:
                self._sync_wanted.set()

    def _release(self, rider: Rider, spans: list[Span]) -> None:
        try:
            rider.release(spans)
        except Exception as error:
            rider.fail(error)

    def _guard(self, rider: Rider, leg: Leg) -> None:
        try:
            rider.ready(leg)
        except Exception as error:
            rider.fail(error)

    async def run(self) -> None:
        """Run until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._committer)
            turn = self._turn if self.gear is None else self._geared_turn
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                turn(time.monotonic() + TURN)

    def _turn(self, end: float) -> None:
        """Rounds until nothing is ready, or it is time for others."""
        while events := self._epoll.poll(0, MOST_EVENTS):
            self._round(events)
            if time.monotonic() >= end:
                break

    def _geared_turn(self, end: float) -> None:
        """The same with the inner loop's rounds first. What they leave to do is done
        after they are on record and sent, so that neither comes between the other."""
        while True:
            rest, moved = self._drive(end)
            if rest:
                self._rest(rest)
            elif not moved:
                break
            if time.monotonic() >= end:
                break

    def _drive(self, end: float) -> tuple[Any, bool]:
        """The inner loop's rounds until ``end``: what they leave to do, and whether anything
        moved."""
        assert self._journal is not None
        try:
            ground = self._journal.ground()
        except Exception:
            # Nobody can be carried. Who was is failed by what it puts on record next.
            self.recall()
            ground = _NOWHERE
        rest, late, strangers, length, fault, moved = self.gear.drive(
            int(end * 1e9), NAP, tuple(ground)
        )
        try:
            if length or fault:
                self._journal.wrote(length, strangers or (), fault)
        except Exception as error:
            self.recall()
            undone, self._undone = self._undone, []
            for rider in undone:
                rider.fail(error)
        for rider, side, left, number in late or ():
            try:
                rider.late(side, left, number)
            except Exception as error:
                rider.fail(error)
        if late:
            self.settle()
        return rest, moved

    def _rest(self, rest: list[tuple[int, int, bytes | OSError | None]]) -> None:
        """What the inner loop leaves to Python: events of sockets that nobody aboard
        has, and bytes of somebody aboard that need a look."""
        plain: list[tuple[int, int]] = []
        for fd, event, data in rest:
            entry = self._legs.get(fd)
            if data is None:
                plain.append((fd, event))
            elif entry is not None:
                leg, rider = entry
                try:
                    rider.heard(leg, data)  # type: ignore[attr-defined]
                except Exception as error:
                    rider.fail(error)
        self._round(plain)

    def _round(self, events: list[tuple[int, int]]) -> None:
        self.rounds += 1
        legs = self._legs
        for fd, event in events:
            entry = legs.get(fd)
            if entry is None:
                if fd == self._bell:
                    self._ring()
                continue
            leg, rider = entry
            if event & WRITE:
                try:
                    rider.writable(leg)
                except Exception as error:
                    rider.fail(error)
                    continue
            if event & ~WRITE:
                self._guard(rider, leg)
        self.settle()

    def _ring(self) -> None:
        os.eventfd_read(self._bell)
        ripe, self._ripe = self._ripe, []
        for fd in ripe:
            entry = self._legs.get(fd)
            if entry is not None and self._interest[fd] & READ:
                self._guard(entry[1], entry[0])

    async def _committer(self) -> None:
        """Group commit: while one fdatasync runs, the next batch gathers."""
        while True:
            await self._sync_wanted.wait()
            self._sync_wanted = trio.Event()
            batch, self._unsynced = self._unsynced, {}
            try:
                await trio.to_thread.run_sync(self._sync, limiter=self._thread)
            except Exception as error:
                for rider in batch:
                    rider.fail(error)
                continue
            for rider, spans in batch.items():
                self._release(rider, spans)


def _add(waiting: dict[Rider, list[Span]], rider: Rider, spans: list[Span]) -> None:
    before = waiting.get(rider)
    if before is None:
        waiting[rider] = spans
    else:
        before.extend(spans)
