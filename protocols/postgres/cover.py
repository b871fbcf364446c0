"""Keeps credentials that a client types into statements off the record.

Of bytes that were read it is known where they are. Bytes that wait behind a question
were not read yet: there, all that follows the word "password" is covered, and told
once it was read and goes on. An end of the session before that leaves it untold.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from protocols.outbox import Outbox
from protocols.wire import Mark, Side

CLIENT: Final = Side.CLIENT
UPSTREAM: Final = Side.UPSTREAM
_WORD: Final = b"password"


class Cover:
    """Places count bytes from the beginning of the lane's buffer."""

    __slots__ = ("_blind", "_hidden", "_last", "_seen", "any")

    def __init__(self) -> None:
        self._hidden: list[tuple[int, int]] = []
        self._blind: list[tuple[int, int]] = []
        self._last = b""
        self._seen = False
        self.any = False
        """Whether it knows of a place."""

    def begin(self, at: int, empty: bool) -> None:
        """The buffer begins at ``at`` of what it was. ``empty``: nothing is in it."""
        if self.any:
            self._hidden = _behind(self._hidden, at)
            self._blind = _behind(self._blind, at)
            self.any = bool(self._hidden or self._blind)
            self._seen = bool(self._blind)
        if empty:
            self._last = b""
            self._seen = False

    def hide(self, places: tuple[tuple[int, int], ...], at: int) -> None:
        """Credentials are at ``places`` behind ``at``. Frames come in order; one may be read
        again."""
        for start, end in places:
            if not self._hidden or self._hidden[-1][1] <= at + start:
                self._hidden.append((at + start, at + end))
                self.any = True

    def take(self, outbox: Outbox, buf: bytes, start: int, end: int) -> None:
        """``buf[start:end]`` arrived, was read, and stays here."""
        for a, b, secret in _pieces(self._hidden, start, end):
            outbox.take(CLIENT, buf[a:b], Mark.SECRET if secret else Mark.PLAIN)

    def park(self, outbox: Outbox, raw: bytes, at: int) -> None:
        """``raw``, at ``at``, arrived and was not read yet."""
        if not raw:
            return
        if not self._seen:
            before = len(self._last)
            found = (self._last + raw).lower().find(_WORD)
            if found < 0:
                self._last = (self._last + raw)[1 - len(_WORD) :]
                outbox.take(CLIENT, raw)
                return
            self._seen = self.any = True
            shown = min(len(raw), max(0, found + len(_WORD) - before))
            outbox.take(CLIENT, raw[:shown])
            raw, at = raw[shown:], at + shown
        if raw:
            outbox.take(CLIENT, raw, Mark.SECRET)
            end = at + len(raw)
            if self._blind and self._blind[-1][1] == at:
                at = self._blind.pop()[0]
            self._blind.append((at, end))

    def flush(self, outbox: Outbox, buf: bytes, start: int, end: int, base: int) -> None:
        """``buf[start:end]`` goes on; some of it may have been taken before. ``base`` is where
        the buffer begins among all that arrived."""
        known = outbox.arrived[CLIENT] - base
        for a, b, secret in _pieces(self._hidden, start, end):
            old = min(max(a, known), b)
            for c, d, blind in _pieces(self._blind, a, old):
                if secret:
                    outbox.send(UPSTREAM, buf[c:d], Mark.SECRET)
                elif blind:
                    outbox.send(UPSTREAM, buf[c:d], Mark.EDITED)
                else:
                    outbox.forward(CLIENT, buf[c:d], base + c)
            if old < b and secret:
                outbox.take(CLIENT, buf[old:b], Mark.SECRET)
                outbox.send(UPSTREAM, buf[old:b], Mark.SECRET)
            elif old < b:
                outbox.pass_on(CLIENT, buf[old:b])


def _behind(places: list[tuple[int, int]], at: int) -> list[tuple[int, int]]:
    """``places`` counted from ``at``, which those before it lie before."""
    return [(max(0, a - at), b - at) for a, b in places if b > at]


def _pieces(places: list[tuple[int, int]], start: int, end: int) -> Iterator[tuple[int, int, bool]]:
    """``start`` to ``end``, cut at ``places``; True for what is in one."""
    for a, b in places:
        if b <= start:
            continue
        if a >= end:
            break
        if start < a:
            yield start, a, False
        yield max(a, start), min(b, end), True
        start = min(b, end)
    if start < end:
        yield start, end, False
