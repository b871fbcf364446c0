"""Masks the rows of COPY in the formats text and csv."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import EllipsisType
from typing import TypeAlias

from protocols.contract import Plan, Screen
from protocols.postgres import lineloop
from protocols.postgres.blanks import blank
from protocols.postgres.copylines import CsvLines, Lines, TextLines, broken, too_long
from protocols.postgres.fields import Field
from protocols.postgres.lineloop import CellAction
from protocols.postgres.rows import actions_of, by_value
from protocols.postgres.runs import native
from protocols.postgres.values import Action
from protocols.sql.words import CopyShape

_MaskLines: TypeAlias = Callable[
    [bytes, "tuple[CellAction, ...]", Lines, bool], "tuple[bytes, tuple[int, ...]]"
]
_GatherLines: TypeAlias = Callable[[bytes, bytes, Lines], "tuple[bytes, bytes]"]
mask_lines: _MaskLines = native.mask_lines if native else lineloop.mask_lines
payloads: Callable[[bytes], bytes] = native.payloads if native else lineloop.payloads
gather_lines: _GatherLines = native.gather_lines if native else lineloop.gather_lines


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
        self._looks = bytes(scan.look for scan in scans)
        self._blanks = [scan.blank for scan in scans]
        self._screen: Screen | None = plan.detect if any(self._looks) else None
        self._masked = masked
        self._limit = limit

    def feed(self, payload: bytes, framed: bool) -> bytes:
        block = self._lines.block(payload)
        if self._lines.held > self._limit:
            raise too_long()
        if not block:
            return b""
        head = b""
        try:
            if self._header:
                self._header = False
                size = sum(len(cell) + 1 for cell in lineloop.cells(block, *self._lines.marks)[0])
                head, block = block[:size], block[size:]
                if framed:
                    head = b"d" + (size + 4).to_bytes(4, "big") + head
            if self._screen is not None:
                block = self._blank_hits(self._screen, block)
            shown, counts = mask_lines(block, self._actions, self._lines, framed)
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
        joined, packed = gather_lines(block, self._looks, self._lines)
        spans = screen.spans(joined)
        if not spans:
            return block
        index = memoryview(packed).cast("I")
        starts = index[::4]
        out: list[bytes] = []
        done = 0
        for entry, hits in by_value(starts, spans, len(joined)):
            first, start, end, column = index[4 * entry : 4 * entry + 4]
            last = starts[entry + 1] if entry + 1 < len(starts) else len(joined)
            value = blank(self._blanks[column], joined[first : last - 1], hits)
            out += (block[done:start], self._lines.write(value))
            done = end
            self._masked[column] += 1
        out.append(block[done:])
        return b"".join(out)


def _on_cells(act: Action, lines: Lines) -> CellAction:
    """``act`` as the loop over lines takes it."""
    if isinstance(act, EllipsisType):
        return lines.write(None)
    return lines.write(act) if isinstance(act, bytes) else act
