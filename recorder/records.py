"""What is in a record's body (FORMAT.md, sections 4 and 5).

A body is one msgpack array, its meaning by position. Readers ignore elements
beyond those they know. Strings are UTF-8, with bytes that are none of it kept
as Python's surrogate escapes keep them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgpack  # type: ignore[import-untyped]

from protocols.wire import Mark, Move, Side
from recorder.errors import FormatError
from recorder.framing import BODY_MAX

# Entries of a data record. 0 to 15 is a span: move | side << 2 | mark << 3
# needs 5 bits, so a span's tag is 0 to 31.
EVENT, SHAPE, COMMAND = 32, 33, 34

WITHHELD, SEALED = 0, 1
"""How the original of an EDITED arrival is kept."""

SPAN_MAX = 1 << 18
"""Bytes of one stored span; longer ones are cut."""
RECORD_FULL = 1 << 17
"""Bytes of entries after which a data record is closed. What one call can
add after that keeps a body under 1 MiB."""
TEXT_MAX = 1 << 16
"""Characters of a command's text that are stored with the command."""
EVENT_MAX = 1 << 18
"""About how many bytes an event's fields, or a command's parameters, take."""

STATUSES = ("closed", "terminated", "recovered", "continued")
CONTINUED = "the session goes on in the next part"
"""The reason in the END of a part that is not the last."""
OF_PARTS = ("part", "counts", "summary", "previous")
"""Keys that the HEADER of a later part has beside those of the first."""


def packer() -> msgpack.Packer:
    """A packer as the format wants it."""
    return msgpack.Packer(use_bin_type=True, unicode_errors="surrogateescape")


def unpack(body: bytes, offset: int = 0) -> list[Any]:
    """Decode a body strictly: one array, string keys, no extension types."""
    try:
        value = msgpack.unpackb(
            body,
            raw=False,
            use_list=True,
            strict_map_key=True,
            unicode_errors="surrogateescape",
            object_pairs_hook=_pairs,
            ext_hook=_no_extension,
            max_str_len=BODY_MAX,
            max_bin_len=BODY_MAX,
            max_array_len=1 << 17,
            max_map_len=1 << 12,
            max_ext_len=0,
        )
    except (ValueError, TypeError, RecursionError, UnicodeError) as error:
        raise FormatError("a record's body is not valid msgpack", offset) from error
    if not isinstance(value, list):
        raise FormatError("a record's body is not an array", offset)
    return value


def _pairs(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs) or not all(isinstance(key, str) for key in result):
        raise ValueError("a map's keys must be distinct strings")
    return result


def _no_extension(code: int, data: bytes) -> Any:
    raise ValueError("extension types are not part of the format")


class StoredSpan(NamedTuple):
    """A span as it lies on record.

    ``arrival`` is its offset in the arrivals of ``side`` (-1 for SEND),
    ``departure`` its offset in what left on the side where it leaves (-1 for
    TAKE). ``raw`` is None where bytes are not stored here: a FORWARD (look
    them up at ``arrival``), a SECRET, or an original that is ``kept`` another
    way (WITHHELD: ``blob`` is an HMAC-SHA-256; SEALED: a ciphertext whose
    nonce counts ``nonce``). A SECRET may be SEALED, too; ``kept`` -1: it is not kept.
    """

    move: Move
    side: Side
    mark: Mark
    arrival: int
    departure: int
    length: int
    raw: bytes | None
    kept: int = -1
    nonce: int = 0
    blob: bytes = b""


class Event(NamedTuple):
    """Something that happened, beside bytes and commands."""

    kind: str
    fields: Mapping[str, Any]


class CommandEntry(NamedTuple):
    """A command with its verdict. ``cut`` is the full length in characters
    where ``text`` is only its start, 0 where it is whole."""

    number: int
    phase: str
    text: str
    verdict: int
    rules: tuple[str, ...]
    reason: str
    policy: str
    digest: str | None
    parameters: tuple[str | None, ...] | None
    masks: tuple[str, ...]
    shadow: tuple[str, ...]
    cut: int


Entry = StoredSpan | Event | CommandEntry


def _need(ok: bool, offset: int, what: str) -> None:
    if not ok:
        raise FormatError(f"malformed {what}", offset)


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def read_span(item: list[Any], offset: int) -> StoredSpan:
    """Decode a span entry."""
    tag = item[0]
    _need(tag >> 3 <= 3, offset, "span")
    move, side, mark = Move(tag & 3), Side(tag >> 2 & 1), Mark(tag >> 3)
    places = 1 if move in (Move.TAKE, Move.SEND) else 2
    _need(len(item) >= places + 2, offset, "span")
    _need(all(_count(place) for place in item[1 : places + 1]), offset, "span")
    arrival = -1 if move is Move.SEND else item[1]
    departure = -1 if move is Move.TAKE else item[places]
    value = item[places + 1]
    if type(value) is bytes:
        _need(move is not Move.FORWARD and mark is not Mark.SECRET, offset, "span")
        return StoredSpan(move, side, mark, arrival, departure, len(value), value)
    _need(_count(value), offset, "span")
    if mark is Mark.EDITED and move is Move.TAKE:
        _need(len(item) >= 6, offset, "span")
        kept, nonce, blob = item[3:6]
        _need(_count(kept) and _count(nonce) and type(blob) is bytes, offset, "span")
        return StoredSpan(move, side, mark, arrival, -1, value, None, kept, nonce, blob)
    _need(move is Move.FORWARD or mark is Mark.SECRET, offset, "span")
    if mark is Mark.SECRET and len(item) >= places + 5:
        kept, nonce, blob = item[places + 2 : places + 5]
        _need(_count(kept) and _count(nonce) and type(blob) is bytes, offset, "span")
        return StoredSpan(move, side, mark, arrival, departure, value, None, kept, nonce, blob)
    return StoredSpan(move, side, mark, arrival, departure, value, None)


def _strings(value: Any) -> bool:
    return type(value) is list and all(type(item) is str for item in value)


class Decoder:
    """Decodes the data records of one session, in order: it remembers the
    shapes of commands that later records refer to by number."""

    def __init__(self) -> None:
        self._shapes: dict[int, list[Any]] = {}

    def entries(self, body: list[Any], offset: int) -> list[Entry]:
        """The entries of a data record's decoded body."""
        found: list[Entry] = []
        for item in body[3:]:
            _need(type(item) is list and bool(item) and _count(item[0]), offset, "entry")
            tag = item[0]
            if tag < EVENT:
                found.append(read_span(item, offset))
            elif tag == EVENT:
                ok = len(item) >= 3 and type(item[1]) is str and type(item[2]) is dict
                _need(ok, offset, "event")
                found.append(Event(item[1], item[2]))
            elif tag == SHAPE:
                self._shape(item, offset)
            elif tag == COMMAND:
                found.append(self._command(item, offset))
        return found

    def _shape(self, item: list[Any], offset: int) -> None:
        _need(len(item) >= 11 and _count(item[1]), offset, "shape")
        phase, text, verdict, rules, reason, policy, masks, shadow, cut = item[2:11]
        ok = all(type(value) is str for value in (phase, text, reason, policy))
        ok = ok and all(_strings(value) for value in (rules, masks, shadow))
        _need(ok and _count(verdict) and _count(cut), offset, "shape")
        self._shapes[item[1]] = item

    def _command(self, item: list[Any], offset: int) -> CommandEntry:
        _need(len(item) >= 5 and _count(item[1]) and _count(item[2]), offset, "command")
        _, number, shape, digest, parameters = item[:5]
        _need(digest is None or type(digest) is str, offset, "command")
        if parameters is not None:
            ok = type(parameters) is list
            ok = ok and all(p is None or type(p) is str for p in parameters)
            _need(ok, offset, "command")
        known = self._shapes.get(shape)
        if known is None:
            # Only after a gap: the shape's record is among the missing.
            return CommandEntry(number, "", "", 0, (), "", "", digest, None, (), (), 0)
        phase, text, verdict, rules, reason, policy, masks, shadow, cut = known[2:11]
        return CommandEntry(
            number, phase, text, verdict, tuple(rules), reason, policy, digest,
            None if parameters is None else tuple(parameters), tuple(masks), tuple(shadow), cut,
        )  # fmt: skip


def prefix(body: bytes, offset: int = 0) -> tuple[int, int, int]:
    """The first three elements of a body (session number, sequence number,
    nanoseconds since the session's start) without decoding the rest."""
    first = body[0] if body else 0
    if first & 0xF0 == 0x90:
        at = 1
    elif first in (0xDC, 0xDD):
        at = 3 if first == 0xDC else 5
    else:
        raise FormatError("a record's body is not an array", offset)
    found = []
    for _ in range(3):
        if at >= len(body):
            raise FormatError("a record's body is too short", offset)
        lead = body[at]
        at += 1
        if lead < 0x80:
            found.append(lead)
        elif 0xCC <= lead <= 0xCF:
            width = 1 << (lead - 0xCC)
            found.append(int.from_bytes(body[at : at + width], "big"))
            at += width
        else:
            raise FormatError("a record does not start with three numbers", offset)
    return found[0], found[1], found[2]
