"""Refusing one message by putting a failing one of ours in its place.

The server gets a statement that it can't parse, fails it as it fails any other
(it aborts the transaction, skips to Sync), and its ErrorResponse, which quotes
a random word of ours, is replaced by the client's.  So the order of answers,
the transaction state and ReadyForQuery are the server's own (DECISIONS §3).

The word is fresh for every refusal and dies with the error that quotes it: a
client never sees one that is still to come, so it can't forge one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from protocols.contract import Refuse
from protocols.postgres.frames import frame
from protocols.postgres.messages import SQLSTATES, report

CANCELED: Final = "57014"
PREFIX: Final = b"wirewarden_"
_UNSAFE: Final = re.compile(rb"[^0-9A-Za-z_.-]")


class Refusal:
    """A refused message: ``word`` is quoted in the server's error, ``error``
    is the ErrorResponse that the client gets in its place."""

    __slots__ = ("error", "word")

    def __init__(self, word: bytes, error: bytes) -> None:
        self.word = word
        self.error = error


class Substitutes:
    """Makes the failing statements of one session."""

    __slots__ = ("_chance", "_session")

    def __init__(self, session: str, chance: Callable[[int], bytes]) -> None:
        self._session = _UNSAFE.sub(b"_", session.encode("utf-8", "replace"))[:64]
        self._chance = chance

    def query(self, error: bytes) -> tuple[Refusal, bytes]:
        """In place of a Query or a FunctionCall."""
        word = self._word()
        return Refusal(word, error), frame(81, self._text(word))

    def parse(self, error: bytes, *, unnamed: bool) -> tuple[Refusal, bytes]:
        """In place of an extended message. ``unnamed`` True stands for a Parse
        of the unnamed statement, which a failing Parse destroys as well."""
        word = self._word()
        name = b"" if unnamed else word
        return Refusal(word, error), frame(80, name + b"\0" + self._text(word) + b"\0\0")

    def _word(self) -> bytes:
        return PREFIX + self._chance(16).hex().encode()

    def _text(self, word: bytes) -> bytes:
        return word + b" refused, session " + self._session + b"\0"


def refused_error(refuse: Refuse, session: str, *, ran: bool = False) -> bytes:
    """The ErrorResponse for a command refused with ``refuse``; ``ran`` True
    when it has run and only its result is kept back."""
    if refuse.kind == "withdrawn" and not ran:
        return canceled_error(session)
    reason = refuse.reason or "not allowed"
    text = f"blocked by rule {refuse.rule}: {reason}" if refuse.rule else f"blocked: {reason}"
    if ran:
        detail = f"The statement has run; its result is kept back. Gateway session {session}."
    else:
        detail = f"Nothing of it reached the server. Gateway session {session}."
    return report(
        b"E",
        "ERROR",
        SQLSTATES.get(refuse.kind, SQLSTATES["policy"]),
        text,
        detail=detail,
        hint="Whoever runs the gateway can tell more about this rule; name the session.",
    )


def canceled_error(session: str) -> bytes:
    """The client asked to cancel a command that was still held."""
    return report(
        b"E",
        "ERROR",
        CANCELED,
        "canceling statement due to user request",
        detail=f"It was waiting for an approval and never ran. Gateway session {session}.",
    )


def unknown_statement_error(name: bytes) -> bytes:
    """What the server says of a Bind to a statement that does not exist."""
    shown = name.decode("utf-8", "backslashreplace")
    text = (
        f'prepared statement "{shown}" does not exist'
        if name
        else ("unnamed prepared statement does not exist")
    )
    return report(b"E", "ERROR", "26000", text)


def notice(text: str) -> bytes:
    """A NoticeResponse in the gateway's own name."""
    return report(b"N", "NOTICE", "00000", text)
