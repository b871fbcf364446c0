"""What the built-in types of PostgreSQL are, as far as masks care.

OIDs are those of ``src/include/catalog/pg_type.dat``; they have not changed
since a type first appeared and are part of the wire protocol.
"""

from __future__ import annotations

from enum import IntEnum
from types import MappingProxyType
from typing import Final, NamedTuple


class Kind(IntEnum):
    """How a type holds its values."""

    OTHER = 0
    """Not understood: a masked value can only be NULL."""
    TEXT = 1
    """Any text; the same bytes in both forms."""
    CHAR = 2
    """``"char"``: one byte."""
    JSON = 3
    JSONB = 4
    BYTEA = 5
    BOOL = 6
    INT2 = 7
    INT4 = 8
    INT8 = 9
    OID = 10
    NUMERIC = 11
    FLOAT4 = 12
    FLOAT8 = 13
    DATE = 14
    TIME = 15
    TIMETZ = 16
    TIMESTAMP = 17
    TIMESTAMPTZ = 18
    INTERVAL = 19
    UUID = 20
    INET = 21
    CIDR = 22
    MACADDR = 23
    MACADDR8 = 24
    LABEL = 25
    """Text in its text form, something of its own in binary."""


class Shape(NamedTuple):
    """A type: its ``kind``, and whether it is an array of that kind whose
    elements are of type ``element`` (0: no array)."""

    kind: Kind
    element: int = 0


UNKNOWN: Final = Shape(Kind.OTHER)

_SCALARS: Final = (
    (16, 1000, "bool", Kind.BOOL),
    (17, 1001, "bytea", Kind.BYTEA),
    (18, 1002, "char", Kind.CHAR),
    (19, 1003, "name", Kind.TEXT),
    (20, 1016, "int8", Kind.INT8),
    (21, 1005, "int2", Kind.INT2),
    (23, 1007, "int4", Kind.INT4),
    (25, 1009, "text", Kind.TEXT),
    (26, 1028, "oid", Kind.OID),
    (114, 199, "json", Kind.JSON),
    (142, 143, "xml", Kind.TEXT),
    (650, 651, "cidr", Kind.CIDR),
    (700, 1021, "float4", Kind.FLOAT4),
    (701, 1022, "float8", Kind.FLOAT8),
    (705, 0, "unknown", Kind.TEXT),
    (774, 775, "macaddr8", Kind.MACADDR8),
    (829, 1040, "macaddr", Kind.MACADDR),
    (869, 1041, "inet", Kind.INET),
    (1042, 1014, "bpchar", Kind.TEXT),
    (1043, 1015, "varchar", Kind.TEXT),
    (1082, 1182, "date", Kind.DATE),
    (1083, 1183, "time", Kind.TIME),
    (1114, 1115, "timestamp", Kind.TIMESTAMP),
    (1184, 1185, "timestamptz", Kind.TIMESTAMPTZ),
    (1186, 1187, "interval", Kind.INTERVAL),
    (1266, 1270, "timetz", Kind.TIMETZ),
    (1700, 1231, "numeric", Kind.NUMERIC),
    (1790, 2201, "refcursor", Kind.TEXT),
    (2275, 1263, "cstring", Kind.TEXT),
    (2950, 2951, "uuid", Kind.UUID),
    (3802, 3807, "jsonb", Kind.JSONB),
)

_OTHERS: Final = (
    (22, "int2vector"),
    (24, "regproc"),
    (27, "tid"),
    (28, "xid"),
    (29, "cid"),
    (30, "oidvector"),
    (600, "point"),
    (601, "lseg"),
    (602, "path"),
    (603, "box"),
    (604, "polygon"),
    (628, "line"),
    (718, "circle"),
    (790, "money"),
    (1560, "bit"),
    (1562, "varbit"),
    (2205, "regclass"),
    (2206, "regtype"),
    (2249, "record"),
    (2278, "void"),
    (2287, "_record"),
    (3220, "pg_lsn"),
    (3614, "tsvector"),
    (3615, "tsquery"),
    (3904, "int4range"),
    (3906, "numrange"),
    (3908, "tsrange"),
    (3910, "tstzrange"),
    (3912, "daterange"),
    (3926, "int8range"),
    (4072, "jsonpath"),
    (5069, "xid8"),
)


def _table() -> dict[int, tuple[str, Shape]]:
    table = {oid: (name, UNKNOWN) for oid, name in _OTHERS}
    for oid, array, name, kind in _SCALARS:
        table[oid] = (name, Shape(kind))
        if array:
            table[array] = ("_" + name, Shape(kind, oid))
    return table


BUILTIN: Final = MappingProxyType(_table())
"""Type OID to its name in ``pg_type`` and its shape."""

FIRST_OWN_OID: Final = 16384
"""Objects below were there when the server was initialised (FirstNormalObjectId)."""
