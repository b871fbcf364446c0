"""The upstream's bytes as replies: where each begins and ends, for streams.

A reply leaves as it comes; only lines (errors, numbers, lengths) are waited
for.  The error that the upstream gives to a refused command (one of ours in
its place, with a random word) is replaced by the client's.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Final

from protocols.contract import Screen
from protocols.errors import LimitError, WireError
from protocols.outbox import Outbox
from protocols.wire import Mark, Side

UPSTREAM: Final = Side.UPSTREAM
LINE: Final = 64 << 10
DEPTH: Final = 128
_NUMBER: Final = re.compile(rb"-1|0|[1-9][0-9]{0,9}")
_LINES: Final = frozenset(b"+-:_#,(")
_BULKS: Final = frozenset(b"$!=")
_AGGREGATES: Final = {0x2A: 1, 0x7E: 1, 0x3E: 1, 0x25: 2, 0x7C: 2}  # * ~ > % |
_ATTRIBUTE: Final = 0x7C
_PUSH: Final = 0x3E


class Replies:
    """The upstream's lane. ``due`` counts the replies that are owed."""

    __slots__ = ("_body", "_buf", "_open", "_outbox", "_pos", "_refused", "_start", "due", "own")

    def __init__(self, outbox: Outbox) -> None:
        self.own: Screen | None = None
        self.due = 0
        self._outbox = outbox
        self._buf: bytes | bytearray = b""
        self._start = 0  # what has not left
        self._pos = 0  # what has not been read
        self._body = 0  # bytes left of a bulk string, with its CRLF
        self._open: list[list[int]] = []  # of each open aggregate: values left, does it count
        self._refused: deque[tuple[bytes, bytes]] = deque()

    def refuse(self, word: bytes, error: bytes) -> None:
        """The error that quotes ``word`` is to be ``error``."""
        self._refused.append((word, error))

    def __len__(self) -> int:
        return len(self._buf) - self._start

    @property
    def between(self) -> bool:
        """True when the client has whole replies only."""
        return not (self._body or self._open)

    def receive(self, data: bytes) -> None:
        """Errors: WireError, LimitError of the upstream."""
        self._push(data)
        while self._step():
            pass
        self._emit()

    def line(self, data: bytes) -> bytes | None:
        """One line while logging in, without its end; nothing of it leaves."""
        self._push(data)
        end = self._buf.find(b"\r\n", self._start)
        if end < 0:
            if len(self) > LINE:
                raise LimitError(UPSTREAM, "a line without an end")
            return None
        raw = bytes(self._buf[self._start : end])
        self._outbox.take(UPSTREAM, raw + b"\r\n")
        self._start = self._pos = end + 2
        return raw

    def drain(self) -> None:
        """All the rest stays here."""
        self._outbox.take(UPSTREAM, bytes(self._buf[self._start :]))
        self._buf = b""
        self._start = self._pos = 0

    def _push(self, data: bytes) -> None:
        start = self._start
        if start == len(self._buf):
            self._buf = data
        else:
            if isinstance(self._buf, bytes):
                self._buf = bytearray(self._buf)
            del self._buf[:start]
            self._buf += data
        self._pos -= start
        self._start = 0

    def _step(self) -> bool:
        """Read on; False when there is no more to read."""
        buf, pos = self._buf, self._pos
        if self._body:
            stream = min(self._body - 2, len(buf) - pos)
            self._body -= stream
            self._pos = pos = pos + stream
            if self._body > 2 or len(buf) - pos < 2:
                return False
            if buf[pos : pos + 2] != b"\r\n":
                raise WireError(UPSTREAM, "a bulk string without its end")
            self._body = 0
            self._pos = pos + 2
            self._value()
            return True
        if pos == len(buf):
            return False
        kind = buf[pos]
        end = buf.find(b"\r\n", pos, pos + LINE)
        if end < 0:
            if len(buf) - pos >= LINE:
                raise LimitError(UPSTREAM, "a line without an end")
            if kind not in _LINES and kind not in _BULKS and kind not in _AGGREGATES:
                raise WireError(UPSTREAM, "an unknown type of reply")
            return False
        if kind in _LINES:
            if kind == 0x2D and self._refused and not self._open and self._replace(pos, end):
                return True
            self._pos = end + 2
            self._value()
            return True
        found = _NUMBER.fullmatch(buf, pos + 1, end)
        if found is None:
            raise WireError(UPSTREAM, "an unknown type of reply, or a length that is none")
        size = int(found[0])
        self._pos = end + 2
        if kind in _BULKS:
            if size < 0:
                self._value()
            else:
                self._body = size + 2
        elif kind in _AGGREGATES:
            if kind == _PUSH and self._open:
                raise WireError(UPSTREAM, "a push inside of a reply")
            counts = kind not in (_ATTRIBUTE, _PUSH)
            if size > 0:
                if len(self._open) == DEPTH:
                    raise LimitError(UPSTREAM, "a reply that is nested too deeply")
                self._open.append([size * _AGGREGATES[kind], counts])
            elif counts:
                self._value()
        else:
            raise WireError(UPSTREAM, "an unknown type of reply")
        return True

    def _value(self) -> None:
        """One value is whole, and perhaps the aggregates around it."""
        while self._open:
            last = self._open[-1]
            last[0] -= 1
            if last[0]:
                return
            self._open.pop()
            if not last[1]:
                return
        self.due = max(0, self.due - 1)

    def _replace(self, pos: int, end: int) -> bool:
        word, error = self._refused[0]
        if self._buf.find(word, pos, end) < 0:
            return False
        self._emit()
        self._refused.popleft()
        self._pos = self._start = end + 2
        self._outbox.take(UPSTREAM, bytes(self._buf[pos : end + 2]))
        self._outbox.send(Side.CLIENT, error, Mark.OURS)
        self.due = max(0, self.due - 1)
        return True

    def _emit(self) -> None:
        """Let go what was read, but for the gateway's own secrets: their signs
        become stars, so that no length changes. Inside of a reply the end is
        kept back as long as a secret may go on behind it."""
        start, upto = self._start, self._pos
        if start == upto:
            return
        raw = bytes(self._buf[start:upto])
        found = self.own.spans(raw) if self.own is not None else []
        if self.own is not None and not self.between:
            keep = max(0, len(raw) - self.own.reach + 1)
            keep = min([keep, *(a for a, b in found if b > keep)])
            raw, found = raw[:keep], [place for place in found if place[1] <= keep]
        at = 0
        for a, b in found:
            self._outbox.pass_on(UPSTREAM, raw[at:a])
            self._outbox.take(UPSTREAM, raw[a:b], Mark.SECRET)
            self._outbox.send(Side.CLIENT, b"*" * (b - a), Mark.OURS)
            at = b
        self._outbox.pass_on(UPSTREAM, raw[at:])
        self._start = start + len(raw)
