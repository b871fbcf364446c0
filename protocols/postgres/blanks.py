"""What a screen looks at in a value, and how its hits are blanked out.

A blank has the length of what it hides, so that rows can be patched in place
and offsets stay true.  It keeps the value's syntax: quotes and brackets stay,
numbers stay numbers.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from protocols.postgres.fields import BINARY
from protocols.postgres.kinds import Kind, Shape


class Look(IntEnum):
    """Which bytes of a column's values are scanned. The numbers are known to
    the row loops, the compiled one too."""

    SKIP = 0
    WHOLE = 1
    JSONB = 2
    """All but the version byte of a binary jsonb."""
    ARRAY = 3
    """Every element of a binary array by itself."""
    INT8 = 4
    """A binary int8, as decimal digits."""
    NUMERIC = 5
    """A binary numeric, as decimal digits with a point."""


class Blank(IntEnum):
    """How a hit is hidden."""

    STAR = 0
    STRUCTURE = 1
    """Stars, but brackets, quotes, commas and backslashes stay."""
    JSON = 2
    """Stars within strings, ones for digits outside."""
    DIGITS = 3
    """Zeros for digits, everything else stays."""
    HEX = 4
    """Zeros for hexadecimal digits."""
    ZERO = 5
    """Zero bytes, the whole value."""
    GROUPS = 6
    """Zeros for the digit groups of a binary numeric; its head stays."""


class Scan(NamedTuple):
    look: Look
    blank: Blank


_SKIP: Final = Scan(Look.SKIP, Blank.STAR)
_TEXT: Final = {
    Kind.OTHER: Scan(Look.WHOLE, Blank.STRUCTURE),
    Kind.TEXT: Scan(Look.WHOLE, Blank.STAR),
    Kind.LABEL: Scan(Look.WHOLE, Blank.STAR),
    Kind.JSON: Scan(Look.WHOLE, Blank.JSON),
    Kind.JSONB: Scan(Look.WHOLE, Blank.JSON),
    Kind.BYTEA: Scan(Look.WHOLE, Blank.HEX),
    Kind.INT8: Scan(Look.WHOLE, Blank.DIGITS),
    Kind.NUMERIC: Scan(Look.WHOLE, Blank.DIGITS),
}
_BINARY: Final = {
    # A value with an unknown inner layout may be garbled by a blank; it errs
    # towards breaking the client rather than showing the hit.
    Kind.OTHER: Scan(Look.WHOLE, Blank.STAR),
    Kind.TEXT: Scan(Look.WHOLE, Blank.STAR),
    Kind.LABEL: Scan(Look.WHOLE, Blank.STAR),
    Kind.JSON: Scan(Look.WHOLE, Blank.JSON),
    Kind.JSONB: Scan(Look.JSONB, Blank.JSON),
    Kind.BYTEA: Scan(Look.WHOLE, Blank.STAR),
    Kind.INT8: Scan(Look.INT8, Blank.ZERO),
    Kind.NUMERIC: Scan(Look.NUMERIC, Blank.GROUPS),
}
_TEXT_ARRAYS: Final = {
    Kind.BYTEA: Scan(Look.WHOLE, Blank.HEX),
    Kind.INT8: Scan(Look.WHOLE, Blank.DIGITS),
    Kind.NUMERIC: Scan(Look.WHOLE, Blank.DIGITS),
}
"""Elements that no star may stand in, and that their blanks leave valid within an array."""
_IN_ARRAYS: Final = frozenset({Kind.TEXT, Kind.JSON, Kind.JSONB, Kind.BYTEA, Kind.LABEL})


def scan_of(shape: Shape, form: int) -> Scan:
    """What a screen looks at in values of this shape and form. Skipped are
    types that cannot hold text (dates, uuid, bool, int4, floats) and, which is
    a gap, binary arrays of numbers."""
    if not shape.element:
        return (_BINARY if form == BINARY else _TEXT).get(shape.kind, _SKIP)
    if form != BINARY:
        other = _TEXT[Kind.OTHER] if shape.kind in _TEXT else _SKIP
        return _TEXT_ARRAYS.get(shape.kind, other)
    if shape.kind in _IN_ARRAYS:
        json = shape.kind in (Kind.JSON, Kind.JSONB)
        return Scan(Look.ARRAY, Blank.JSON if json else Blank.STAR)
    return _BINARY[Kind.OTHER] if shape.kind is Kind.OTHER else _SKIP


_STRUCTURE: Final = bytes(c if c in b'{}[]()",\\' else ord("*") for c in range(256))
_DIGITS: Final = bytes(ord("0") if c in b"0123456789" else c for c in range(256))
_ONES: Final = bytes(ord("1") if c in b"0123456789" else c for c in range(256))
_HEX: Final = bytes(ord("0") if c in b"0123456789abcdefABCDEF" else c for c in range(256))
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_ESCAPE: Final = re.compile(rb"\\(?:u[0-9a-fA-F]{4}|.)", re.DOTALL)


def blank(how: Blank, value: bytes, spans: Sequence[tuple[int, int]]) -> bytes:
    """``value`` with ``spans`` (sorted, within it) hidden; the same length."""
    out = bytearray(value)
    if how is Blank.ZERO:
        return bytes(len(value))
    if how is Blank.GROUPS:
        return value[:8] + bytes(len(value) - 8)
    for span in spans:
        start, end = _characters(value, *span)
        if how is Blank.STAR:
            out[start:end] = b"*" * (end - start)
        elif how is Blank.STRUCTURE:
            out[start:end] = value[start:end].translate(_STRUCTURE)
        elif how is Blank.DIGITS:
            out[start:end] = value[start:end].translate(_DIGITS)
        elif how is Blank.HEX:
            out[start:end] = value[start:end].translate(_HEX)
        else:
            out[start:end] = value[start:end].translate(_ONES)
    if how is Blank.JSON:
        _blank_strings(out, value, spans)
    return bytes(out)


def _characters(value: bytes, start: int, end: int) -> tuple[int, int]:
    """Widen a span to whole UTF-8 characters, which have three bytes at most
    after their first; bytes that are not UTF-8 may stay cut."""
    for _ in range(3):
        if 0 < start < len(value) and value[start] & 0xC0 == 0x80:
            start -= 1
        if end < len(value) and value[end] & 0xC0 == 0x80:
            end += 1
    return start, end


def _blank_strings(out: bytearray, value: bytes, spans: Sequence[tuple[int, int]]) -> None:
    last = spans[-1][1]
    index = 0
    for string in _STRING.finditer(value):
        first, end = string.start() + 1, string.end() - 1
        if first >= last:
            return
        while index < len(spans) and spans[index][1] <= first:
            index += 1
        if index == len(spans) or spans[index][0] >= end:
            continue
        escapes = [found.span() for found in _ESCAPE.finditer(value, first, end)]
        for at in range(index, len(spans)):
            if spans[at][0] >= end:
                break
            low, high = _characters(value, max(spans[at][0], first), min(spans[at][1], end))
            # Half an escape would break the string: hide all of it.
            place = bisect_right(escapes, (low, 0)) - 1
            if place >= 0 and escapes[place][1] > low:
                low = escapes[place][0]
            place = bisect_left(escapes, (high, 0)) - 1
            if place >= 0 and escapes[place][1] > high:
                high = escapes[place][1]
            out[low:high] = b"*" * (high - low)
