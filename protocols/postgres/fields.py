"""RowDescription: what the server says about the columns of a result.

https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple

from protocols.errors import WireError
from protocols.wire import Side

_FIXED: Final = Struct(">IhIhih")
"""What follows a column's name: table OID, attribute number, type OID, type
length, type modifier, format code."""

TEXT: Final = 0
BINARY: Final = 1


class Field(NamedTuple):
    """One column of a RowDescription.

    ``name`` is decoded as UTF-8, other bytes as surrogate escapes. ``table_oid``
    is 0 for an expression; ``attnum`` is 0 for a whole row of that table and
    negative for its system columns. ``typlen`` is -1 for a variable length.
    ``form`` is 0 (text) or 1 (binary).
    """

    name: str
    table_oid: int
    attnum: int
    type_oid: int
    typlen: int
    typmod: int
    form: int


@lru_cache(maxsize=512)
def parse_row_description(payload: bytes) -> tuple[Field, ...]:
    """The columns in ``payload``, the body of a ``T`` message (without its
    type byte and length). Anything but exactly the announced columns, a
    negative count or an unknown format is a ``WireError`` of the upstream."""
    raw = payload
    size = len(raw)
    if size < 2:
        raise _lie("is shorter than its count")
    count = int.from_bytes(raw[:2], "big", signed=True)
    if count < 0:
        raise _lie("has a negative count")
    fields: list[Field] = []
    at = 2
    for _ in range(count):
        end = raw.find(b"\0", at)
        if end < 0 or end + 1 + _FIXED.size > size:
            raise _lie("ends within a column")
        field = Field(
            raw[at:end].decode("utf-8", "surrogateescape"), *_FIXED.unpack_from(raw, end + 1)
        )
        if field.form not in (TEXT, BINARY):
            raise _lie("names an unknown format")
        fields.append(field)
        at = end + 1 + _FIXED.size
    if at != size:
        raise _lie("goes on after its last column")
    return tuple(fields)


def with_forms(fields: Sequence[Field], codes: Sequence[int]) -> tuple[Field, ...]:
    """``fields`` of a described statement, with the result formats that a Bind
    asks for: none (all text), one (for all), or one for each column. Another
    number of codes is a ``ValueError``; the server will refuse that Bind."""
    if not codes:
        codes = (TEXT,)
    if len(codes) == 1:
        codes = (codes[0],) * len(fields)
    if len(codes) != len(fields) or not all(code in (TEXT, BINARY) for code in codes):
        raise ValueError("result formats do not fit the columns")
    return tuple(f._replace(form=c) for f, c in zip(fields, codes, strict=True))


def _lie(what: str) -> WireError:
    return WireError(Side.UPSTREAM, f"RowDescription {what}", "08P01")
