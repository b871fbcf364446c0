"""PostgreSQL's binary values as people write them.

Forms: the send functions of PostgreSQL's source (``src/backend/utils/adt``). A value that
does not have its type's form is given back as None: then its bytes are shown.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Final
from uuid import UUID

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_DAY: Final = date(2000, 1, 1)
_FOREVER: Final = {(1 << 63) - 1: "infinity", -(1 << 63): "-infinity"}
_LONGEST_ARRAY: Final = 20
_NUMERIC_MAX: Final = 400
"""Digit groups that are written out."""


def shown(raw: bytes, oid: int) -> str | None:
    """``raw`` as text, None if it has not the binary form of type ``oid``."""
    form = _FORMS.get(oid)
    try:
        return None if form is None else form(raw)
    except (ValueError, struct.error, OverflowError, IndexError):
        return None


def _packed(layout: str) -> Callable[[bytes], str]:
    def read(raw: bytes) -> str:
        (value,) = struct.unpack(layout, raw)
        return f"{value:.9g}" if layout == ">f" else str(value)

    return read


def _boolean(raw: bytes) -> str:
    return {b"\0": "f", b"\1": "t"}.get(raw) or _no()


def _no() -> str:
    raise ValueError


def _numeric(raw: bytes) -> str:
    count, weight, sign, scale = struct.unpack_from(">HhHH", raw)
    if len(raw) != 8 + 2 * count or count > _NUMERIC_MAX or abs(weight) > _NUMERIC_MAX:
        raise ValueError
    if sign in (0xC000, 0xD000, 0xF000):
        return {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}[sign]
    groups = struct.unpack_from(f">{count}H", raw, 8)
    if sign not in (0, 0x4000) or any(group > 9999 for group in groups) or scale > 4 * 4095:
        raise ValueError
    whole = "".join(
        f"{groups[n] if n < count else 0:04}" for n in range(weight + 1)
    ).lstrip("0")  # fmt: skip
    after = "0000" * max(0, -weight - 1) + "".join(f"{g:04}" for g in groups[max(0, weight + 1) :])
    part = f".{after[:scale].ljust(scale, '0')}" if scale else ""
    return ("-" if sign else "") + (whole or "0") + part


def _moment(zone: str) -> Callable[[bytes], str]:
    def read(raw: bytes) -> str:
        (micros,) = struct.unpack(">q", raw)
        if micros in _FOREVER:
            return _FOREVER[micros]
        told = (_EPOCH + timedelta(microseconds=micros)).isoformat(" ").removesuffix("+00:00")
        return (told.rstrip("0") if "." in told else told) + zone

    return read


def _date(raw: bytes) -> str:
    (days,) = struct.unpack(">i", raw)
    if days in (0x7FFFFFFF, -0x80000000):
        return "infinity" if days > 0 else "-infinity"
    return (_DAY + timedelta(days=days)).isoformat()


def _time(raw: bytes) -> str:
    (micros,) = struct.unpack(">q", raw)
    if not 0 <= micros <= 86_400_000_000:
        raise ValueError
    seconds, rest = divmod(micros, 1_000_000)
    told = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return told + (f".{rest:06}".rstrip("0") if rest else "")


def _interval(raw: bytes) -> str:
    micros, days, months = struct.unpack(">qii", raw)
    told = [f"{months} mon"] * bool(months) + [f"{days} days"] * bool(days)
    if micros or not told:
        hours, rest = divmod(abs(micros), 3_600_000_000)
        clock = _time(struct.pack(">q", rest))
        told.append(f"{'-' if micros < 0 else ''}{hours:02}{clock[2:]}")
    return " ".join(told)


def _jsonb(raw: bytes) -> str:
    if raw[:1] != b"\1":
        raise ValueError
    return raw[1:].decode("utf-8")


def _array(raw: bytes) -> str:
    dimensions, _, oid = struct.unpack_from(">iiI", raw)
    if dimensions == 0:
        return "{}"
    (count,) = struct.unpack_from(">i", raw, 12)
    if dimensions != 1 or count < 0:
        raise ValueError
    told, at = [], 20
    for _ in range(min(count, _LONGEST_ARRAY)):
        (size,) = struct.unpack_from(">i", raw, at)
        at += 4
        if size < 0:
            told.append("NULL")
            continue
        if at + size > len(raw):
            raise ValueError
        value = raw[at : at + size]
        told.append(shown(value, oid) or value.decode("utf-8"))
        at += size
    if count <= _LONGEST_ARRAY and at != len(raw):
        raise ValueError
    more = [f"… {count - _LONGEST_ARRAY} more"] if count > _LONGEST_ARRAY else []
    return "{" + ",".join(told + more) + "}"


_FORMS: Final[dict[int, Callable[[bytes], str]]] = {
    16: _boolean,
    17: lambda raw: "\\x" + raw.hex(),
    20: _packed(">q"),
    21: _packed(">h"),
    23: _packed(">i"),
    26: _packed(">I"),
    114: lambda raw: raw.decode("utf-8"),
    700: _packed(">f"),
    701: _packed(">d"),
    1082: _date,
    1083: _time,
    1114: _moment(""),
    1184: _moment("+00"),
    1186: _interval,
    1700: _numeric,
    2950: lambda raw: str(UUID(bytes=raw)),
    3802: _jsonb,
    **dict.fromkeys(
        (1000, 1005, 1007, 1016, 1009, 1015, 1021, 1022, 1028, 1115, 1182, 1185, 1231, 2951),
        _array,
    ),
}
"""By the type's OID (pg_type)."""

NAMES: Final = {
    16: "bool", 17: "bytea", 18: "char", 19: "name", 20: "int8", 21: "int2", 23: "int4",
    25: "text", 26: "oid", 114: "json", 700: "float4", 701: "float8", 1042: "bpchar",
    1043: "varchar", 1082: "date", 1083: "time", 1114: "timestamp", 1184: "timestamptz",
    1186: "interval", 1700: "numeric", 2950: "uuid", 3802: "jsonb",
}  # fmt: skip

FUNCTIONS: Final = {
    715: "lo_create", 764: "lo_import", 765: "lo_export", 767: "lo_import", 952: "lo_open",
    953: "lo_close", 954: "loread", 955: "lowrite", 956: "lo_lseek", 957: "lo_creat",
    958: "lo_tell", 964: "lo_unlink", 1004: "lo_truncate", 3170: "lo_lseek64",
    3171: "lo_tell64", 3172: "lo_truncate64", 3457: "lo_from_bytea", 3458: "lo_get",
    3459: "lo_get", 3460: "lo_put",
}  # fmt: skip
"""Functions that clients call by FunctionCall (pg_proc)."""
