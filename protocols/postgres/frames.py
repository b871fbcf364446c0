"""The frames of the query phase: a type byte, a length, a body.

Offsets into one bytes object go in, values come out; nothing is allocated for
a length before the length is checked.  Text stays bytes: who judges decodes.

https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from protocols.errors import WireError
from protocols.wire import Side

HEADER: Final = Struct(">BI").unpack_from
SHORT: Final = Struct(">H").unpack_from
LONG: Final = Struct(">i").unpack_from
_PACK: Final = Struct(">BI").pack

HEADER_SIZE: Final = 5
ABSURD: Final = 0x4000_0005
"""No server frame can be longer: a message is built in at most 1 GiB."""

SIMPLE_KINDS: Final = frozenset(b"HSXc")
"""Client frames without a body."""
CLIENT_KINDS: Final = frozenset(b"BCDEFHPQSXcdf")

VIOLATION: Final = "08P01"
TOO_LARGE: Final = "54000"

TERMINATE: Final = b"X\x00\x00\x00\x04"
SYNC: Final = b"S\x00\x00\x00\x04"


def frame(kind: int, body: bytes) -> bytes:
    """A whole frame of type ``kind`` (a byte value)."""
    return _PACK(kind, len(body) + 4) + body


def broken(message: str) -> WireError:
    """The client broke the protocol."""
    return WireError(Side.CLIENT, message, VIOLATION)


def lied(message: str) -> WireError:
    """The server broke the protocol."""
    return WireError(Side.UPSTREAM, message, VIOLATION)


def ends(buf: bytes, at: int) -> bool:
    """True when a Terminate is among the client's messages from ``at``."""
    while at + HEADER_SIZE <= len(buf):
        kind, length = HEADER(buf, at)
        if kind not in CLIENT_KINDS or length < 4:
            return False
        if kind == 88:
            return True
        at += 1 + int(length)
    return False


def text_end(buf: bytes, at: int, end: int) -> int:
    """Where the NUL of the string that starts at ``at`` stands, before ``end``."""
    stop = buf.find(b"\0", at, end)
    if stop < 0:
        raise broken("a string has no end")
    return stop


class ParseFrame(NamedTuple):
    """Parse: a statement's name, its text, and the type OIDs that it names."""

    name: bytes
    text: bytes
    types: tuple[str, ...]


Values: TypeAlias = "list[tuple[bytes | None, int]]"
"""A value (None: NULL) and its form (0 text, 1 binary) for each parameter."""


def read_query(buf: bytes, at: int, end: int) -> bytes:
    """The text of a Query's body ``buf[at:end]``, which its NUL must end."""
    if text_end(buf, at, end) != end - 1:
        raise broken("the text of a Query does not end its message")
    return buf[at : end - 1]


def read_parse(buf: bytes, at: int, end: int) -> ParseFrame:
    """A Parse's body; the announced types must fill the message exactly."""
    stop = text_end(buf, at, end)
    last = text_end(buf, stop + 1, end)
    if end - last < 3:
        raise broken("a Parse is cut short")
    (count,) = SHORT(buf, last + 1)
    if last + 3 + 4 * count != end:
        raise broken("the parameter types of a Parse do not fill it")
    types: tuple[str, ...] = ()
    if count:
        types = tuple(_oid(oid) for oid in Struct(f">{count}I").unpack_from(buf, last + 3))
    return ParseFrame(buf[at:stop], buf[stop + 1 : last], types)


def read_bind(buf: bytes, at: int, end: int) -> tuple[bytes, bytes, Values]:
    """A Bind's body: the portal's name, the statement's, the values. Every
    count and length must fit the message exactly."""
    stop = buf.find(0, at, end)
    last = buf.find(0, stop + 1, end)
    if stop < 0 or last < 0:
        raise broken("a string has no end")
    values, pos = _arguments(buf, last + 1, end, "a Bind")
    if end - pos < 2:
        raise broken("a Bind is cut short")
    (count,) = SHORT(buf, pos)
    if pos + 2 + 2 * count != end:
        raise broken("the result formats of a Bind do not fill it")
    return buf[at:stop], buf[stop + 1 : last], values


def read_call(buf: bytes, at: int, end: int) -> tuple[int, Values]:
    """A FunctionCall's body: the function's OID and its arguments."""
    if end - at < 4:
        raise broken("a FunctionCall is cut short")
    values, pos = _arguments(buf, at + 4, end, "a FunctionCall")
    if end - pos != 2:
        raise broken("the arguments of a FunctionCall do not fill it")
    return int.from_bytes(buf[at : at + 4], "big"), values


def read_target(buf: bytes, at: int, end: int) -> tuple[int, bytes]:
    """The body of Describe or Close: b"S" or b"P" as an int, and a name."""
    if end - at < 2 or buf[at] not in b"SP":
        raise broken("a Describe or Close names neither a statement nor a portal")
    if text_end(buf, at + 1, end) != end - 1:
        raise broken("the name in a Describe or Close does not end its message")
    return buf[at], buf[at + 1 : end - 1]


def read_execute(buf: bytes, at: int, end: int) -> bytes:
    """The portal's name in an Execute."""
    stop = text_end(buf, at, end)
    if stop + 5 != end:
        raise broken("an Execute is not as long as it says")
    return buf[at:stop]


def _oid(number: int) -> str:
    return str(number) if number else ""


def _arguments(buf: bytes, at: int, end: int, where: str) -> tuple[Values, int]:
    """Format codes and values, and where they end. The formats are none (all
    text), one (for all) or one for each value."""
    if end - at < 2:
        raise broken(f"{where} is cut short")
    (forms,) = SHORT(buf, at)
    pos = at + 2 + 2 * forms
    if end - pos < 2:
        raise broken(f"the formats of {where} do not fit it")
    (count,) = SHORT(buf, pos)
    if forms > 1 and forms != count:
        raise broken(f"the formats of {where} do not fit its values")
    if end - pos - 2 < 4 * count:
        raise broken(f"the values of {where} do not fit it")
    pos += 2
    codes = b""
    default = 0
    if forms:
        if any(buf[at + 2 : at + 2 + 2 * forms : 2]):
            raise broken(f"{where} names an unknown format")
        codes = buf[at + 3 : at + 3 + 2 * forms : 2]
        if codes.strip(b"\0\1"):
            raise broken(f"{where} names an unknown format")
        default = codes[0]
    values: Values = []
    for i in range(count):
        if end - pos < 4:
            raise broken(f"the values of {where} do not fit it")
        (size,) = LONG(buf, pos)
        pos += 4
        form = codes[i] if forms > 1 else default
        if size < 0:
            if size != -1:
                raise broken(f"a value of {where} has a negative length")
            values.append((None, form))
            continue
        if size > end - pos:
            raise broken(f"the values of {where} do not fit it")
        values.append((buf[pos : pos + size], form))
        pos += size
    return values, pos


def read_fields(raw: bytes, at: int, end: int) -> list[tuple[int, bytes]]:
    """The fields of an ErrorResponse or NoticeResponse, in order. One without
    an SQLSTATE, or whose strings don't fill it, is the server's fault."""
    fields: list[tuple[int, bytes]] = []
    state = False
    while at < end and raw[at]:
        stop = raw.find(b"\0", at + 1, end)
        if stop < 0:
            raise lied("a field of an error or notice has no end")
        code = raw[at]
        value = raw[at + 1 : stop]
        if code == 67:
            if len(value) != 5 or not value.isalnum():
                raise lied("an error or notice has a malformed SQLSTATE")
            state = True
        fields.append((code, value))
        at = stop + 1
    if at + 1 != end:
        raise lied("an error or notice does not end where it says")
    if not state:
        raise lied("an error or notice has no SQLSTATE")
    return fields


def read_types(raw: bytes, at: int, end: int) -> tuple[str, ...]:
    """The type OIDs in a ParameterDescription."""
    if end - at < 2 or end - at - 2 != 4 * int.from_bytes(raw[at : at + 2], "big"):
        raise lied("the types in a ParameterDescription do not fill it")
    return tuple(_oid(oid) for (oid,) in Struct(">I").iter_unpack(raw[at + 2 : end]))


def read_copy_width(raw: bytes, at: int, end: int) -> int:
    """The number of columns that a CopyOutResponse announces."""
    count = int.from_bytes(raw[at + 1 : at + 3], "big")
    if end - at != 3 + 2 * count:
        raise lied("the columns of a CopyOutResponse do not fill it")
    return count


def write_fields(kind: int, fields: list[tuple[int, bytes]]) -> bytes:
    """An ErrorResponse (``E``) or NoticeResponse (``N``) with ``fields``.
    A NUL inside a value would end it early, so it becomes a space."""
    body = b"".join(b"%c%b\0" % (code, value.replace(b"\0", b" ")) for code, value in fields)
    return frame(kind, body + b"\0")
