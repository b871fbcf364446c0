"""The two formats of COPY that are lines of text: how rows are found in a
stream, and how a cell is read and written.

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
    """A format. ``cells`` and ``read`` raise WireError(UPSTREAM) on a row
    that the server can't have written."""

    delimiter: bytes

    def rows(self, payload: bytes) -> list[bytes]:
        """Take in more of the stream; the rows that are now whole, each with
        its newline."""

    @property
    def held(self) -> int:
        """Bytes of a row that is not whole yet."""

    def cells(self, row: bytes) -> list[bytes]:
        """The raw cells of a row."""

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
        self.delimiter = delimiter
        self._null = null
        self._held = bytearray()
        quoted = re.escape(delimiter)
        self._cell = re.compile(rb"(?:[^\\" + quoted + rb"]++|\\.)*+", re.DOTALL)
        # The server writes these control characters as letters even where
        # one is the delimiter, so a raw one is always a delimiter.
        self._plain = delimiter in b"\b\f\r\t\v"
        self._special = re.compile(rb"[\\\b\f\n\r\t\v" + quoted + rb"]")
        self._spelt = {value: b"\\" + letter for letter, value in _LETTERS.items()}

    def rows(self, payload: bytes) -> list[bytes]:
        end = payload.rfind(b"\n") + 1
        if not end:
            self._held += payload
            return []
        block = bytes(self._held) + payload[:end] if self._held else payload[:end]
        self._held[:] = payload[end:]
        return _split(block)

    @property
    def held(self) -> int:
        return len(self._held)

    def cells(self, row: bytes) -> list[bytes]:
        line = row[:-1]
        if self._plain or b"\\" not in line:
            return line.split(self.delimiter)
        cells: list[bytes] = []
        at = 0
        while True:
            found = self._cell.match(line, at)
            assert found is not None
            cells.append(found[0])
            at = found.end()
            if at == len(line):
                return cells
            if line[at : at + 1] != self.delimiter:
                raise broken("a row of COPY ends within an escape")
            at += 1

    def read(self, cell: bytes) -> bytes | None:
        if cell == self._null:
            return None
        return _ESCAPED.sub(_unescape, cell) if b"\\" in cell else cell

    def write(self, value: bytes | None) -> bytes:
        if value is None:
            return self._null
        return self._special.sub(lambda m: self._spelt.get(m[0], b"\\" + m[0]), value)


class CsvLines:
    """``FORMAT csv``. A newline ends a row unless it is within quotes."""

    def __init__(self, delimiter: bytes, null: bytes, quote: bytes, escape: bytes) -> None:
        self.delimiter = delimiter
        self._null = null
        self._quote = quote
        self._escape = escape
        self._held = bytearray()
        self._within = False
        self._skip = -1
        d, q, e = re.escape(delimiter), re.escape(quote), re.escape(escape)
        self._marks = re.compile(rb"[\n" + q + (e if escape != quote else b"") + rb"]")
        inner = rb"(?:[^" + q + rb"]++|" + q + q + rb")*+"
        if escape != quote:
            inner = rb"(?:[^" + q + e + rb"]++|" + e + rb".)*+"
        self._cell = re.compile(
            rb"(" + q + inner + q + rb"|[^\n" + d + q + rb"]*+)([\n" + d + rb"])", re.DOTALL
        )
        self._unescape = re.compile(e + rb"([" + q + e + rb"])")
        self._needs = re.compile(rb"[\r\n" + d + q + rb"]")
        self._write = re.compile(rb"[" + q + e + rb"]")

    def rows(self, payload: bytes) -> list[bytes]:
        base = len(self._held)
        self._held += payload
        if not self._within and self._quote not in payload and self._skip < 0:
            end = self._held.rfind(b"\n", base) + 1
            if not end:
                return []
            block = bytes(self._held[:end])
            del self._held[:end]
            # Quotes before this payload may hold newlines of the first row.
            first = block.find(b"\n", base) + 1
            return [block[:first], *_split(block[first:])]
        rows: list[bytes] = []
        start = 0
        for mark in self._marks.finditer(self._held, base):
            at = mark.start()
            if at == self._skip:
                self._skip = -1
                continue
            if self._within:
                if self._escape != self._quote and mark[0] == self._escape:
                    self._skip = at + 1
                elif mark[0] == self._quote:
                    self._within = False
            elif mark[0] == self._quote:
                self._within = True
            elif mark[0] == b"\n":
                rows.append(bytes(self._held[start : at + 1]))
                start = at + 1
        del self._held[:start]
        if self._skip >= 0:
            self._skip -= start
            if self._skip < len(self._held):
                self._skip = -1  # an escaped byte that is no mark
        return rows

    @property
    def held(self) -> int:
        return len(self._held)

    def cells(self, row: bytes) -> list[bytes]:
        if self._quote not in row:
            return row[:-1].split(self.delimiter)
        cells: list[bytes] = []
        at, ended = 0, False
        while at < len(row):
            found = self._cell.match(row, at)
            if found is None:
                raise broken("a row of COPY is not well-formed csv")
            cells.append(found[1])
            at = found.end()
            ended = found[2] == b"\n"
            if ended:
                break
        if at != len(row) or not ended:
            raise broken("a row of COPY is not well-formed csv")
        return cells

    def read(self, cell: bytes) -> bytes | None:
        if cell[:1] == self._quote:
            inner = cell[1:-1]
            return self._unescape.sub(rb"\1", inner) if self._escape in inner else inner
        return None if cell == self._null else cell

    def write(self, value: bytes | None) -> bytes:
        if value is None:
            return self._null
        plain = value and value not in (self._null, b"\\.") and value.strip() == value
        if plain and not self._needs.search(value):
            return value
        escape = self._escape
        return self._quote + self._write.sub(lambda m: escape + m[0], value) + self._quote


def broken(message: str) -> WireError:
    """The server broke the format."""
    return WireError(Side.UPSTREAM, message, "08P01")


def too_long() -> LimitError:
    return LimitError(Side.UPSTREAM, "a row of COPY is too long to be masked", "54000")


def _split(block: bytes) -> list[bytes]:
    """``block``, which ends in a newline or is empty, cut after each newline."""
    rows = block.split(b"\n")
    rows.pop()
    return [row + b"\n" for row in rows]
