"""The loops over rows, in Python: the reference of ``_rowloop``, which is the
same in C.  Both raise ``ValueError`` on anything that is not exactly a run of
whole DataRow frames with the announced number of columns.

A DataRow is ``D``, int32 length (itself included), int16 count, and for each
column an int32 length (-1: NULL) and that many bytes.
https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from types import EllipsisType

from protocols.postgres.arrays import elements


def _values(buffer: bytes, columns: int) -> Iterator[tuple[int, int, int]]:
    """(column, start, end) of every value; NULL ends at its start - 1. A row
    begins with (-1, start of its frame, end of its frame)."""
    at, size = 0, len(buffer)
    while at < size:
        if at + 7 > size or buffer[at] != 0x44:
            raise ValueError("not a whole DataRow")
        end = at + 1 + int.from_bytes(buffer[at + 1 : at + 5], "big", signed=True)
        if end > size or end < at + 7:
            raise ValueError("a DataRow's length is wrong")
        if int.from_bytes(buffer[at + 5 : at + 7], "big") != columns:
            raise ValueError("a DataRow has another number of columns than announced")
        yield -1, at, end
        at += 7
        for column in range(columns):
            if at + 4 > end:
                raise ValueError("a DataRow ends within its columns")
            length = int.from_bytes(buffer[at : at + 4], "big", signed=True)
            at += 4
            if length < -1 or at + length > end:
                raise ValueError("a column's length is wrong")
            yield column, at, at + length
            if length > 0:
                at += length
        if at != end:
            raise ValueError("a DataRow goes on after its columns")


def mask_rows(
    buffer: bytes,
    actions: tuple[bytes | EllipsisType | Callable[[bytes], bytes | None] | None, ...],
) -> tuple[bytes, tuple[int, ...]]:
    """``buffer`` with ``actions`` (see ``values.Action``) done to its columns,
    and how many values of each column they changed."""
    columns = len(actions)
    counts = [0] * columns
    out: list[bytes] = []
    done = row = row_end = 0  # all before ``done`` is in ``out``
    grown = 0  # by how much this row has become longer
    head = -1  # where in ``out`` this row's header belongs, -1: not edited
    for column, start, end in _values(buffer, columns):
        if column < 0:
            if head >= 0:
                out[head] = _header(buffer, row, row_end, grown)
            row, row_end, grown, head = start, end, 0, -1
            continue
        act = actions[column]
        if act is None or end < start:
            continue
        shown: bytes | None
        if isinstance(act, bytes):
            shown = act
        elif isinstance(act, EllipsisType):
            shown = None
        else:
            shown = act(buffer[start:end])
        counts[column] += 1
        if head < 0:
            out.append(buffer[done:row])
            head = len(out)
            out.append(b"")
            done = row + 5
        out.append(buffer[done : start - 4])
        if shown is None:
            out.append(b"\xff\xff\xff\xff")
            grown -= end - start
        else:
            out.append(len(shown).to_bytes(4, "big"))
            out.append(shown)
            grown += len(shown) - (end - start)
        done = end
    if head >= 0:
        out[head] = _header(buffer, row, row_end, grown)
    if not out:
        return bytes(buffer), tuple(counts)
    out.append(buffer[done:])
    return b"".join(out), tuple(counts)


def _header(buffer: bytes, row: int, end: int, grown: int) -> bytes:
    length = end - row - 1 + grown
    if length > 0x7FFFFFFF:
        raise ValueError("a masked row is too long")
    return buffer[row : row + 1] + length.to_bytes(4, "big")


def gather(buffer: bytes, looks: bytes) -> tuple[bytes, bytes]:
    """The bytes that a screen must see, and where they came from.

    ``looks`` has one ``blanks.Look`` for each column. The first result joins
    what is looked at with NUL bytes (one after each: no text has one); the second is an array of
    native uint32 triples: start in the joined bytes, start in ``buffer``,
    column. A binary int8 or numeric is its decimal digits in the joined bytes.
    """
    columns = len(looks)
    joined = bytearray()
    index = array("I")

    def add(column: int, start: int, piece: bytes) -> None:
        index.extend((len(joined), start, column))
        joined.extend(piece)
        joined.append(0)

    for column, start, end in _values(buffer, columns):
        look = looks[column] if column >= 0 else 0
        if look == 0 or end < start:
            continue
        if look == 2 and end > start:
            add(column, start + 1, buffer[start + 1 : end])
        elif look == 3:
            spans = elements(buffer[start:end])
            if spans is None:
                raise ValueError("a binary array is malformed")
            for first, last in spans:
                add(column, start + first, buffer[start + first : start + last])
        elif look == 4:
            if end - start != 8:
                raise ValueError("a binary int8 is malformed")
            digits = str(int.from_bytes(buffer[start:end], "big", signed=True))
            add(column, start, digits.encode())
        elif look == 5:
            text = _digits(buffer[start:end])
            if text:
                add(column, start, text)
        else:
            add(column, start, buffer[start:end])
    return bytes(joined), index.tobytes()


_MOST_GROUPS = 16


def _digits(raw: bytes) -> bytes:
    """The digits of a binary numeric (of one below 0.0001 without the zeros
    after the point), b"" where it has none that matter (NaN,
    a point that is more than 16 groups of four digits away)."""
    if len(raw) < 8:
        raise ValueError("a binary numeric is malformed")
    count = int.from_bytes(raw[:2], "big")
    weight = int.from_bytes(raw[2:4], "big", signed=True)
    if len(raw) != 8 + 2 * count:
        raise ValueError("a binary numeric is malformed")
    if not -_MOST_GROUPS <= weight < _MOST_GROUPS or not count:
        return b""
    out = bytearray()
    for place in range(max(weight + 1, count)):
        group = 0
        if place < count:
            group = int.from_bytes(raw[8 + 2 * place : 10 + 2 * place], "big")
        if group > 9999:
            raise ValueError("a binary numeric is malformed")
        if place == weight + 1:
            out += b"."
        out += b"%04d" % group
    return bytes(out).lstrip(b"0")


def run_end(buffer: bytes, at: int, kind: int, least: int) -> int:
    """The end of the last whole frame in the run of frames that starts at
    ``at``, have the type ``kind`` and a length of ``least`` or more. Frames are
    a type byte and an int32 length that includes itself."""
    size = len(buffer)
    if at < 0:
        raise ValueError("a position is below zero")
    while at + 5 <= size and buffer[at] == kind:
        length = int.from_bytes(buffer[at + 1 : at + 5], "big", signed=True)
        if length < least or at + 1 + length > size:
            break
        at += 1 + length
    return at
