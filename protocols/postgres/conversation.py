"""One PostgreSQL session: greet the client, log in upstream, then traffic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import TYPE_CHECKING

from protocols.contract import Answer, Destination, Destined, Opening, Question, Refuse, Talk
from protocols.errors import WireError
from protocols.outbox import Numbers, Outbox
from protocols.postgres.errands import Canceller
from protocols.postgres.greeting import Greeting
from protocols.postgres.login import Login
from protocols.postgres.messages import fatal, report
from protocols.postgres.traffic import Traffic
from protocols.recurring import Carried, Refrain
from protocols.wire import Mark, Side, Span

_MAX_NOTES = 16


class Entrance:
    """The session until the upstream is ready: greeting, destination, login.

    ``through`` once both legs are ready for traffic.
    """

    def __init__(self, opening: Opening, outbox: Outbox, numbers: Iterator[int]) -> None:
        self.closing = False
        self.through = False
        self.destined: Destined | None = None
        self.login: Login | None = None
        self._opening = opening
        self._outbox = outbox
        self._numbers = numbers
        self._greeting = Greeting(opening, outbox, numbers)
        self._destination = 0
        self._notes: list[str] = []

    def receive(self, side: Side, data: bytes) -> list[Question]:
        if self.closing:
            # Nobody reads it, and it may be a credential.
            self._outbox.take(side, data, Mark.SECRET)
            return []
        try:
            if side is Side.CLIENT:
                questions = self._from_client(data)
            else:
                questions = self._from_upstream(data)
        except WireError as error:
            self._farewell(error)
            raise
        return questions + self._after()

    def answer(self, number: int, answer: Answer) -> list[Question]:
        if self.closing:
            return []
        if number == self._destination:
            return self._destined(answer)
        try:
            if self.login is not None:
                questions = self.login.answer(number, answer)
            else:
                questions = self._greeting.answer(number, answer)
        except WireError as error:
            self._farewell(error)
            raise
        return questions + self._after()

    def say(self, number: int, text: str) -> None:
        """No client takes a notice before AuthenticationOk: kept until then."""
        if not self.closing and len(self._notes) < _MAX_NOTES:
            self._notes.append(text)
            self._speak()

    def withdraw(self, number: int) -> None:
        self.dismiss(Refuse("canceled by the client", kind="shutdown"))

    def dismiss(self, refuse: Refuse) -> None:
        if not self.closing:
            self._greeting.refuse(refuse)
            self._close()

    @property
    def at_rest(self) -> bool:
        """No command has come yet. A cancel that somebody asked for has."""
        return not self._greeting.cancelling

    @property
    def held(self) -> int:
        return len(self._greeting.intake)

    @property
    def waiting(self) -> tuple[int, int]:
        return len(self._greeting.intake), 0

    @property
    def owed(self) -> bool:
        return False

    @property
    def between(self) -> bool:
        """Nothing is streamed here: each message leaves whole."""
        return True

    @property
    def unforwarded(self) -> tuple[int, int]:
        return len(self._greeting.intake), self.login.buffered if self.login else 0

    def parked(self) -> bytes:
        """What the client said early: traffic's from now on."""
        return self._greeting.intake.drain()

    def _from_client(self, data: bytes) -> list[Question]:
        if not data:
            if not self._greeting.cancelling:
                self._close()
            return []
        return self._greeting.receive(data)

    def _from_upstream(self, data: bytes) -> list[Question]:
        if self.login is None:
            self._outbox.take(Side.UPSTREAM, data)
            if not data:
                return []
            raise WireError(Side.UPSTREAM, "bytes before the login", "08P01")
        if not data:
            self.dismiss(Refuse(self.login.lost(), kind="upstream"))
            return []
        return self.login.receive(data)

    def _after(self) -> list[Question]:
        """What follows from what has just happened."""
        greeting, login = self._greeting, self.login
        if self.closing:
            return []
        if greeting.closing:
            self._close()
        elif login is not None:
            self._speak()
            if login.refusal is not None:
                self.dismiss(login.refusal)
            elif login.done:
                self.through = True
        elif greeting.done and not self._destination:
            self._destination = next(self._numbers)
            w = greeting.wishes
            return [Destination(self._destination, w.database, w.parameters)]
        return []

    def _destined(self, answer: Answer) -> list[Question]:
        if self.destined is not None:
            raise KeyError(self._destination)
        if isinstance(answer, Refuse):
            self.dismiss(answer)
        elif isinstance(answer, Destined):
            self.destined = answer
            try:
                self.login = Login(
                    self._opening,
                    answer,
                    self._outbox,
                    self._numbers,
                    parameters=self._greeting.wishes.parameters,
                    client=True,
                )
            except ValueError as error:
                self.dismiss(Refuse(f"the target's settings are wrong: {error}", kind="target"))
            else:
                self.login.start()
        else:
            raise TypeError(f"{type(answer).__name__} does not answer a Destination")
        return []

    def _speak(self) -> None:
        if self.login is not None and self.login.greeted:
            for text in self._notes:
                note = report(b"N", "NOTICE", "00000", text)
                self._outbox.send(Side.CLIENT, note, Mark.OURS)
            self._notes.clear()

    def _farewell(self, error: WireError) -> None:
        if self._greeting.mute:
            pass
        elif error.side is Side.CLIENT:
            hint = f"Gateway session {self._opening.session}."
            raw = fatal(error.code or "08P01", f"protocol error: {error.message}", hint=hint)
            self._outbox.send(Side.CLIENT, raw, Mark.OURS)
        else:
            reason = f"the upstream broke the protocol: {error.message}"
            self._greeting.refuse(Refuse(reason, kind="upstream"))
        self._close()

    def _close(self) -> None:
        self.closing = True
        # Until the proof is judged what is left may be a credential.
        self._outbox.take(Side.CLIENT, self.parked(), Mark.SECRET)
        if self.login is not None:
            self.login.swallow()


class PostgresConversation:
    """The conversation of ``protocols.contract`` for PostgreSQL 3.0 and 3.2.

    The methods that the relay calls per read are attributes of the instance:
    once the login is through they are traffic's own bound methods, so that
    the entrance costs the traffic nothing.
    """

    receive: Callable[[Side, bytes], list[Question]]
    answer: Callable[[int, Answer], list[Question]]
    moves: Callable[[], list[Span]]
    say: Callable[[int, str], None]
    withdraw: Callable[[int], None]
    dismiss: Callable[[Refuse], None]

    if TYPE_CHECKING:

        @property
        def closing(self) -> bool: ...
        @property
        def at_rest(self) -> bool: ...
        @property
        def held(self) -> int: ...
        @property
        def unforwarded(self) -> tuple[int, int]: ...
        @property
        def waiting(self) -> tuple[int, int]: ...
        @property
        def owed(self) -> bool: ...
        @property
        def between(self) -> bool: ...

    else:
        closing = property(attrgetter("_stage.closing"))
        at_rest = property(attrgetter("_stage.at_rest"))
        held = property(attrgetter("_stage.held"))
        unforwarded = property(attrgetter("_stage.unforwarded"))
        waiting = property(attrgetter("_stage.waiting"))
        owed = property(attrgetter("_stage.owed"))
        between = property(attrgetter("_stage.between"))

    more = False

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._outbox = Outbox()
        self._numbers = Numbers()
        self._entrance: Entrance | None = Entrance(opening, self._outbox, self._numbers)
        self._stage: Entrance | Traffic = self._entrance
        self._cancel: Callable[[], Canceller] | None = None
        self.moves = self._outbox.drain
        self.receive = self._receive
        self.answer = self._answer
        self.say = self._entrance.say
        self.withdraw = self._entrance.withdraw
        self.dismiss = self._entrance.dismiss

    @property
    def ready(self) -> bool:
        return self._entrance is None

    @property
    def aside(self) -> str:
        """The server's own words when it refused the gateway's credential."""
        entrance = self._entrance
        return "" if entrance is None or entrance.login is None else entrance.login.quoted

    def cancel(self) -> Talk | None:
        return self._cancel() if self._cancel is not None else None

    def refrain(self) -> Refrain | None:
        stage = self._stage
        return stage.refrain() if isinstance(stage, Traffic) else None

    def standing(self) -> tuple[tuple[object, ...], object] | None:
        stage = self._stage
        return stage.standing() if isinstance(stage, Traffic) else None

    @property
    def watched(self) -> tuple[dict[object, object], tuple[tuple[object, object], ...]]:
        assert isinstance(self._stage, Traffic)
        return self._stage.watched

    @property
    def position(self) -> tuple[int, int, int]:
        client, upstream = self._outbox.arrived
        return self._numbers.following, client, upstream

    def catch_up(self, carried: Carried) -> None:
        assert isinstance(self._stage, Traffic)
        self._numbers.following = carried.number
        self._stage.catch_up(carried)

    def _receive(self, side: Side, data: bytes) -> list[Question]:
        entrance = self._entrance
        if entrance is None:
            return self.receive(side, data)
        questions = entrance.receive(side, data)
        return questions + self._enter(entrance) if entrance.through else questions

    def _answer(self, number: int, answer: Answer) -> list[Question]:
        entrance = self._entrance
        if entrance is None:
            return self.answer(number, answer)
        questions = entrance.answer(number, answer)
        return questions + self._enter(entrance) if entrance.through else questions

    def _enter(self, entrance: Entrance) -> list[Question]:
        login, destined = entrance.login, entrance.destined
        assert login is not None
        assert destined is not None
        traffic = Traffic(self._opening, destined, self._outbox, self._numbers, login.parameters)
        if login.key:
            key = login.key
            self._cancel = lambda: Canceller(destined, key)
        self._stage = traffic
        self._entrance = None
        self.receive, self.answer = traffic.receive, traffic.answer
        self.moves = traffic.moves
        self.say, self.withdraw, self.dismiss = traffic.say, traffic.withdraw, traffic.dismiss
        questions: list[Question] = []
        if login.rest:
            questions += traffic.receive(Side.UPSTREAM, login.rest)
        if parked := entrance.parked():
            questions += traffic.receive(Side.CLIENT, parked)
        return questions
