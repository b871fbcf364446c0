"""The client's bytes as commands: arrays of bulk strings, and inline lines.

Stricter than Redis, so that there is one reading only: canonical decimal
lengths, CRLF where CRLF belongs, inline words without quotes and backslashes.
"""

from __future__ import annotations

import re
from typing import Final

from protocols.errors import LimitError, WireError
from protocols.outbox import Outbox
from protocols.wire import Mark, Side

CLIENT: Final = Side.CLIENT
WORDS: Final = 1 << 20
"""Redis takes no more words than these in one command."""
LINE: Final = 64 << 10
"""Redis takes no longer inline command."""
_HEADER: Final = 16
_COUNT: Final = re.compile(rb"\*(0|-1|[1-9][0-9]{0,7})")
_LENGTH: Final = re.compile(rb"\$(0|[1-9][0-9]{0,9})")
_INLINE: Final = re.compile(rb"[ \t!#-&(-)+-\[\]-~][ \t!#-&(-\[\]-~]*")


class Requests:
    """The client's buffer. ``next`` reads the command behind the last one that
    was passed or dropped; passed ones leave with ``flush``, in one piece."""

    __slots__ = ("_at", "_buf", "_head", "_outbox", "_start", "_tail", "_want", "_words", "limit")

    def __init__(self, outbox: Outbox, limit: int) -> None:
        self.limit = limit
        self._outbox = outbox
        self._buf: bytes | bytearray = b""
        self._start = 0  # what has not left
        self._head = 0  # the command that is being read
        self._at = 0  # the next byte to read of it
        self._tail = 0  # its end, once it is whole
        self._want = -1
        self._words: list[bytes] = []

    def push(self, data: bytes) -> None:
        if not self._buf:
            self._buf = data
            return
        if isinstance(self._buf, bytes):
            self._buf = bytearray(self._buf)
        start = self._start
        if start:
            del self._buf[:start]
            self._start = 0
            self._head -= start
            self._at -= start
            self._tail -= start
        self._buf += data

    def __len__(self) -> int:
        """Bytes that have not left."""
        return len(self._buf) - self._start

    @property
    def waiting(self) -> int:
        """Bytes from the current command on."""
        return len(self._buf) - self._head

    def first(self) -> int:
        """The first byte there is, -1 for none."""
        return self._buf[self._start] if len(self) else -1

    def next(self) -> list[bytes] | None:
        """The words of the next command, [] for an empty one (which Redis does
        not answer); None when it isn't whole. Errors: WireError, LimitError."""
        if self._want < 0:
            if len(self._buf) == self._head:
                return None
            if self._buf[self._head] != 0x2A:
                return self._inline()
            line = self._line(_COUNT, "a count of words")
            if line is None:
                return None
            self._want = max(0, line)
            if self._want > WORDS:
                raise LimitError(CLIENT, "a command of too many words")
        while len(self._words) < self._want:
            keep = self._at
            length = self._line(_LENGTH, "a length of a word")
            if length is None:
                return None
            end = self._at + length
            if end + 2 - self._head > self.limit:
                raise LimitError(CLIENT, f"a command of more than {self.limit} bytes")
            if len(self._buf) < end + 2:
                self._at = keep
                return None
            if self._buf[end : end + 2] != b"\r\n":
                raise WireError(CLIENT, "a word without its end")
            self._words.append(bytes(self._buf[self._at : end]))
            self._at = end + 2
        self._tail = self._at
        return self._words

    def _line(self, form: re.Pattern[bytes], what: str) -> int | None:
        """The number of a header line; ``_at`` moves behind it."""
        end = self._buf.find(b"\r\n", self._at, self._at + _HEADER)
        if end < 0:
            if len(self._buf) - self._at >= _HEADER:
                raise WireError(CLIENT, f"{what} without an end")
            return None
        found = form.fullmatch(self._buf, self._at, end)
        if found is None:
            raise WireError(CLIENT, f"{what} that is none")
        self._at = end + 2
        return int(found[1])

    def _inline(self) -> list[bytes] | None:
        end = self._buf.find(b"\n", self._at)
        if (len(self._buf) if end < 0 else end) - self._head > min(LINE, self.limit):
            raise LimitError(CLIENT, "an inline command that is too long")
        if end < 0:
            self._at = len(self._buf)
            return None
        line = bytes(self._buf[self._head : end]).removesuffix(b"\r")
        if line and not _INLINE.fullmatch(line):
            raise WireError(CLIENT, "an inline command with quotes or other than plain words")
        self._words = line.split()
        self._tail = end + 1
        return self._words

    def allow(self) -> None:
        """The current command may leave."""
        self._head = self._at = self._tail
        self._want = -1
        self._words = []

    def drop(self, mark: Mark = Mark.PLAIN) -> None:
        """The current command stays here."""
        self.flush()
        self._outbox.take(CLIENT, bytes(self._buf[self._head : self._tail]), mark)
        self._start = self._tail
        self.allow()
        self._tidy()

    def flush(self) -> None:
        """What may leave leaves."""
        if self._start < self._head:
            self._outbox.pass_on(CLIENT, bytes(self._buf[self._start : self._head]))
            self._start = self._head
            self._tidy()

    def drain(self, mark: Mark = Mark.SECRET) -> bytes:
        """All the rest stays here; SECRET, for it may hold an AUTH that nobody
        has read."""
        self.flush()
        raw = bytes(self._buf[self._start :])
        self._outbox.take(CLIENT, raw, mark)
        self._start = self._head = self._at = self._tail = len(self._buf)
        self._want = -1
        self._words = []
        self._tidy()
        return raw

    def _tidy(self) -> None:
        if self._start == len(self._buf):
            self._buf = b""
            self._start = self._head = self._at = self._tail = 0
