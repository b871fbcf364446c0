"""Masks the rows of COPY in the formats text and csv."""

from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType

from protocols.contract import Plan, Screen
from protocols.postgres.blanks import Blank, blank
from protocols.postgres.copylines import CsvLines, Lines, TextLines, broken, too_long
from protocols.postgres.fields import Field
from protocols.postgres.rows import actions_of, by_value
from protocols.postgres.values import Action
from protocols.sql.words import CopyShape


class CopyText:
    """Text and csv."""

    def __init__(
        self,
        shape: CopyShape,
        fields: Sequence[Field],
        plan: Plan,
        memory: dict[object, object] | None,
        *,
        masked: list[int],
        limit: int,
    ) -> None:
        delimiter, null = shape.delimiter.encode(), shape.null.encode()
        self._lines: Lines
        if shape.format == "csv":
            quote, escape = shape.quote.encode(), shape.escape.encode()
            self._lines = CsvLines(delimiter, null, quote, escape)
        else:
            self._lines = TextLines(delimiter, null)
        self._header = shape.header
        self._count = len(fields)
        actions, scans = actions_of(fields, plan, memory)
        self._masks: list[tuple[int, Action]] = [
            (column, act) for column, act in enumerate(actions) if act is not None
        ]
        self._screen: Screen | None = plan.detect
        self._looks: list[tuple[int, Blank]] = [
            (column, scan.blank) for column, scan in enumerate(scans) if scan.look
        ]
        self._masked = masked
        self._limit = limit

    def feed(self, payload: bytes) -> bytes:
        rows = self._lines.rows(payload)
        if self._lines.held > self._limit:
            raise too_long()
        out: list[bytes] = []
        if rows and self._header:
            self._header = False
            out.append(rows.pop(0))
        if rows:
            cells = [self._cells(row) for row in rows]
            edited: set[int] = set()
            if self._screen is not None and self._looks:
                self._blank_hits(self._screen, cells, edited)
            for column, act in self._masks:
                self._mask(column, act, cells, edited)
            delimiter = self._lines.delimiter
            for at, row in enumerate(rows):
                out.append(delimiter.join(cells[at]) + b"\n" if at in edited else row)
        return b"".join(out)

    def end(self) -> None:
        if self._lines.held:
            raise broken("COPY ended within a row")

    def _cells(self, row: bytes) -> list[bytes]:
        cells = self._lines.cells(row)
        if len(cells) != self._count:
            if self._count == 0 and cells == [b""]:
                return []
            raise broken("a row of COPY has another number of columns than announced")
        return cells

    def _mask(self, column: int, act: Action, cells: list[list[bytes]], edited: set[int]) -> None:
        read, write = self._lines.read, self._lines.write
        for at, row in enumerate(cells):
            value = read(row[column])
            if value is None:
                continue
            if isinstance(act, EllipsisType):
                row[column] = write(None)
            elif act is None or isinstance(act, bytes):
                row[column] = write(act)
            else:
                row[column] = write(act(value))
            edited.add(at)
            self._masked[column] += 1

    def _blank_hits(self, screen: Screen, cells: list[list[bytes]], edited: set[int]) -> None:
        read = self._lines.read
        values: list[bytes] = []
        places: list[tuple[int, int, Blank]] = []
        for at, row in enumerate(cells):
            for column, how in self._looks:
                value = read(row[column])
                if value:
                    values.append(value)
                    places.append((at, column, how))
        values.append(b"")
        joined = b"\n".join(values)
        spans = screen.spans(joined)
        if not spans:
            return
        starts, start = [], 0
        for value in values[:-1]:
            starts.append(start)
            start += len(value) + 1
        for entry, hits in by_value(starts, spans, len(joined)):
            at, column, how = places[entry]
            cells[at][column] = self._lines.write(blank(how, values[entry], hits))
            edited.add(at)
            self._masked[column] += 1
