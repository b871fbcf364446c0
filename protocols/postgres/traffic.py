"""The query phase of a session: both lanes, from the first ReadyForQuery on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from protocols.contract import Answer, Destined, Opening, Question, Refuse
from protocols.errors import WireError
from protocols.outbox import Outbox
from protocols.postgres.clientlane import ClientLane
from protocols.postgres.flight import IDLE, Flight
from protocols.postgres.frames import TERMINATE
from protocols.postgres.messages import fatal, refusal
from protocols.postgres.refrain import caught_up, epoch, found, idle, stands
from protocols.postgres.refusal import notice
from protocols.postgres.serverlane import ServerLane
from protocols.recurring import Carried, Refrain
from protocols.wire import Mark, Side, Span

CLIENT: Final = Side.CLIENT
UPSTREAM: Final = Side.UPSTREAM
REQUEST: Final = 256
"""Bytes that a request in flight counts as waiting: about what is remembered of it
until the server has answered."""


class Traffic:
    """The methods are those of ``protocols.contract.Conversation``.

    ``moves`` settles before it drains: what still waits for an answer is put
    on record as taken, and leaves later as FORWARD.
    """

    __slots__ = ("_client", "_closing", "_epoch", "_flight", "_outbox", "_server", "_session")

    def __init__(
        self,
        opening: Opening,
        destined: Destined,
        outbox: Outbox,
        numbers: Iterator[int],
        parameters: dict[str, str],
    ) -> None:
        flight = Flight(opening, destined)
        self._flight = flight
        self._outbox = outbox
        self._session = opening.session
        self._client = ClientLane(flight, outbox, numbers)
        self._server = ServerLane(flight, outbox, numbers, parameters)
        self._closing = False
        self._epoch = 0

    def receive(self, side: Side, data: bytes) -> list[Question]:
        """Bytes of ``side`` arrived; b"" is its end. Errors: ``WireError``."""
        try:
            if side is CLIENT:
                return self._client.receive(data)
            if data:
                questions = self._server.receive(data)
                if self._client.stuck:
                    questions = questions + self._client.retry()
                return questions
            self._upstream_ended()
            return []
        except WireError as error:
            self._farewell(error)
            raise

    def answer(self, number: int, answer: Answer) -> list[Question]:
        """Answer the question ``number``. ``KeyError`` when nothing waits for
        it, ``TypeError`` when that is no answer to it."""
        try:
            if number and number == self._client.asked:
                return self._client.answer(answer)
            if number and number == self._server.asked:
                questions = self._server.answer(answer)
                if self._client.stuck:
                    questions = questions + self._client.retry()
                return questions
        except WireError as error:
            self._farewell(error)
            raise
        if self.closing:
            return []
        raise KeyError(number)

    def settle(self) -> None:
        """Park what waits for an answer; ``moves`` calls it."""
        if self._client.waiting:
            self._client.settle()

    def moves(self) -> list[Span]:
        """What became of bytes since the last call, in order."""
        client = self._client
        if client.asked or client.stuck:
            client.settle()
        return self._outbox.drain()

    def say(self, number: int, text: str) -> None:
        """A NoticeResponse, at the next place between frames."""
        if not self.closing:
            self._server.say(notice(text))

    def withdraw(self, number: int) -> None:
        """Refuse the waiting command ``number`` as canceled by the client."""
        if number and number == self._client.asked:
            self._client.withdraw()

    def dismiss(self, refuse: Refuse) -> None:
        """End the session now, in PostgreSQL's words."""
        self._end(refusal(refuse, self._session))

    @property
    def closing(self) -> bool:
        if self._closing:
            return True
        client = self._client
        if client.over:
            # After Terminate the server still answers what came before it.
            return not (client.left and self._flight.queue)
        return False

    @property
    def at_rest(self) -> bool:
        """True between transactions, when nothing is asked and nothing is
        half sent."""
        flight = self._flight
        return flight.rested and flight.status == IDLE and self.unforwarded == (0, 0)

    @property
    def held(self) -> int:
        return self._client.held + self._server.held + REQUEST * len(self._flight.queue)

    @property
    def waiting(self) -> tuple[int, int]:
        owed = REQUEST * len(self._flight.queue)
        return self._client.held + owed, self._server.held

    @property
    def owed(self) -> bool:
        return bool(self._flight.queue)

    @property
    def between(self) -> bool:
        return self._server.between

    @property
    def unforwarded(self) -> tuple[int, int]:
        return self._client.unforwarded, self._server.unforwarded

    def refrain(self) -> Refrain | None:
        flight = self._flight
        run = flight.last
        if run is None or self._closing:
            return None
        flight.last = None  # each is looked at once
        if flight.names.epoch != self._epoch:
            # Who prepares anew for each request comes no further than here.
            self._epoch = flight.names.epoch
            return None
        client, server = self._client, self._server
        if not (flight.rested and idle(client, server)):
            return None
        return found(flight, run, client, server)

    def standing(self) -> tuple[tuple[object, ...], object] | None:
        flight = self._flight
        if self._closing or not (flight.rested and idle(self._client, self._server)):
            return None
        return (epoch(flight), flight.names.now.get(b"")) if flight.settled else None

    @property
    def watched(self) -> tuple[dict[object, object], tuple[tuple[object, object], ...]]:
        return stands(self._flight)

    def catch_up(self, carried: Carried) -> None:
        """As ``Recurring.catch_up`` has it; the numbers are counted elsewhere."""
        caught_up(self._flight, self._client, self._server, carried)

    def _upstream_ended(self) -> None:
        """The server closed the connection."""
        if self._server.fatal or self._client.over:
            self._end(b"")
        else:
            self._end(
                refusal(
                    Refuse("the upstream closed the connection", kind="upstream"), self._session
                )
            )

    def _farewell(self, error: WireError) -> None:
        """A peer broke the protocol: say so to the client, end both legs."""
        if error.side is CLIENT:
            hint = f"Gateway session {self._session}."
            raw = fatal(error.code or "08P01", f"protocol error: {error.message}", hint=hint)
        else:
            reason = f"the upstream broke the protocol: {error.message}"
            raw = refusal(Refuse(reason, kind="upstream"), self._session)
        self._end(raw)

    def _end(self, last: bytes) -> None:
        """``last`` is the final word to the client, where it can be said."""
        if self._closing:
            return
        self._closing = True
        client, server = self._client, self._server
        between = server.between
        if not client.over:
            client.finish()
            if client.between and not server.over:
                self._outbox.send(UPSTREAM, TERMINATE, Mark.OURS)
        if not server.over:
            server.finish()
        if last and between:
            self._outbox.send(CLIENT, last, Mark.OURS)
