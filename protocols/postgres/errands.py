"""Talks with the upstream alone, on a connection of their own.

``UpstreamErrand`` logs in as a session does and then runs a body of yours;
``Canceller`` asks the server to cancel what another connection runs.

What the relay does with either: connect to the target, send what ``moves()``
already holds (a talk has its first bytes from birth, for nothing arrives
before them), then ``receive(Side.UPSTREAM, ...)`` and ``answer`` until
``closing``; ``result`` is None when it failed, and ``error`` says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from protocols.contract import Answer, Destined, Opening, Question
from protocols.errors import WireError
from protocols.outbox import Outbox
from protocols.postgres.doorway import Doorway
from protocols.postgres.intake import Intake
from protocols.postgres.login import Login
from protocols.postgres.messages import cancel_request, frame, parse_fields
from protocols.wire import Mark, Side, Span

TERMINATE = frame(b"X", b"")


class UpstreamErrand:
    """TLS and login, then a body: subclass it and write two hooks.

    It asks ``Upgrade(UPSTREAM)`` and ``Challenge`` as a session does, with the
    same user, database, TLS mode and allowed methods (all from ``destined``).

    Hooks, which return the bytes to send upstream (whole messages, b"" for
    none)::

        def ready(self, status: bytes) -> bytes           # each ReadyForQuery
        def message(self, kind: bytes, payload: bytes) -> bytes   # all others

    ``status`` is b"I", b"T" or b"E"; ``kind`` is the message's one type byte
    and ``payload`` what follows its length field.  An ErrorResponse comes
    through ``message`` too; the default ``message`` fails the errand on one
    and ignores the rest, so call ``super().message(...)`` for what you don't
    know.  A body ends with ``self.finish(result)`` (then the hook's bytes are
    not sent, Terminate is) or ``self.fail("why")``; both set ``closing``.
    ``WireError`` from a hook is fine: the relay ends the errand with it.

    A message of more than ``opening.limit`` bytes is a LimitError, so a body
    that keeps rows must bound only how many of them it keeps.
    """

    def __init__(self, opening: Opening, destined: Destined) -> None:
        self.closing = False
        self.result: object = None
        self.error = ""
        self.limit = opening.limit
        self._outbox = Outbox()
        self._numbers: Iterator[int] = count(1)
        self._intake = Intake(Side.UPSTREAM)
        self._login = Login(opening, destined, self._outbox, self._numbers)
        self._login.start()

    # Hooks

    def ready(self, status: bytes) -> bytes:
        """The server waits for a query."""
        raise NotImplementedError

    def message(self, kind: bytes, payload: bytes) -> bytes:
        """A message other than ReadyForQuery arrived."""
        if kind == b"E":
            fields = parse_fields(payload, Side.UPSTREAM)
            self.fail(f"the upstream said {fields['C']}: {fields['M']}")
        return b""

    # For hooks

    def finish(self, result: object) -> None:
        """The body is done; ``result`` is what the relay hands back."""
        self.result = result
        self.closing = True

    def fail(self, error: str) -> None:
        """The body can't be done."""
        self.error = error
        self.closing = True

    @property
    def parameters(self) -> dict[str, str]:
        """What the server said of itself (ParameterStatus) at login."""
        return self._login.parameters

    # The talk

    def receive(self, side: Side, data: bytes) -> list[Question]:
        if side is not Side.UPSTREAM:
            raise ValueError("an errand has no client")
        if self.closing:
            self._outbox.take(Side.UPSTREAM, data)
            return []
        if not data:
            self.fail(self._login.lost() if not self._login.done else "the upstream hung up")
            return []
        if self._login.done:
            self._intake.push(data)
            self._body()
            return []
        questions = self._login.receive(data)
        self._after_login()
        return questions

    def answer(self, number: int, answer: Answer) -> list[Question]:
        questions = self._login.answer(number, answer)
        self._after_login()
        return questions

    def moves(self) -> list[Span]:
        return self._outbox.drain()

    def _after_login(self) -> None:
        login = self._login
        if login.refusal is not None:
            self.fail(login.refusal.reason)
        elif login.done:
            self._send(self.ready(b"I"))
            if login.rest:
                self._intake.push(login.rest)
                self._body()

    def _body(self) -> None:
        while not self.closing:
            raw = self._intake.message(self.limit)
            if raw is None:
                return
            self._outbox.take(Side.UPSTREAM, raw)
            kind, payload = raw[:1], raw[5:]
            if kind == b"Z":
                if payload not in (b"I", b"T", b"E"):
                    raise WireError(Side.UPSTREAM, "ReadyForQuery with an unknown status", "08P01")
                self._send(self.ready(payload))
            else:
                self._send(self.message(kind, payload))
        self._outbox.take(Side.UPSTREAM, self._intake.drain())

    def _send(self, raw: bytes) -> None:
        self._outbox.send(Side.UPSTREAM, TERMINATE if self.closing else raw, Mark.OURS)


class Canceller:
    """Asks the server to cancel what the connection with ``key`` runs.

    ``key`` is the body of that connection's BackendKeyData (process id and
    secret).  The server answers by closing, which is when the request has been
    dealt with; ``result`` is then True.  Whether anything was cancelled only
    the other connection can tell (protocol manual, 54.2.8).
    """

    def __init__(self, destined: Destined, key: bytes) -> None:
        self.closing = False
        self.result: object = None
        self.error = ""
        self._outbox = Outbox()
        self._key = key
        self._sent = False
        self._doorway = Doorway(destined.tls, self._outbox, count(1))
        self._doorway.start()
        self._proceed()

    def receive(self, side: Side, data: bytes) -> list[Question]:
        if side is not Side.UPSTREAM:
            raise ValueError("a cancel has no client")
        if not data:
            self.closing = True
            if self._sent:
                self.result = True
            else:
                self.error = self.error or "the upstream hung up before the cancel was sent"
            return []
        if self.closing or self._sent:
            self._outbox.take(Side.UPSTREAM, data)
            return []
        questions = self._doorway.receive(data)
        self._proceed()
        return questions

    def answer(self, number: int, answer: Answer) -> list[Question]:
        self._doorway.answer(number, answer)
        self._proceed()
        return []

    def moves(self) -> list[Span]:
        return self._outbox.drain()

    def _proceed(self) -> None:
        if self._doorway.refusal is not None:
            self.error = self._doorway.refusal.reason
            self.closing = True
        elif self._doorway.open and not self._sent:
            self._sent = True
            self._outbox.take(Side.UPSTREAM, self._doorway.rest)
            self._outbox.send(Side.UPSTREAM, cancel_request(self._key), Mark.SECRET)
