"""The life of one client connection: greet, identify, route, dial, converse, close.

Read ``live`` from top to bottom for the life, and ``ready``, ``_carry_on`` and
``release`` for what happens to every byte in between. All knowledge of the
protocol is in the conversation, all answers are the relay's.
"""

from __future__ import annotations

import os
import socket

import trio

from gateway import deadlines, tls
from gateway.carriers import received
from gateway.farewell import farewell
from gateway.leg import Leg, LegLost
from gateway.listening import Listener
from gateway.relay import Relay
from gateway.seat import Seat, seated
from gateway.services import Services
from gateway.spool import DiskSpool
from protocols.contract import (
    Answer,
    Conversation,
    Opening,
    Question,
    Refuse,
    Remark,
    Upgrade,
)
from protocols.errors import WireError
from protocols.wire import Move, Side, Span
from recorder.errors import RecorderError
from recorder.session_log import Status

HIGH_WATER = 1 << 20
"""Bytes queued towards a slow peer before the other leg is no longer read."""
_LEFT: tuple[Status, str] = ("closed", "the client left")


class Session:
    """One session. ``synced``: its bytes wait for the disk (durability disk)."""

    def __init__(
        self,
        services: Services,
        listener: Listener,
        sock: socket.socket,
        peer: str,
        *,
        crowded: bool = False,
    ) -> None:
        self.services = services
        self.listener = listener
        self.peer = peer
        self.crowded = crowded
        self.id = services.world.ulid()
        self.synced = services.config.recording.durability == "disk"
        self._spools = listener.kind.carrier == "ssh"
        self._bulk: list[DiskSpool] = []
        self.conversation: Conversation = listener.kind.start(
            Opening(
                session=self.id,
                chance=services.world.chance,
                tls=listener.tls,
                limit=services.config.limits.message,
                spool=self._spool,
            )
        )
        self.legs: list[Leg | None] = [received(services, listener, sock, peer), None]
        self._seat: Seat | None = None
        self.proven = trio.Event()
        self._ended = [False, False]
        """By side: its stream has ended."""
        self._gone = [False, False]
        """By side: it takes nothing any more either."""
        self._paused = [False, False]
        self._most_held = services.config.limits.held
        self._over = trio.Event()
        self._failed = False
        self._parting: Refuse | None = None
        self._whole = True
        """What the client was sent so far ends between two messages."""
        self.moved = 0
        """Grows with whatever moves."""
        self._unreleased = 0
        self._unsynced = 0
        self._why = _LEFT
        self._nursery: trio.Nursery | None = None
        self.log = services.journal.open(
            {
                "session": self.id,
                "started": services.world.wall_ns(),
                "gateway": services.world.instance,
                "listener": str(listener.address),
                "protocol": listener.kind.name,
                "peer": peer,
                "policy": services.policy.version,
                "durability": services.config.recording.durability,
            }
        )
        self.relay = Relay(services, listener, self)

    # -- the life ---------------------------------------------------------

    async def live(self) -> None:
        """From the greeting to the close."""
        services = self.services
        services.sessions[self.id] = self
        client = self.legs[Side.CLIENT]
        assert client is not None
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(deadlines.entrance, self)
                if services.config.limits.idle:
                    nursery.start_soon(deadlines.idle, self, services.config.limits.idle)
                services.reactor.attach(client, self)
                await self._over.wait()
                # Who still waits (a handshake, a hold, an errand) waits for nothing,
                # and the farewell must be the only one to wait on a socket.
                nursery.cancel_scope.cancel()
            await farewell(self)
        finally:
            self._close()

    def _spool(self, cap: int) -> DiskSpool:
        spool = self.services.depot.open(cap)
        self._bulk.append(spool)
        return spool

    def _close(self) -> None:
        services = self.services
        services.sessions.pop(self.id, None)
        self.ashore()
        self.relay.close()
        for spool in self._bulk:
            spool.close()
        for leg in self.legs:
            if leg is not None and leg.fd >= 0:
                services.reactor.detach(leg)
                leg.close()
        try:
            self._record_tail()
            self._tell_operator()
            self.log.end(*self._why)
            services.journal.flush()
        except RecorderError as error:
            services.alarm("recorder", str(error))

    def _record_tail(self) -> None:
        """Bytes of a frame that never became whole are on record by number."""
        client, upstream = self.conversation.unforwarded
        if client or upstream:
            self.log.event("unfinished", {"client": client, "upstream": upstream})

    def _tell_operator(self) -> None:
        """What the client must not hear, and somebody has to."""
        if aside := self.conversation.aside:
            self.log.event("aside", {"message": aside})
            name = self.relay.target.name if self.relay.target is not None else "?"
            self.services.alarm("upstream", f"target {name}, session {self.id}: {aside}")

    def end(self, status: Status, reason: str) -> None:
        """Let the session close; the first reason counts."""
        if not self._over.is_set():
            self._because(status, reason)
            self._over.set()

    def _because(self, status: Status, reason: str) -> None:
        if self._why is _LEFT:
            self._why = (status, reason)

    def dismiss(self, refuse: Refuse) -> None:
        """End the session in the protocol's own words. Never raises."""
        if self._over.is_set():
            return
        try:
            self.ashore()
            self._part(refuse)
            self._carry_on([])
        except Exception as error:
            self.fail(error)
        self.services.reactor.settle()

    def leave(self, refuse: Refuse) -> None:
        """End the session as soon as it is at rest. Never raises."""
        self.ashore()
        if self.conversation.at_rest:
            self.dismiss(refuse)
        else:
            self._parting = refuse

    def _part(self, refuse: Refuse) -> None:
        self._parting = None
        if not self.conversation.closing:
            self._because("terminated", refuse.reason)
        self.conversation.dismiss(refuse)

    def note(self, kind: str, fields: dict[str, object]) -> None:
        """Put on record what others did for this session, if it still lives."""
        if not (self.log.ended or self._failed):
            try:
                self.ashore()
                self.log.event(kind, fields)
            except RecorderError as error:
                self.fail(error)

    # -- the straight gear (called by the reactor) ------------------------

    def ready(self, leg: Leg) -> None:
        self.ashore()
        side = Side.CLIENT if leg is self.legs[0] else Side.UPSTREAM
        if self._over.is_set():
            self.services.reactor.detach(leg)
            return
        if self._ended[side]:
            self._lost(side, LegLost("the peer is gone"))
            return
        try:
            data = leg.read()
        except LegLost as error:
            self._lost(side, error)
            return
        if data is None:
            if self._spools:
                self._pour()
            return
        self._hear(leg, side, data)

    def _hear(self, leg: Leg, side: Side, data: bytes) -> None:
        if not data:
            self._ended[side] = True
            if side is Side.UPSTREAM and not self._ended[Side.CLIENT]:
                self._because("closed", "the upstream closed the connection")
            self._gauge()
        self._receive(side, data)
        if leg.tls is not None and leg.ripe and not self._ended[side] and not self._paused[side]:
            self.services.reactor.soon(leg)

    def _receive(self, side: Side, data: bytes) -> None:
        try:
            questions = self.conversation.receive(side, data)
        except WireError as error:
            self._blame(error)
            questions = []
        self._carry_on(questions)

    def _carry_on(self, questions: list[Question]) -> None:
        """Answer what can be answered at once, then record what moved."""
        conversation = self.conversation
        now = self.relay.now
        try:
            while questions:
                question = questions.pop(0)
                if type(question) is Remark:
                    self.log.event(question.kind, question.fields)
                    continue
                answer = now(question)
                if answer is None:
                    assert self._nursery is not None
                    if type(question) is Upgrade:
                        # Now, not in the task: a quick peer's first bytes of TLS must
                        # not be read as bytes before TLS.
                        leg = self.legs[question.side]
                        assert leg is not None
                        self.services.reactor.detach(leg)
                    self._nursery.start_soon(self._ponder, question)
                else:
                    questions.extend(conversation.answer(question.number, answer))
        except WireError as error:
            self._blame(error)
        if self._parting is not None and conversation.at_rest:
            self._part(self._parting)
        spans = conversation.moves()
        if spans:
            self.log.spans(spans)
            self.moved += 1
            self._unreleased += len(spans)
            if self.synced:
                self._unsynced += sum(len(span.raw) for span in spans)
                if self._unsynced > HIGH_WATER:
                    self._gauge()
            self.services.reactor.touch(self, spans)
        if self._paused[0] or self._paused[1] or conversation.held > self._most_held:
            self._gauge()
        if not self._unreleased and (conversation.closing or self._gone[0]):
            self._over.set()

    # -- the inner loop (see gateway.seat) ---------------------------------

    def ashore(self) -> None:
        """Come ashore: before anything is done with the conversation, the log or a leg."""
        if self._seat is not None:
            self._seat.ashore()

    def heard(self, leg: Leg, data: bytes | OSError) -> None:
        """As ``ready``: the inner loop has read it and leaves it to Python."""
        self.ashore()
        side = Side.CLIENT if leg is self.legs[0] else Side.UPSTREAM
        if isinstance(data, OSError):
            self._lost(side, LegLost(data.strerror or str(data)))
        elif not self._over.is_set():
            self._hear(leg, side, data)

    def late(self, side: int, rest: bytes, error: int) -> None:
        """The inner loop could not send ``rest``, which is on record."""
        self.ashore()
        leg = self.legs[side]
        assert leg is not None
        if error:
            self._lost(Side(side), LegLost(os.strerror(error)))
        else:
            leg.queue(rest)
            self._gauge()

    @property
    def steady(self) -> bool:
        """True while it is to go on, and both legs are read and have nothing to send."""
        if self._parting or True in (*self._ended, *self._gone, *self._paused):
            return False
        return not any(leg is None or leg.tls is not None or leg.pending for leg in self.legs)

    def release(self, spans: list[Span]) -> None:
        """``spans`` are on record: send them."""
        if self._failed:
            return  # a last word was said already: nothing may come after it
        if len(spans) == 1 and not self.synced and self._unreleased == 1:
            self._release_one(spans[0])
            return
        self._unreleased -= len(spans)
        if self.synced:
            self._unsynced = max(0, self._unsynced - sum(len(span.raw) for span in spans))
            if self._paused[0] or self._paused[1]:
                self._gauge()
        legs = self.legs
        used = [False, False]
        for move, side, _mark, raw, _offset in spans:
            if move is Move.TAKE:
                continue
            to = side if move is Move.SEND else 1 - side
            leg = legs[to]
            if leg is not None and leg.fd >= 0 and not self._gone[to]:
                try:
                    leg.queue(raw)
                except LegLost as error:
                    self._lost(Side(to), error)
                    continue
                used[to] = True
        conversation = self.conversation
        if used[0]:
            # With more on its way, where it will end is not known yet.
            self._whole = not self._unreleased and conversation.between
        for to in (0, 1):
            if used[to]:
                self._flush(Side(to))
        if self._spools:
            self._pour_soon()
        if not self._unreleased and (conversation.closing or self._gone[0]):
            self._over.set()

    def _release_one(self, span: Span) -> None:
        """``release`` for the common case: one span, and nothing behind it."""
        self._unreleased = 0
        move, side, _mark, raw, _offset = span
        conversation = self.conversation
        if move is not Move.TAKE:
            to = side if move is Move.SEND else 1 - side
            leg = self.legs[to]
            if leg is not None and leg.fd >= 0 and not self._gone[to]:
                if to == 0:
                    self._whole = conversation.between
                try:
                    leg.send(raw)
                except LegLost as error:
                    self._lost(Side(to), error)
                else:
                    if leg.pending or self._paused[0] or self._paused[1]:
                        self._gauge()
        if self._spools:
            self._pour_soon()
        if conversation.closing or self._gone[0]:
            self._over.set()
        elif side and self._seat is not None:
            self._seat.board()

    def writable(self, leg: Leg) -> None:
        self.ashore()
        self._flush(Side.CLIENT if leg is self.legs[0] else Side.UPSTREAM)
        self._gauge()
        if self._spools:
            self._pour()

    def _pour(self) -> None:
        """Spooled bytes leave as fast as the upstream takes them."""
        upstream = self.legs[1]
        if upstream is None or upstream.pending >= HIGH_WATER or self._unreleased:
            return
        if self.conversation.more:
            self._carry_on([])

    def _pour_soon(self) -> None:
        """The next piece in the next round, so that others get their turn. While
        the kernel takes no more, ``writable`` goes on."""
        upstream = self.legs[1]
        if self.conversation.more and upstream is not None and not upstream.pending:
            self.services.reactor.soon(upstream)

    def fail(self, error: Exception) -> None:
        """Something broke under the session: it ends, and says so if it can.

        Nothing moves after this: not what still comes in, nor what was put on
        record and not sent yet, which would follow the last word.
        """
        if self._failed:
            return
        self._failed = True
        try:
            self.ashore()
        except Exception as second:
            self.services.crash(self.id, second)
        for leg in self.legs:
            if leg is not None:
                self.services.reactor.detach(leg)
        if isinstance(error, RecorderError):
            # Nothing more may move: the client is told in its own words, by bytes that
            # could not be recorded any more. They are ours and carry no data.
            self.services.alarm("recorder", str(error))
            refuse = Refuse("the session can't be recorded any more", kind="recorder")
        else:
            self.services.crash(self.id, error)
            refuse = Refuse("the gateway met an internal error", kind="upstream")
        if not self._over.is_set():
            self._why = ("terminated", refuse.reason)
            try:
                if self._whole and not self._gone[0]:
                    self._last_word(refuse)
            except Exception as second:
                self.services.crash(self.id, second)
            self._over.set()

    def _last_word(self, refuse: Refuse) -> None:
        conversation, client = self.conversation, self.legs[0]
        conversation.moves()  # never to be sent
        conversation.dismiss(refuse)
        for span in conversation.moves():
            if span.move is Move.SEND and span.side is Side.CLIENT and client is not None:
                client.queue(span.raw)

    # -- legs and backpressure --------------------------------------------

    def _flush(self, side: Side) -> None:
        leg = self.legs[side]
        if leg is None or leg.fd < 0:
            return
        try:
            leg.flush()
        except LegLost as error:
            self._lost(side, error)
            return
        if leg.pending or self._paused[1 - side] or self._paused[side]:
            self._gauge()

    def _gauge(self) -> None:
        """Decide anew which legs to read and which to wait on for writing."""
        if self._over.is_set():
            return
        waiting = self.conversation.waiting
        for side in (0, 1):
            leg = self.legs[side]
            if leg is None or leg.fd < 0:
                continue
            if self._ended[side]:
                if leg.pending and not self._gone[side]:
                    self.services.reactor.drain(leg, self)
                else:
                    self.services.reactor.detach(leg)
                continue
            other = self.legs[1 - side]
            full = (
                (other is not None and other.pending > HIGH_WATER)
                or self._unsynced > HIGH_WATER
                or waiting[side] > self._most_held
                # A client that doesn't listen may not go on speaking. An upstream may:
                # it could be waiting for us to take its answers before it reads on.
                or (side == Side.CLIENT and leg.pending > HIGH_WATER)
            )
            was_full, self._paused[side] = self._paused[side], full
            self.services.reactor.want(leg, read=not full, write=leg.pending > 0)
            if was_full and not full and leg.ripe:
                self.services.reactor.soon(leg)

    def _lost(self, side: Side, error: LegLost) -> None:
        """The connection broke: for the conversation that is the end of the
        stream, and what would still go there is forgotten."""
        leg = self.legs[side]
        if leg is None or self._gone[side]:
            return
        self._gone[side] = True
        self.services.reactor.detach(leg)
        leg.discard()
        if not self._ended[side]:
            self._ended[side] = True
            if side is Side.UPSTREAM:
                self._because("closed", "the upstream's connection broke")
            self.log.event("lost", {"side": side.name.lower(), "why": str(error)})
            self._receive(side, b"")
        else:
            self._carry_on([])

    def _blame(self, error: WireError) -> None:
        self.log.event(
            "error",
            {"side": error.side.name.lower(), "message": error.message, "code": error.code},
        )
        self._because("terminated", f"{error.side.name.lower()}: {error.message}")

    # -- the waiting gear -------------------------------------------------

    async def _ponder(self, question: Question) -> None:
        """Find an answer that takes time, then go on."""
        try:
            try:
                if isinstance(question, Upgrade):
                    await self._upgrade(question)
                else:
                    self._resolve(question.number, await self.relay.later(question))
            except LegLost as error:
                self.log.event("lost", {"side": "client", "why": str(error)})
                self.end("terminated", str(error))
        except Exception as error:
            self.fail(error)

    def _resolve(self, number: int, answer: Answer) -> None:
        if self._over.is_set():
            return
        self.ashore()
        try:
            questions = self.conversation.answer(number, answer)
        except WireError as error:
            self._blame(error)
            questions = []
        if isinstance(answer, Refuse) and self.conversation.closing:
            self._because("terminated", answer.reason)
        self._carry_on(questions)
        self.services.reactor.settle()

    def resume(self) -> None:
        """The conversation was told something from outside (``say``,
        ``withdraw``): see what moved."""
        self.ashore()
        self._carry_on([])
        self.services.reactor.settle()

    def adopt(self, leg: Leg) -> None:
        """``leg`` is the upstream's now."""
        self.legs[Side.UPSTREAM] = leg
        if not self.synced:
            self._seat = seated(self)
        self.services.reactor.attach(leg, self)

    async def _upgrade(self, question: Upgrade) -> None:
        """TLS on one leg. The reactor lets go of it for the handshake."""
        leg = self.legs[question.side]
        assert leg is not None
        reactor = self.services.reactor
        reactor.detach(leg)
        while self._unreleased:  # durability disk: the go-ahead byte waits for its fsync
            await trio.sleep(0.001)
        while not leg.flush():
            await trio.lowlevel.wait_writable(leg.sock)
        context, name = self.relay.tls_context(question)
        try:
            await tls.shake(
                leg,
                context,
                server_side=question.side is Side.CLIENT,
                name=name,
                unread=question.unread,
            )
            upgraded = tls.upgraded(leg)
            if question.alpn and upgraded.alpn != question.alpn:
                raise LegLost(f"TLS without ALPN {question.alpn}")
        except LegLost as error:
            if question.side is Side.CLIENT:
                raise
            self.log.event("lost", {"side": "upstream", "why": str(error)})
            reason = f"no TLS with the upstream: {error}"
            self._resolve(question.number, Refuse(reason, kind="upstream"))
            return
        self.log.event("tls", {"side": question.side.name.lower(), **tls.facts(leg)})
        # The answer goes first: bytes inside TLS must find a conversation that
        # knows that TLS is up.
        self._resolve(question.number, upgraded)
        if not self._over.is_set():
            reactor.attach(leg, self)
