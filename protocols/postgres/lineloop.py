"""The loop over lines of COPY, in Python: the reference of
``_rowloop.mask_lines``, which is the same in C."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

CellAction: TypeAlias = "bytes | Callable[[bytes], bytes] | None"
"""What becomes of a column's raw cells that are not NULL: None passes them,
bytes stand in for every one, a function maps them."""


def cells(block: bytes, delimiter: int, quote: int, escape: int) -> list[list[bytes]]:
    """The raw cells of the rows in ``block``, each of which ends in a newline.

    ``delimiter``, ``quote`` and ``escape`` are byte values; ``quote`` is -1 in
    the text format. ``ValueError`` when a row is not well-formed.
    """
    mark = bytes((delimiter,))
    bad = (b"\\" + mark in block) if quote < 0 else (bytes((quote,)) in block)
    if not bad:
        # No escape stands before a delimiter, or nothing is quoted.
        lines = block.split(b"\n")
        if lines.pop():
            raise ValueError("a row of COPY is not well-formed")
        return [line.split(mark) for line in lines]
    table: list[list[bytes]] = []
    row: list[bytes] = []
    match = _pattern(delimiter, quote, escape).match
    at, size = 0, len(block)
    while at < size:
        found = match(block, at)
        if found is None:
            raise ValueError("a row of COPY is not well-formed")
        row.append(found[1])
        at = found.end()
        if found[2] == b"\n":
            table.append(row)
            row = []
    if row:
        raise ValueError("a row of COPY is not well-formed")
    return table


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


def mask_lines(  # noqa: PLR0917 (the compiled one takes no keywords)
    block: bytes,
    actions: tuple[CellAction, ...],
    delimiter: int,
    quote: int,
    escape: int,
    null: bytes,
    framed: bool,
) -> tuple[bytes, tuple[int, ...]]:
    """``block`` with ``actions`` done to its columns, and how many cells of
    each column they changed. A raw cell that is ``null`` is NULL and stays.
    ``framed``: every row becomes a CopyData frame. ``ValueError`` on a row
    that is not well-formed or has another number of columns."""
    columns = len(actions)
    counts = [0] * columns
    work = [(column, act) for column, act in enumerate(actions) if act is not None]
    mark = bytes((delimiter,))
    out: list[bytes] = []
    for row in cells(block, delimiter, quote, escape):
        if len(row) != columns and not (columns == 0 and row == [b""]):
            raise ValueError("a row of COPY has another number of columns than announced")
        for column, act in work:
            cell = row[column]
            if cell != null:
                row[column] = act if isinstance(act, bytes) else act(cell)
                counts[column] += 1
        line = mark.join(row) + b"\n"
        if framed:
            out.append(b"d" + (len(line) + 4).to_bytes(4, "big"))
        out.append(line)
    return b"".join(out), tuple(counts)
