"""The way up: from the pinned host key to a started service on the upstream.

Used by the conversation's own upstream leg and by errands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from protocols.contract import Answer, Challenge, Credential, Question, Refuse
from protocols.errors import WireError
from protocols.outbox import Outbox
from protocols.ssh.frames import Kind, frame, texts
from protocols.wire import Mark, Side

UPSTREAM = Side.UPSTREAM


@dataclass(frozen=True, slots=True)
class Summit:
    """What to start: the command line, and the value of GIT_PROTOCOL ("" for none)."""

    user: str
    command: bytes
    protocol: str


class Ascent:
    """``started`` once the service runs; ``failure`` says why it never will.

    The credential is asked for when the host key was found good and ``begin`` was
    called, not before. ``aside`` is for the operator.
    """

    def __init__(self, outbox: Outbox, number: Callable[[], int]) -> None:
        self._outbox = outbox
        self._number = number
        self._summit: Summit | None = None
        self._ready = False
        self._logged_in = False
        self.pending = 0
        self.started = False
        self.failure = ""
        self.aside = ""

    def begin(self, summit: Summit) -> list[Question]:
        """Go up, now or when the upstream is ready."""
        self._summit = summit
        return self._knock()

    def receive(self, kind: Kind, body: bytes) -> list[Question]:
        """A frame of the upstream before ``started``. Raises WireError."""
        if kind is Kind.READY and not self._ready:
            self._ready = True
            return self._knock()
        if kind is Kind.OPENED and self._summit is not None and not self._logged_in:
            self._logged_in = True
            if self._summit.protocol:
                value = self._summit.protocol.encode()
                self._outbox.send(UPSTREAM, frame(Kind.ENV, value), Mark.OURS)
            self._outbox.send(UPSTREAM, frame(Kind.EXEC, self._summit.command), Mark.OURS)
        elif kind is Kind.STARTED and self._logged_in:
            self.started = True
        elif kind is Kind.FAILED:
            self.fail(body.decode("utf-8", "backslashreplace"))
        else:
            raise WireError(UPSTREAM, "a frame out of turn")
        return []

    def answer(self, answer: Answer) -> None:
        """The answer to the Challenge. Raises TypeError."""
        self.pending = 0
        if isinstance(answer, Refuse):
            self.failure = answer.reason
        elif isinstance(answer, Credential) and self._summit is not None:
            body = texts(self._summit.user.encode(), answer.password, answer.certificate)
            self._outbox.send(UPSTREAM, frame(Kind.LOGIN, body), Mark.SECRET)
        else:
            raise TypeError(f"{type(answer).__name__} does not answer a Challenge")

    def fail(self, why: str) -> None:
        """What the upstream said is for the operator: it may name what a client
        must not see."""
        self.aside = why[:512]
        self.failure = "the upstream did not let us in"

    def _knock(self) -> list[Question]:
        if not self._ready or self._summit is None:
            return []
        self.pending = self._number()
        return [Challenge(self.pending, "publickey")]
