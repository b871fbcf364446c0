"""The client's login: a name, then tickets, tokens or a key, until one is good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from protocols.contract import Answer, Offer, Proof, Proven, Question, Refuse
from protocols.errors import WireError
from protocols.outbox import Outbox
from protocols.ssh.frames import Kind, frame
from protocols.ssh.words import refusal, told
from protocols.wire import Mark, Side

CLIENT = Side.CLIENT
ATTEMPTS: Final = 6
"""Secrets that a client may try, as OpenSSH's MaxAuthTries."""


class Login:
    """``proven`` once the client is known; ``closing`` when it must go.

    ``pending`` is the number of the Proof that waits, 0 for none. ``claimed`` is
    the SSH user name.
    """

    def __init__(self, session: str, outbox: Outbox, number: Callable[[], int]) -> None:
        self._session = session
        self._outbox = outbox
        self._number = number
        self._named = False
        self._last = Kind.HELLO
        self._attempts = 0
        self.claimed = ""
        self.pending = 0
        self.proven = False
        self.closing = False

    def receive(self, kind: Kind, body: bytes) -> list[Question]:
        """A frame of the login. Raises WireError for one out of turn."""
        if self.pending or self.proven or (kind is Kind.HELLO) is self._named:
            raise WireError(CLIENT, "a login out of turn")
        self._last = kind
        if kind is Kind.HELLO:
            self._named = True
            try:
                self.claimed = body.decode("utf-8")
            except UnicodeDecodeError:
                return self._deny(told("the user name is not UTF-8", self._session))
            if not self.claimed.isprintable() or len(self.claimed) > 255:
                return self._deny(told("the user name is none", self._session))
            return [self._ask(Proof(self._number(), self.claimed))]
        if kind is Kind.KEY:
            return [self._ask(Proof(self._number(), self.claimed, key=body))]
        if kind is Kind.SECRET:
            self._attempts += 1
            return [self._ask(Proof(self._number(), self.claimed, secret=body))]
        raise WireError(CLIENT, "a command before the login")

    def answer(self, answer: Answer) -> None:
        """The answer to what is ``pending``."""
        if isinstance(answer, Refuse):
            self.pending = 0
            self._deny(refusal(answer, self._session))
        elif self._last is Kind.HELLO and isinstance(answer, Offer):
            self.pending = 0
            self._outbox.send(CLIENT, frame(Kind.GREETED), Mark.OURS)
        elif self._last is not Kind.HELLO and isinstance(answer, Proven):
            self.pending = 0
            self.proven = True
            self._outbox.send(CLIENT, frame(Kind.PROVEN), Mark.OURS)
        else:
            raise TypeError(f"{type(answer).__name__} does not answer a Proof here")

    def _ask(self, question: Proof) -> Proof:
        self.pending = question.number
        return question

    def _deny(self, why: bytes) -> list[Question]:
        self._outbox.send(CLIENT, frame(Kind.DENIED, why), Mark.OURS)
        # A wrong secret may be followed by a right one; nothing else may.
        if self._last is not Kind.SECRET or self._attempts >= ATTEMPTS:
            self.closing = True
            if self._last is Kind.SECRET:
                last = told("too many failed logins", self._session)
                self._outbox.send(CLIENT, frame(Kind.GOODBYE, last), Mark.OURS)
        return []
