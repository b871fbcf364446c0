"""Single values in text and binary form, and the neutral value of each kind.

Text forms are what the server prints with its default settings (ISO dates);
binary forms are those of the types' send functions.  A text in another style
does not parse here, which makes a mask show the neutral value: every guess
errs towards showing less.
"""

from __future__ import annotations

import re
import struct
from datetime import date, datetime, time, timedelta
from types import MappingProxyType
from typing import Final
from uuid import UUID

from protocols.postgres.kinds import Kind

_DAYS: Final = 10957
"""From the Unix epoch to 2000-01-01, where binary dates count from."""
_MICROSECONDS: Final = _DAYS * 86_400_000_000

NEUTRAL: Final = MappingProxyType(
    {
        # kind: (text form, binary form)
        Kind.CHAR: (b"", b"\0"),
        Kind.BYTEA: (b"\\x", b""),
        Kind.BOOL: (b"f", b"\0"),
        Kind.INT2: (b"0", bytes(2)),
        Kind.INT4: (b"0", bytes(4)),
        Kind.INT8: (b"0", bytes(8)),
        Kind.OID: (b"0", bytes(4)),
        Kind.NUMERIC: (b"0", bytes(8)),
        Kind.FLOAT4: (b"0", bytes(4)),
        Kind.FLOAT8: (b"0", bytes(8)),
        Kind.DATE: (b"1970-01-01", struct.pack(">i", -_DAYS)),
        Kind.TIME: (b"00:00:00", bytes(8)),
        Kind.TIMETZ: (b"00:00:00+00", bytes(12)),
        Kind.TIMESTAMP: (b"1970-01-01 00:00:00", struct.pack(">q", -_MICROSECONDS)),
        Kind.TIMESTAMPTZ: (b"1970-01-01 00:00:00+00", struct.pack(">q", -_MICROSECONDS)),
        Kind.INTERVAL: (b"00:00:00", bytes(16)),
        Kind.UUID: (b"00000000-0000-0000-0000-000000000000", bytes(16)),
        Kind.INET: (b"0.0.0.0", b"\x02\x20\x00\x04" + bytes(4)),
        Kind.CIDR: (b"0.0.0.0/32", b"\x02\x20\x01\x04" + bytes(4)),
        Kind.MACADDR: (b"00:00:00:00:00:00", bytes(6)),
        Kind.MACADDR8: (b"00:00:00:00:00:00:00:00", bytes(8)),
    }
)
"""What a masked value shows where its type cannot hold the mask's text."""

_INTEGERS: Final = MappingProxyType(
    {
        Kind.INT2: (struct.Struct(">h"), -(1 << 15), (1 << 15) - 1),
        Kind.INT4: (struct.Struct(">i"), -(1 << 31), (1 << 31) - 1),
        Kind.INT8: (struct.Struct(">q"), -(1 << 63), (1 << 63) - 1),
        Kind.OID: (struct.Struct(">I"), 0, (1 << 32) - 1),
    }
)
_FLOATS: Final = MappingProxyType({Kind.FLOAT4: (">f", 6, 10), Kind.FLOAT8: (">d", 15, 18)})
_STAMPS: Final = (Kind.TIMESTAMP, Kind.TIMESTAMPTZ)
_STAMP_EPOCH: Final = datetime(2000, 1, 1)

_INTEGER: Final = re.compile(rb"-?[0-9]{1,19}")
_NUMBER: Final = re.compile(rb"(-?)([0-9]{1,1000})(?:\.([0-9]{0,1000}))?")
_FLOAT: Final = re.compile(rb"-?[0-9]{1,40}(?:\.[0-9]{0,40})?(?:e[+-]?[0-9]{1,3})?")
_DATE: Final = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CLOCK: Final = rb"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?"
_ZONE: Final = rb"[+-][0-9]{2}(?::[0-9]{2})?"
_TIME: Final = re.compile(_CLOCK)
_TIMETZ: Final = re.compile(_CLOCK + _ZONE)
_STAMP: Final = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2} " + _CLOCK)
_STAMPTZ: Final = re.compile(rb"([0-9]{4}-[0-9]{2}-[0-9]{2} " + _CLOCK + rb")" + _ZONE)
_UUID: Final = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HEX: Final = re.compile(rb"\\x(?:[0-9a-fA-F]{2})*")
_OCTET: Final = rb"(?:25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})"
_IPV4: Final = re.compile(_OCTET + rb"(?:\." + _OCTET + rb"){3}")
_MAC: Final = re.compile(rb"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
_MAC8: Final = re.compile(rb"[0-9a-f]{2}(?::[0-9a-f]{2}){7}")


def parses(kind: Kind, text: bytes) -> bool:
    """Is ``text`` a value of ``kind`` in the form that the server prints?"""
    if kind in _INTEGERS:
        _, low, high = _INTEGERS[kind]
        return _INTEGER.fullmatch(text) is not None and low <= int(text) <= high
    if kind is Kind.NUMERIC:
        return _NUMBER.fullmatch(text) is not None
    if kind is Kind.FLOAT4 or kind is Kind.FLOAT8:
        return _FLOAT.fullmatch(text) is not None and _packs(_FLOATS[kind][0], float(text))
    if kind is Kind.BOOL:
        return text in (b"t", b"f")
    if kind is Kind.CHAR:
        return len(text) <= 1
    if kind is Kind.DATE:
        return _DATE.fullmatch(text) is not None and _calendar(date, text)
    if kind is Kind.TIME:
        return _TIME.fullmatch(text) is not None and _calendar(time, text)
    if kind is Kind.TIMETZ:
        return _TIMETZ.fullmatch(text) is not None and _calendar(time, text)
    if kind is Kind.TIMESTAMP:
        return _STAMP.fullmatch(text) is not None and _calendar(datetime, text)
    if kind is Kind.TIMESTAMPTZ:
        return _STAMPTZ.fullmatch(text) is not None and _calendar(datetime, text)
    pattern = {
        Kind.UUID: _UUID,
        Kind.BYTEA: _HEX,
        Kind.INET: _IPV4,
        Kind.MACADDR: _MAC,
        Kind.MACADDR8: _MAC8,
    }.get(kind)
    return pattern is not None and pattern.fullmatch(text) is not None


def decode(kind: Kind, raw: bytes) -> bytes | None:
    """The text form of the binary value ``raw``; None where it has none here
    (infinity, years BC, kinds without a decoder, a wrong length)."""
    try:
        if kind in _INTEGERS:
            (number,) = _INTEGERS[kind][0].unpack(raw)
            return b"%d" % number
        if kind is Kind.NUMERIC:
            return _numeric_text(raw)
        if kind is Kind.FLOAT4 or kind is Kind.FLOAT8:
            return _float_text(kind, raw)
        if kind is Kind.BOOL:
            return {b"\0": b"f", b"\1": b"t"}.get(raw)
        if kind is Kind.BYTEA:
            return b"\\x" + raw.hex().encode()
        if kind is Kind.UUID:
            return str(UUID(bytes=raw)).encode()
        if kind is Kind.CHAR:
            return raw.rstrip(b"\0")
        if kind is Kind.DATE:
            (days,) = struct.unpack(">i", raw)
            return (date(2000, 1, 1) + timedelta(days=days)).isoformat().encode()
        if kind in _STAMPS:
            (micros,) = struct.unpack(">q", raw)
            stamp = (_STAMP_EPOCH + timedelta(microseconds=micros)).isoformat(" ").encode()
            stamp = stamp.rstrip(b"0") if b"." in stamp else stamp
            return stamp + b"+00" if kind is Kind.TIMESTAMPTZ else stamp
    except (struct.error, ValueError, OverflowError):
        pass
    return None


def encode(kind: Kind, text: bytes) -> bytes | None:
    """The binary form of ``text``; None where ``text`` is no value of ``kind``
    or there is no encoder."""
    if not parses(kind, text):
        return None
    if kind in _INTEGERS:
        return _INTEGERS[kind][0].pack(int(text))
    if kind is Kind.NUMERIC:
        return _numeric_binary(text)
    if kind is Kind.FLOAT4 or kind is Kind.FLOAT8:
        return struct.pack(_FLOATS[kind][0], float(text))
    if kind is Kind.BOOL:
        return b"\1" if text == b"t" else b"\0"
    if kind is Kind.BYTEA:
        return bytes.fromhex(text[2:].decode())
    if kind is Kind.UUID:
        return UUID(text.decode()).bytes
    if kind is Kind.CHAR:
        return text or b"\0"
    if kind is Kind.DATE:
        return struct.pack(">i", (date.fromisoformat(text.decode()) - date(2000, 1, 1)).days)
    if kind is Kind.TIMESTAMP:
        gone = datetime.fromisoformat(text.decode()) - _STAMP_EPOCH
        return struct.pack(">q", gone // timedelta(microseconds=1))
    return None


def _packs(form: str, value: float) -> bool:
    try:
        struct.pack(form, value)
    except OverflowError:
        return False
    return True


def _calendar(of: type[date] | type[time], text: bytes) -> bool:
    try:
        of.fromisoformat(text.decode())
    except ValueError:
        return False
    return True


def _float_text(kind: Kind, raw: bytes) -> bytes | None:
    form, least, most = _FLOATS[kind]
    (value,) = struct.unpack(form, raw)
    # The shortest digits that give the same bits back, as the server prints.
    for digits in range(least, most):
        text = f"{value:.{digits}g}"
        if struct.pack(form, float(text)) == raw:
            return text.encode()
    return None


def _numeric_text(raw: bytes) -> bytes | None:
    count, weight, sign, scale = struct.unpack_from(">HhHH", raw)
    groups = struct.unpack(f">{count}H", raw[8:])
    if sign not in (0, 0x4000) or weight > 1000 or weight < -1000 or scale > 1000:
        return None  # NaN, infinities, and numbers too long to be worth it
    if any(group > 9999 for group in groups):
        return None
    digits = b"".join(b"%04d" % group for group in groups)
    if weight >= 0:
        whole = digits[: (weight + 1) * 4].ljust((weight + 1) * 4, b"0").lstrip(b"0") or b"0"
        rest = digits[(weight + 1) * 4 :]
    else:
        whole, rest = b"0", b"0000" * (-weight - 1) + digits
    text = whole + (b"." + rest[:scale].ljust(scale, b"0") if scale else b"")
    return b"-" + text if sign else text


def _numeric_binary(text: bytes) -> bytes:
    found = _NUMBER.fullmatch(text)
    assert found is not None
    whole, rest = found[2].lstrip(b"0"), found[3] or b""
    scale = len(rest)
    whole = whole.rjust(-(-len(whole) // 4) * 4, b"0")
    weight = len(whole) // 4 - 1
    digits = whole + rest.ljust(-(-scale // 4) * 4, b"0")
    groups = [int(digits[i : i + 4]) for i in range(0, len(digits), 4)]
    while groups and groups[-1] == 0:
        groups.pop()
    while groups and groups[0] == 0:
        del groups[0]
        weight -= 1
    if not groups:
        weight = 0
    sign = 0x4000 if found[1] and groups else 0
    return struct.pack(f">HhHH{len(groups)}H", len(groups), weight, sign, scale, *groups)
