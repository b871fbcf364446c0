"""Masks the rows of COPY in the formats text and csv."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import EllipsisType
from typing import TypeAlias

from protocols.contract import Plan, Screen
from protocols.postgres import lineloop
from protocols.postgres.blanks import Blank, blank
from protocols.postgres.copylines import CsvLines, Lines, TextLines, broken, too_long
from protocols.postgres.fields import Field
from protocols.postgres.lineloop import CellAction
from protocols.postgres.rows import actions_of, by_value
from protocols.postgres.runs import native
from protocols.postgres.values import Action, Change
from protocols.sql.words import CopyShape

_MaskLines: TypeAlias = Callable[
    [bytes, "tuple[CellAction, ...]", int, int, int, bytes, bool], "tuple[bytes, tuple[int, ...]]"
]
mask_lines: _MaskLines = native.mask_lines if native else lineloop.mask_lines


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
        actions, scans = actions_of(fields, plan, memory)
        self._actions = tuple(_on_cells(act, self._lines) for act in actions)
        self._looks: list[tuple[int, Blank]] = [
            (column, scan.blank) for column, scan in enumerate(scans) if scan.look
        ]
        self._screen: Screen | None = plan.detect if self._looks else None
        self._masked = masked
        self._limit = limit

    def feed(self, payload: bytes, framed: bool) -> bytes:
        block = self._lines.block(payload)
        if self._lines.held > self._limit:
            raise too_long()
        if not block:
            return b""
        marks = self._lines.marks
        head = b""
        try:
            if self._header:
                self._header = False
                size = sum(len(cell) + 1 for cell in lineloop.cells(block, *marks)[0])
                head, block = block[:size], block[size:]
                if framed:
                    head = b"d" + (size + 4).to_bytes(4, "big") + head
            if self._screen is not None:
                block = self._blank_hits(self._screen, block)
            shown, counts = mask_lines(block, self._actions, *marks, self._lines.null, framed)
        except ValueError as error:
            raise broken(str(error)) from None
        for column, count in enumerate(counts):
            if count:
                self._masked[column] += count
        return head + shown

    def end(self) -> None:
        if self._lines.held:
            raise broken("COPY ended within a row")

    def _blank_hits(self, screen: Screen, block: bytes) -> bytes:
        table = lineloop.cells(block, *self._lines.marks)
        width = len(self._actions)
        read = self._lines.read
        values: list[bytes] = []
        places: list[tuple[int, int, Blank]] = []
        for at, row in enumerate(table):
            if len(row) != width:
                raise ValueError("a row of COPY has another number of columns than announced")
            for column, how in self._looks:
                value = read(row[column])
                if value:
                    values.append(value)
                    places.append((at, column, how))
        joined = b"\0".join([*values, b""])
        spans = screen.spans(joined)
        if not spans:
            return block
        starts, start = [], 0
        for value in values:
            starts.append(start)
            start += len(value) + 1
        for entry, hits in by_value(starts, spans, len(joined)):
            at, column, how = places[entry]
            values[entry] = blank(how, values[entry], hits)
            table[at][column] = self._lines.write(values[entry])
            self._masked[column] += 1
        mark = bytes(self._lines.marks[:1])
        return b"".join(mark.join(row) + b"\n" for row in table)


def _on_cells(act: Action, lines: Lines) -> CellAction:
    """What ``act`` does to values, done to raw cells."""
    if act is None:
        return None
    if isinstance(act, EllipsisType):
        return lines.write(None)
    if isinstance(act, bytes):
        return lines.write(act)
    change: Change = act

    def change_cell(cell: bytes) -> bytes:
        value = lines.read(cell)
        return lines.write(None if value is None else change(value))

    return change_cell
