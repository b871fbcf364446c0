"""pkt-lines (gitprotocol-common(5)): four hexadecimal digits, then that many bytes.

The digits count themselves. 0000 is a flush, 0001 a delimiter and 0002 the end
of a response, the last two in protocol v2 only; 0003 is nothing.  A line is
given whole, digits and all: so it can be passed on as it is, and an empty line
(``0004``) can't be taken for a flush.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from protocols.errors import LimitError, WireError
from protocols.wire import Side

FLUSH: Final = b"0000"
DELIM: Final = b"0001"
END: Final = b"0002"
SPECIAL: Final = frozenset((FLUSH, DELIM, END))
LONGEST: Final = 65520
"""Bytes of one line, digits included (LARGE_PACKET_MAX)."""
V0: Final = (FLUSH,)
"""The special lines that may stand in v0 and v1."""
V2: Final = (FLUSH, DELIM)
"""``END`` is for carriers without connections (HTTP) only."""

_DIGITS: Final = re.compile(rb"[0-9a-fA-F]{4}")


def pkt(data: bytes) -> bytes:
    """``data`` as one line. ValueError when it is too long for one."""
    if len(data) > LONGEST - 4:
        raise ValueError("too long for one pkt-line")
    return b"%04x%b" % (len(data) + 4, data)


def content(line: bytes) -> bytes:
    """What a line says, without the one newline that may end it."""
    return line[4:-1] if line.endswith(b"\n") else line[4:]


def length_of(side: Side, digits: bytes, special: tuple[bytes, ...] = V0) -> int:
    """Bytes of the line that begins with these four ``digits``, 4 for the special
    ones of ``special``. WireError of ``side`` when it is no line."""
    if _DIGITS.fullmatch(digits) is None:
        raise WireError(side, "a pkt-line does not begin with its length")
    length = int(digits, 16)
    if length < 4:
        if digits not in special:
            raise WireError(side, "a pkt-line of a kind that can't stand here")
        return 4
    if length > LONGEST:
        raise LimitError(side, "a pkt-line longer than there may be")
    return length


class Pkts:
    """Cuts the stream of ``side`` into lines; a partial one waits for the rest.

    ``special`` are the special lines that may occur.  One unfinished line is all
    that is kept, and each byte is looked at a fixed number of times however
    the stream is cut.
    """

    __slots__ = ("_at", "_buffer", "_need", "_side", "_tail", "special")

    def __init__(self, side: Side, special: tuple[bytes, ...] = V0) -> None:
        self._side = side
        self.special = special
        self._buffer = b""
        self._at = 0
        # While ``_buffer`` has nothing left, the start of a line gathers here.
        self._tail = bytearray()
        self._need = 4

    def feed(self, data: bytes) -> None:
        """Take in ``data``. Take all lines with ``next`` before the next ``feed``."""
        if self._at < len(self._buffer):
            # Not all lines were taken: allowed, but it costs a copy.
            self._buffer = self._buffer[self._at :] + data
            self._at = 0
            return
        if self._tail:
            self._tail += data
            if len(self._tail) < self._need:
                return
            data = bytes(self._tail)
            self._tail.clear()
        self._need = 4
        self._buffer, self._at = data, 0

    def next(self) -> bytes | None:
        """The next whole line, None when there is none yet."""
        buffer, at = self._buffer, self._at
        have = len(buffer) - at
        need = 4
        if have >= 4:
            need = length_of(self._side, buffer[at : at + 4], self.special)
            if have >= need:
                self._at = end = at + need
                return buffer if have == need and not at else buffer[at:end]
        if have:
            self._tail += buffer[at:]
            self._buffer, self._at = b"", 0
            self._need = need
        return None

    def lines(self, data: bytes) -> Iterator[bytes]:
        """``feed``, then every line that is whole."""
        self.feed(data)
        while (line := self.next()) is not None:
            yield line

    def peek(self) -> bytes:
        """The bytes that were fed and are in no line yet: a copy."""
        return bytes(self._tail) + self._buffer[self._at :]

    def first(self) -> int:
        """The first byte that the next line says, -1 when there is none yet."""
        if self._tail:
            return self._tail[4] if len(self._tail) > 4 else -1
        return self._buffer[self._at + 4] if len(self._buffer) > self._at + 4 else -1

    def starts(self, word: bytes) -> bool:
        """Whether the next bytes are ``word``, which is no longer than 4."""
        return self._buffer[self._at : self._at + len(word)] == word

    @property
    def waiting(self) -> int:
        """Bytes that were fed and are in no line yet."""
        return len(self._buffer) - self._at + len(self._tail)

    def rest(self) -> bytes:
        """All of ``waiting``, taken out: what follows is not in lines."""
        out = self.peek()
        self._tail.clear()
        self._buffer, self._at, self._need = b"", 0, 4
        return out
