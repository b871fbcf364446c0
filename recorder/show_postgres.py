"""Shows what a PostgreSQL client saw: result tables, errors, notices, the data of a COPY.

Reads the bytes of the client's leg (message formats: PostgreSQL documentation, chapter
"Frontend/Backend Protocol", "Message Formats"). It is for people, on recordings that may
be hostile: it never raises on their bytes, and holds at most one message of 1 MiB and the
rows to show.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from recorder import binary_values
from recorder.postgres_cutter import Cutter, Said
from recorder.postgres_requests import Asked, Requests, Titles
from recorder.render import cell, columns, one_line, padded, statement

_CELL: Final = 40
_WIDE: Final = 120
_LOST: Final = "(the rest can't be decoded)"


class PostgresScreen:
    """Feed it what the client got (``feed``) and, where that is to be had, what it asked
    (``asked``), in order; both yield safe lines. ``rows`` is how many rows of each result
    to show; ``width`` how wide a table may be before each row is shown as lines, 0 for any."""

    def __init__(self, rows: int = 20, width: int = 0) -> None:
        self._limit = rows
        self._width = width
        self._heard, self._told = Cutter(client=False), Cutter(client=True)
        self._requests = Requests()
        self._titles: Titles = ()
        self._forms: tuple[int, ...] | None = None
        self._rows: list[list[str]] = []
        self._count = 0
        self._labelled: Asked | None = None
        self._copies = _Copy(rows, "to the client"), _Copy(rows, "from the client")

    def asked(self, raw: bytes) -> Iterator[str]:
        """Bytes that the client sent."""
        yield from self._sent(self._told.feed(raw))

    def asked_hidden(self, length: int) -> None:
        """Bytes that it sent and the recording does not hold."""
        for _ in self._sent(self._told.hidden(length)):
            pass

    def _sent(self, messages: Iterator[Said]) -> Iterator[str]:
        for message in messages:
            if message.kind == "d":
                self._copies[1].add(message)
            else:
                if message.kind == "f":
                    yield f"(the client gave its COPY up: {one_line(_text(message.body), 200)})"
                self._requests.said(message)

    def feed(self, raw: bytes) -> Iterator[str]:
        """Bytes that the client got."""
        yield from self._got(self._heard.feed(raw))

    def hidden(self, length: int) -> Iterator[str]:
        """Bytes that the client got and the recording does not hold."""
        yield from self._got(self._heard.hidden(length))

    def _got(self, messages: Iterator[Said]) -> Iterator[str]:
        lost = self._heard.lost
        for message in messages:
            yield from self._message(message)
        if self._heard.lost and not lost:
            yield _LOST

    def finish(self) -> Iterator[str]:
        """Nothing more comes: what is still to be shown."""
        yield from self._flush("")

    def _message(self, message: Said) -> Iterator[str]:
        kind, body = message.kind, message.body
        if kind == "T":
            self._described(_titles(body))
        elif kind == "n":
            self._requests.described(())
        elif kind == "D":
            if self._count and len(self._rows) >= self._limit:
                self._count += 1
            elif message.length > len(body):
                self._note_row([f"(a row of {message.length} bytes)"])
            else:
                self._note_row(self._cells(body))
        elif kind in "HG":
            self._copies[kind == "G"].binary = body[:1] == b"\1"
        elif kind == "d":
            self._copies[0].add(message)
        elif kind in "CsI":
            tag = _text(body.rstrip(b"\0"))
            if kind == "s":
                tag = "(suspended: the client asked for no more rows)"
            yield from self._flush(tag or "(empty)")
            self._requests.answered()
        elif kind == "V":
            yield from self._label()
            yield _returned(body)
        elif kind in "EN":
            yield from self._flush("")
            if kind == "E":
                yield from self._label()
                self._titles, self._forms = (), None  # of what failed
            yield from _report(body)
        elif kind == "A":
            channel, _, payload = body[4:].partition(b"\0")
            told = f"NOTIFY {cell(_text(channel), 80)}"
            text = payload.rstrip(b"\0")
            yield told + (f": {cell(_text(text), 200)}" if text else "")
        elif kind == "Z":
            yield from self._flush("")
            self._requests.ready()
            self._labelled = None

    def _described(self, titles: Sequence[tuple[str, int, int]]) -> None:
        plain = tuple((name, oid) for name, oid, _ in titles)
        if not self._requests.described(plain):
            return
        self._titles = plain
        # What is told of a statement (not of a portal) says text whatever comes.
        forms = tuple(form for _, _, form in titles)
        self._forms = forms if any(forms) else None

    def _note_row(self, cells: list[str]) -> None:
        self._count += 1
        if len(self._rows) < self._limit:
            self._rows.append(cells)

    def _cells(self, body: bytes) -> list[str]:
        asked = self._requests.now
        if asked is not None and asked.what == "execute":
            self._titles = self._requests.titles() or self._titles
        forms = self._forms
        if asked is not None and asked.forms is not None:
            forms = asked.forms
        cells = []
        at = 2
        for index in range(int.from_bytes(body[:2], "big")):
            size = int.from_bytes(body[at : at + 4], "big", signed=True)
            at += 4
            if size < 0:
                cells.append("NULL")
                continue
            oid = self._titles[index][1] if index < len(self._titles) else 0
            form = None
            if forms:
                form = forms[index] if index < len(forms) else forms[0] if len(forms) == 1 else None
            cells.append(_cell(body[at : at + size], oid, form))
            at += size
            if at > len(body):
                break
        return cells

    def _label(self) -> Iterator[str]:
        """Of several requests that were sent at once: which this answers."""
        asked = self._requests.now
        if asked is None or asked is self._labelled:
            return
        if self._requests.several or self._labelled is not None:
            self._labelled = asked
            yield f"→ {statement(asked.text, 100) or asked.what}"

    def _flush(self, tag: str) -> Iterator[str]:
        if tag:
            yield from self._label()
        for copy in self._copies:
            yield from copy.lines()
        titles = [cell(name, _CELL) for name, _ in self._titles]
        if titles and (self._count or tag):
            yield from _table(titles, self._rows, self._width)
        elif self._rows:
            numbers = [f"column {n + 1}" for n in range(len(self._rows[0]))]
            yield from _table(numbers, self._rows, self._width)
        if self._count > len(self._rows):
            yield f"… {self._count - len(self._rows)} more rows"
        if tag:
            yield one_line(tag)
            self._titles, self._forms = (), None
        self._rows, self._count = [], 0


class _Copy:
    """The data of a COPY one way: counted, and its first ``rows`` lines where it is text."""

    def __init__(self, rows: int, way: str) -> None:
        self._limit = rows
        self._way = way
        self.binary = False
        self._size = self._count = 0
        self._lines: list[str] = []
        self._rest = b""

    def add(self, message: Said) -> None:
        self._size += message.length
        if self.binary or len(self._lines) >= self._limit:
            return
        *whole, self._rest = (self._rest + message.body[: _WIDE * 4]).split(b"\n")
        self._rest = self._rest[: _WIDE * 4]
        for line in whole[: self._limit - len(self._lines)]:
            self._lines.append(cell(_text(line), _WIDE))

    def lines(self) -> Iterator[str]:
        """What was taken down, and forget it."""
        if self._size:
            yield f"(COPY data {self._way}, {self._size} bytes{', binary' * self.binary})"
            yield from (f"  {line}" for line in self._lines)
        self._size, self._lines, self._rest, self.binary = 0, [], b"", False


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _titles(body: bytes) -> list[tuple[str, int, int]]:
    found = []
    at = 2
    for _ in range(min(int.from_bytes(body[:2], "big"), 1664)):
        end = body.find(b"\0", at)
        if end < 0 or end + 19 > len(body):
            break
        oid = int.from_bytes(body[end + 7 : end + 11], "big")
        form = int.from_bytes(body[end + 17 : end + 19], "big")
        found.append((_text(body[at:end]), oid, form))
        at = end + 19
    return found


def _report(body: bytes) -> Iterator[str]:
    fields = {chr(part[0]): _text(part[1:]) for part in body.split(b"\0") if part}
    yield one_line(f"{fields.get('S', 'ERROR')}: {fields.get('C', '')} {fields.get('M', '')}")
    for key, word in (("D", "DETAIL"), ("H", "HINT"), ("W", "CONTEXT")):
        if key in fields:
            yield f"  {word}: {one_line(fields[key])}"


def _returned(body: bytes) -> str:
    """FunctionCallResponse. Its type is not told; numbers come as four or eight bytes."""
    size = int.from_bytes(body[:4], "big", signed=True)
    if size < 0:
        return "returned NULL"
    raw = body[4 : 4 + size]
    told = binary_values.shown(raw, {4: 23, 8: 20}.get(size, 0))
    return f"returned {told if told is not None else _cell(raw, 17, 1)}"


def _cell(raw: bytes, oid: int, form: int | None) -> str:
    """A value for people. Where its form is not known (0 text, 1 binary), the bytes decide."""
    told: str | None = None
    if form == 1 or (form is None and any(byte < 0x20 or byte > 0x7E for byte in raw)):
        told = binary_values.shown(raw if len(raw) < _WIDE * 8 else raw[: _WIDE * 8], oid)
    if told is None:
        try:
            told = raw.decode("utf-8")
        except UnicodeDecodeError:
            told = "\\x" + raw[:_CELL].hex()
    return cell(told, _CELL)


def _table(titles: list[str], rows: list[list[str]], most: int) -> Iterator[str]:
    widths = [columns(title) for title in titles]
    for row in rows:
        for index, text in enumerate(row[: len(widths)]):
            widths[index] = max(widths[index], columns(text))
    if most and sum(widths) + 3 * len(widths) - 3 > most:
        yield from _stacked(titles, rows)
        return

    def join(cells: list[str]) -> str:
        return " | ".join(padded(c, w) for c, w in zip(cells, widths, strict=False)).rstrip()

    yield join(titles)
    yield "-+-".join("-" * width for width in widths)
    for row in rows:
        yield join(row)


def _stacked(titles: list[str], rows: list[list[str]]) -> Iterator[str]:
    """Each value on a line of its own, as psql does where a table would be too wide."""
    width = max(map(columns, titles))
    if not rows:
        yield ", ".join(titles)
    for number, row in enumerate(rows, 1):
        yield f"-[ {number} ]-"
        for title, text in zip(titles, row, strict=False):
            yield f"{padded(title, width)} | {text}"
