"""The two formats of COPY that are lines of text: how whole rows are found in
a stream, and how a cell is read and written.

https://www.postgresql.org/docs/current/sql-copy.html, "File Formats", as the
server writes them (``CopyAttributeOutText``, ``CopyAttributeOutCSV``): rows
end in a newline on every platform, and the encoding is one where no ASCII byte
is a part of another character.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from protocols.errors import LimitError, WireError
from protocols.wire import Side


class Lines(Protocol):
    """A format. ``marks`` are its delimiter, quote and escape as byte values,
    -1 for none; ``null`` is the raw cell that is NULL."""

    marks: tuple[int, int, int]
    null: bytes

    def block(self, payload: bytes) -> bytes:
        """Take in more of the stream; the rows that are now whole."""

    @property
    def held(self) -> int:
        """Bytes of a row that is not whole yet."""

    def read(self, cell: bytes) -> bytes | None:
        """A raw cell's value, None for NULL."""

    def write(self, value: bytes | None) -> bytes:
        """The raw cell for a value."""


_LETTERS: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_ESCAPED: Final = re.compile(rb"\\([0-7]{1,3}|x[0-9a-fA-F]{1,2}|.)", re.DOTALL)


def _unescape(found: re.Match[bytes]) -> bytes:
    word = found[1]
    if word[:1].isdigit() and word[0] < 0x38:
        return bytes((int(word, 8) & 0xFF,))
    if len(word) > 1:
        return bytes((int(word[1:], 16),))
    return _LETTERS.get(word, word)


class TextLines:
    """``FORMAT text``."""

    def __init__(self, delimiter: bytes, null: bytes) -> None:
        self.marks = (delimiter[0], -1, -1)
        self.null = null
        self._held = bytearray()
        self._special = re.compile(rb"[\\\b\f\n\r\t\v" + re.escape(delimiter) + rb"]")
        self._spelt = {value: b"\\" + letter for letter, value in _LETTERS.items()}

    def block(self, payload: bytes) -> bytes:
        end = payload.rfind(b"\n") + 1
        if not end:
            self._held += payload
            return b""
        block = bytes(self._held) + payload[:end] if self._held else payload[:end]
        self._held[:] = payload[end:]
        return block

    @property
    def held(self) -> int:
        return len(self._held)

    def read(self, cell: bytes) -> bytes | None:
        if cell == self.null:
            return None
        return _ESCAPED.sub(_unescape, cell) if b"\\" in cell else cell

    def write(self, value: bytes | None) -> bytes:
        if value is None:
            return self.null
        return self._special.sub(lambda m: self._spelt.get(m[0], b"\\" + m[0]), value)


class CsvLines:
    """``FORMAT csv``. A newline ends a row unless it is within quotes."""

    def __init__(self, delimiter: bytes, null: bytes, quote: bytes, escape: bytes) -> None:
        self.marks = (delimiter[0], quote[0], escape[0])
        self.null = null
        self._quote = quote
        self._escape = escape
        self._held = bytearray()
        self._within = False
        self._skip = -1  # where in ``_held`` an escaped byte stands
        d, q, e = re.escape(delimiter), re.escape(quote), re.escape(escape)
        self._signs = re.compile(rb"[\n" + q + e + rb"]")
        self._unescape = re.compile(e + rb"([" + q + e + rb"])")
        self._needs = re.compile(rb"[\r\n" + d + q + rb"]")
        self._write = re.compile(rb"[" + q + e + rb"]")

    def block(self, payload: bytes) -> bytes:
        base = len(self._held)
        self._held += payload
        end = 0
        if not self._within and self._quote not in payload:
            end = self._held.rfind(b"\n", base) + 1
        else:
            end = self._scan(base)
        if not end:
            return b""
        block = bytes(self._held[:end])
        del self._held[:end]
        self._skip -= end
        return block

    def _scan(self, base: int) -> int:
        """Where the last whole row ends, 0 for none; what is before ``base``
        has been looked at."""
        held, quote = self._held, self._quote
        end = 0
        if self._escape == quote:
            # Within quotes is where an odd number of quotes came before: look
            # back for the last newline with an even one.
            odd = self._within ^ bool(held.count(quote, base) & 1)
            self._within = odd
            at = len(held)
            while True:
                newline = held.rfind(b"\n", base, at)
                if newline < 0:
                    return 0
                odd ^= bool(held.count(quote, newline, at) & 1)
                if not odd:
                    return newline + 1
                at = newline
        for sign in self._signs.finditer(held, base):
            at = sign.start()
            if at == self._skip:
                continue
            if self._within:
                if sign[0] == self._escape:
                    self._skip = at + 1
                elif sign[0] == quote:
                    self._within = False
            elif sign[0] == quote:
                self._within = True
            elif sign[0] == b"\n":
                end = at + 1
        return end

    @property
    def held(self) -> int:
        return len(self._held)

    def read(self, cell: bytes) -> bytes | None:
        if cell[:1] == self._quote:
            inner = cell[1:-1]
            return self._unescape.sub(rb"\1", inner) if self._escape in inner else inner
        return None if cell == self.null else cell

    def write(self, value: bytes | None) -> bytes:
        if value is None:
            return self.null
        plain = value and value not in (self.null, b"\\.") and value.strip() == value
        if plain and not self._needs.search(value):
            return value
        escape = self._escape
        return self._quote + self._write.sub(lambda m: escape + m[0], value) + self._quote


def broken(message: str) -> WireError:
    """The server broke the format."""
    return WireError(Side.UPSTREAM, message, "08P01")


def too_long() -> LimitError:
    return LimitError(Side.UPSTREAM, "a row of COPY is too long to be masked", "54000")
