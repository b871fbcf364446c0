"""The loops over lines of COPY, in Python: the reference of ``_rowloop.mask_lines``
and others, which are the same in C."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeAlias

from protocols.postgres.copylines import Lines

CellAction: TypeAlias = "bytes | Callable[[bytes], bytes | None] | None"
"""What becomes of a column's cells that are not NULL: None passes them, bytes
are the raw cell that stands in for every one, a function maps their values."""


def cells(
    block: bytes, delimiter: int, quote: int, escape: int, columns: int | None = None
) -> list[list[bytes]]:
    """The raw cells of the rows in ``block``, each of which ends in a newline.

    ``delimiter``, ``quote`` and ``escape`` are byte values; ``quote`` is -1 in
    the text format. ``ValueError`` when a row is not well-formed, or has another number
    of cells than ``columns``: what is wrong first.
    """
    mark = bytes((delimiter,))
    bad = (b"\\" + mark in block) if quote < 0 else (bytes((quote,)) in block)
    if not bad and block[-1:] in (b"", b"\n"):
        # No escape stands before a delimiter, or nothing is quoted.
        table = [line.split(mark) for line in block.split(b"\n")[:-1]]
        if columns is not None:
            for row in table:
                _check(row, columns)
        return table
    table = []
    row = []
    match = _pattern(delimiter, quote, escape).match
    at, size = 0, len(block)
    while at < size:
        found = match(block, at)
        if found is None:
            raise ValueError("a row of COPY is not well-formed")
        row.append(found[1])
        at = found.end()
        if found[2] == b"\n":
            if columns is not None:
                _check(row, columns)
            table.append(row)
            row = []
        elif columns is not None and len(row) >= columns:
            raise ValueError(_WIDTH)
    if row:
        raise ValueError("a row of COPY is not well-formed")
    return table


_WIDTH: Final = "a row of COPY has another number of columns than announced"


def _check(row: list[bytes], columns: int) -> None:
    # A row of no columns is an empty line.
    if len(row) != columns and not (columns == 0 and row == [b""]):
        raise ValueError(_WIDTH)


@lru_cache(maxsize=32)
def _pattern(delimiter: int, quote: int, escape: int) -> re.Pattern[bytes]:
    d = re.escape(bytes((delimiter,)))
    end = rb"([\n" + d + rb"])"
    if quote < 0:
        # An escape hides the byte after it, but never the row's end.
        return re.compile(rb"((?:[^\\\n" + d + rb"]++|\\[^\n]|\\(?=\n))*+)" + end)
    q, e = re.escape(bytes((quote,))), re.escape(bytes((escape,)))
    inner = rb"(?:[^" + q + rb"]++|" + q + q + rb")*+"
    if escape != quote:
        inner = rb"(?:[^" + q + e + rb"]++|" + e + rb".)*+"
    return re.compile(rb"(" + q + inner + q + rb"|[^\n" + d + q + rb"]*+)" + end, re.DOTALL)


def mask_lines(
    block: bytes, actions: tuple[CellAction, ...], lines: Lines, framed: bool
) -> tuple[bytes, tuple[int, ...]]:
    """``block`` with ``actions`` done to its columns, and how many cells of
    each column they changed. A raw cell that is ``lines.null`` is NULL and stays.
    ``framed``: every row becomes a CopyData frame. ``ValueError`` on a row
    that is not well-formed or has another number of columns."""
    columns = len(actions)
    counts = [0] * columns
    work = [(column, act) for column, act in enumerate(actions) if act is not None]
    mark = bytes(lines.marks[:1])
    out: list[bytes] = []
    for row in cells(block, *lines.marks, columns):
        for column, act in work:
            value = lines.read(row[column])
            if value is not None:
                row[column] = act if isinstance(act, bytes) else lines.write(act(value))
                counts[column] += 1
        line = mark.join(row) + b"\n"
        if framed:
            out.append(b"d" + (len(line) + 4).to_bytes(4, "big"))
        out.append(line)
    return b"".join(out), tuple(counts)


def gather_lines(block: bytes, looks: bytes, lines: Lines) -> tuple[bytes, bytes]:
    """The values that a screen must see, and where they came from.

    ``looks`` is nonzero for each column that is looked into. The first result joins the
    values with NUL bytes (one after each), NULL and empty ones left out; the second
    is an array of native uint32 in fours: start in the joined bytes, start
    and end of the raw cell in ``block``, column. ``ValueError`` as ``mask_lines``.
    """
    columns = len(looks)
    joined = bytearray()
    index = array("I")
    at = 0
    for row in cells(block, *lines.marks, columns):
        for column, cell in enumerate(row):
            value = lines.read(cell) if columns and looks[column] else None
            if value:
                index.extend((len(joined), at, at + len(cell), column))
                joined += value + b"\0"
            at += len(cell) + 1
    return bytes(joined), index.tobytes()


def payloads(buffer: bytes) -> bytes:
    """The payloads of a run of whole CopyData frames, joined. ``ValueError`` where it is
    not one."""
    out: list[bytes] = []
    at = 0
    while at < len(buffer):
        end = at + 1 + int.from_bytes(buffer[at + 1 : at + 5], "big", signed=True)
        if buffer[at] != 0x64 or end < at + 5 or end > len(buffer):
            raise ValueError("not a whole CopyData")
        out.append(buffer[at + 5 : end])
        at = end
    return b"".join(out)
