"""The loops over tuples of binary COPY, in Python: the reference of ``_rowloop.tuples``
and ``as_copy``, which are the same in C.

A tuple is the body of a DataRow; a count of -1 is the trailer.
https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format".
"""

from __future__ import annotations

from typing import Final

MORE: Final = 0
OVER: Final = 1
TOO_LONG: Final = 2


def tuples(
    held: bytes | bytearray, at: int, left: int, columns: int, limit: int
) -> tuple[bytes, int, int, int, int]:
    """The whole tuples that ``held`` begins with, as DataRow frames; how many bytes they (and
    the trailer) take; how far the next one is read and how many of its columns are
    not, -1 for none begun; and ``OVER`` after the trailer, ``TOO_LONG`` where a value is
    longer than ``limit``. ``at`` and ``left`` are what the last call gave, less what it took.
    ``ValueError`` where it is no run of tuples of so many columns."""
    size = len(held)
    start, state = 0, MORE
    frames: list[bytes] = []
    if not 0 <= at <= size or not -1 <= left <= columns:
        raise ValueError("a position is outside")
    while True:
        if left < 0:
            if size - at < 2:
                break
            count = int.from_bytes(held[at : at + 2], "big", signed=True)
            at += 2
            if count == -1:
                state, start = OVER, at
                break
            if count != columns:
                raise ValueError("a row of COPY has another number of columns than announced")
            left = count
        while left and state == MORE:
            if size - at < 4:
                break
            length = int.from_bytes(held[at : at + 4], "big", signed=True)
            if length < -1:
                raise ValueError("a column's length is wrong")
            if length > limit:
                state = TOO_LONG
            if length > limit or size - at - 4 < max(length, 0):
                break
            at += 4 + max(length, 0)
            left -= 1
        if left:
            break
        if at - start > 0x7FFFFFFF - 4:
            raise ValueError("a masked row is too long")
        frames.append(b"D" + (at - start + 4).to_bytes(4, "big") + held[start:at])
        start, left = at, -1
    return b"".join(frames), start, at - start, left, state


def as_copy(frames: bytes) -> bytes:
    """DataRow frames as CopyData frames. ``ValueError`` where they are none."""
    out = bytearray(frames)
    at = 0
    while at < len(out):
        end = at + 1 + int.from_bytes(out[at + 1 : at + 5], "big", signed=True)
        if out[at] != 0x44 or end < at + 5 or end > len(out):
            raise ValueError("not a whole DataRow")
        out[at] = 0x64
        at = end
    return bytes(out)
