"""Shows what a PostgreSQL client saw: result tables, errors, notices.

Reads the bytes that left on the client leg (message formats: PostgreSQL
documentation, chapter "Frontend/Backend Protocol", "Message Formats"). It is
for people, on recordings that may be hostile: it never raises on their bytes,
and holds at most one message of 1 MiB and the rows to show.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from recorder.render import one_line

_MESSAGE_MAX = 1 << 20
_CELL = 40
_NUMBERS = {
    (21, 2): ">h",
    (23, 4): ">i",
    (20, 8): ">q",
    (26, 4): ">I",
    (700, 4): ">f",
    (701, 8): ">d",
}


class PostgresScreen:
    """Feed it bytes; it yields safe lines. ``rows`` is how many rows of each
    result to show."""

    def __init__(self, rows: int = 20) -> None:
        self._limit = rows
        self._buffer = bytearray()
        self._skip = 0
        self._greeted = False
        self._lost = False
        self._titles: list[tuple[str, int, int]] = []
        self._rows: list[list[str]] = []
        self._count = 0
        self._copied = 0

    def feed(self, raw: bytes) -> Iterator[str]:
        """Bytes that the client got."""
        if self._lost:
            return
        if self._skip:
            cut = min(self._skip, len(raw))
            self._skip -= cut
            raw = raw[cut:]
        self._buffer += raw
        buffer, at = self._buffer, 0
        while True:
            if not self._greeted and at < len(buffer):
                if buffer[at] in b"SNG":  # the one-byte answer to a request for encryption
                    at += 1
                    continue
                self._greeted = True
            if len(buffer) - at < 5:
                break
            kind, length = chr(buffer[at]), int.from_bytes(buffer[at + 1 : at + 5], "big")
            if length < 4 or not kind.isalnum():
                self._lost = True
                del buffer[:]
                yield "(the rest can't be decoded)"
                return
            if length > _MESSAGE_MAX:
                have = len(buffer) - at
                self._skip = max(0, length + 1 - have)
                at += min(have, length + 1)
                if kind == "D":
                    self._note_row([f"(a row of {length - 4} bytes)"])
                continue
            if len(buffer) - at < length + 1:
                break
            yield from self._message(kind, bytes(buffer[at + 5 : at + 1 + length]))
            at += length + 1
        del buffer[:at]

    def hidden(self, length: int) -> Iterator[str]:
        """Bytes that the client got and the recording does not hold."""
        if self._skip or self._buffer:
            yield from self.feed(b"?" * length)

    def finish(self) -> Iterator[str]:
        """Nothing more comes: what is still to be shown."""
        yield from self._flush("")

    def _message(self, kind: str, body: bytes) -> Iterator[str]:
        if kind == "T":
            yield from self._flush("")
            self._titles = _columns(body)
        elif kind == "D":
            self._note_row(self._cells(body))
        elif kind == "d":
            self._copied += len(body)
        elif kind in "CsI":
            tag = body.rstrip(b"\0").decode("utf-8", "surrogateescape")
            if kind == "s":
                tag = "(suspended: the client asked for no more rows)"
            yield from self._flush(tag or "(empty)")
        elif kind in "EN":
            yield from self._flush("")
            fields = _fields(body)
            told = f"{fields.get('S', 'ERROR')}: {fields.get('C', '')} {fields.get('M', '')}"
            for key, word in (("D", "DETAIL"), ("H", "HINT")):
                if key in fields:
                    told += f"  {word}: {fields[key]}"
            yield one_line(told)
        elif kind == "A":
            parts = body[4:].split(b"\0")
            shown = " ".join(part.decode("utf-8", "surrogateescape") for part in parts)
            yield f"NOTIFY: {one_line(shown)}"

    def _note_row(self, cells: list[str]) -> None:
        self._count += 1
        if len(self._rows) < self._limit:
            self._rows.append(cells)

    def _cells(self, body: bytes) -> list[str]:
        cells = []
        at = 2
        for index in range(int.from_bytes(body[:2], "big")):
            size = int.from_bytes(body[at : at + 4], "big", signed=True)
            at += 4
            if size < 0:
                cells.append("NULL")
                continue
            oid = self._titles[index][1] if index < len(self._titles) else 0
            cells.append(_cell(body[at : at + size], oid))
            at += size
            if at > len(body):
                break
        return cells

    def _flush(self, tag: str) -> Iterator[str]:
        if self._copied:
            yield f"(COPY data, {self._copied} bytes)"
        if self._titles and (self._count or tag):
            yield from _table([one_line(name, _CELL) for name, _, _ in self._titles], self._rows)
        elif self._rows:
            yield from _table([f"column {n + 1}" for n in range(len(self._rows[0]))], self._rows)
        if self._count > len(self._rows):
            yield f"… {self._count - len(self._rows)} more rows"
        if tag:
            yield one_line(tag)
            self._titles = []
        self._rows, self._count, self._copied = [], 0, 0


def _columns(body: bytes) -> list[tuple[str, int, int]]:
    found = []
    at = 2
    for _ in range(min(int.from_bytes(body[:2], "big"), 1664)):
        end = body.find(b"\0", at)
        if end < 0 or end + 19 > len(body):
            break
        name = body[at:end].decode("utf-8", "surrogateescape")
        oid = int.from_bytes(body[end + 7 : end + 11], "big")
        form = int.from_bytes(body[end + 17 : end + 19], "big")
        found.append((name, oid, form))
        at = end + 19
    return found


def _fields(body: bytes) -> dict[str, str]:
    found = {}
    for part in body.split(b"\0"):
        if part:
            found[chr(part[0])] = part[1:].decode("utf-8", "surrogateescape")
    return found


def _cell(raw: bytes, oid: int) -> str:
    """A value for people. The format code is not to be trusted (a statement's
    description always says text), so the bytes decide."""
    form = _NUMBERS.get((oid, len(raw)))
    if form and any(byte < 0x20 or byte > 0x7E for byte in raw):
        return str(struct.unpack(form, raw)[0])
    if oid == 16 and raw in (b"\0", b"\1"):
        return "t" if raw == b"\1" else "f"
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return one_line("\\x" + raw[:_CELL].hex(), _CELL)
    return one_line(text, _CELL)


def _table(titles: list[str], rows: list[list[str]]) -> Iterator[str]:
    widths = [len(title) for title in titles]
    for row in rows:
        for index, cell in enumerate(row[: len(widths)]):
            widths[index] = max(widths[index], len(cell))

    def join(cells: list[str]) -> str:
        return " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=False)).rstrip()

    yield join(titles)
    yield "-+-".join("-" * width for width in widths)
    for row in rows:
        yield join(row)
