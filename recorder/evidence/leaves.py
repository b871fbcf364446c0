"""Leaves of the ledger: canonical bytes, one encoding for one meaning.

    leaf = "wirewarden leaf v1" 00  kind:u8  epoch:u32  at:u64  fields
    text = length:u16  UTF-8

Integers are little-endian. ``at`` is when the leaf was put in, in Unix
nanoseconds, and never goes back. FORMAT.md has the table of fields.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from hashlib import sha256
from typing import NamedTuple

DOMAIN = b"wirewarden leaf v1\0"
_HEAD = struct.Struct("<BIQ")
LEAF_MAX = 0xFFFF
EPOCH_DOMAIN = b"wirewarden epoch v1\0"


class Kind(IntEnum):
    """What a leaf says. The numbers are the format's."""

    EPOCH = 0
    START = 1
    PART = 2
    END = 3
    POLICY = 4
    GAP = 5
    DELETION = 6
    HEARTBEAT = 7


class LeafError(ValueError):
    """Bytes that are no leaf, or not its one encoding."""


FIELDS: dict[Kind, tuple[tuple[str, str], ...]] = {
    Kind.EPOCH: (
        ("number", "u32"),
        ("public", "32"),
        ("by", "u8"),
        ("size", "u64"),
        ("root", "32"),
        ("signature", "64"),
    ),
    Kind.START: (("session", "text"), ("digest", "32")),
    Kind.PART: (("session", "text"), ("part", "u32"), ("root", "32")),
    Kind.END: (("session", "text"), ("parts", "u32"), ("root", "32"), ("status", "text")),
    Kind.POLICY: (("gateway", "text"), ("count", "u32"), ("version", "text")),
    Kind.GAP: (("session", "text"), ("reason", "text")),
    Kind.DELETION: (("session", "text"), ("root", "32"), ("reason", "text")),
    Kind.HEARTBEAT: (),
}
_INTEGERS = {"u8": "<B", "u32": "<I", "u64": "<Q"}


class Leaf(NamedTuple):
    """``fields`` by the names of ``FIELDS``."""

    kind: Kind
    epoch: int
    at: int
    fields: dict[str, int | str | bytes]

    def text(self, name: str) -> str:
        return str(self.fields[name])

    def number(self, name: str) -> int:
        return int(self.fields[name])

    def raw(self, name: str) -> bytes:
        value = self.fields[name]
        return value if isinstance(value, bytes) else b""


def pack_fields(kind: Kind, values: dict[str, int | str | bytes]) -> bytes:
    """The fields of a leaf; ``ValueError`` when one does not fit."""
    out = []
    for name, form in FIELDS[kind]:
        value = values[name]
        if isinstance(value, int):
            out.append(struct.pack(_INTEGERS[form], value))
        elif isinstance(value, str):
            raw = value.encode("utf-8", "surrogateescape")
            if form != "text" or len(raw) > 4096:
                raise ValueError(f"{name} does not fit in a leaf")
            out.append(struct.pack("<H", len(raw)) + raw)
        else:
            if form != str(len(value)):
                raise ValueError(f"{name} does not fit in a leaf")
            out.append(value)
    return b"".join(out)


def unpack_fields(kind: Kind, raw: bytes) -> dict[str, int | str | bytes]:
    """``LeafError`` unless ``raw`` is the fields and nothing more."""
    found: dict[str, int | str | bytes] = {}
    at = 0
    try:
        for name, form in FIELDS[kind]:
            if form == "text":
                (length,) = struct.unpack_from("<H", raw, at)
                piece = raw[at + 2 : at + 2 + length]
                if len(piece) != length:
                    raise LeafError("a leaf ends too early")
                found[name] = piece.decode("utf-8", "surrogateescape")
                at += 2 + length
            elif form in _INTEGERS:
                (found[name],) = struct.unpack_from(_INTEGERS[form], raw, at)
                at += struct.calcsize(_INTEGERS[form])
            else:
                piece = raw[at : at + int(form)]
                if len(piece) != int(form):
                    raise LeafError("a leaf ends too early")
                found[name] = piece
                at += len(piece)
    except struct.error as error:
        raise LeafError("a leaf ends too early") from error
    if at != len(raw):
        raise LeafError("a leaf has more than its fields")
    return found


def pack_leaf(kind: Kind, epoch: int, at: int, fields: bytes) -> bytes:
    """A whole leaf from its packed fields."""
    return DOMAIN + _HEAD.pack(kind, epoch, at) + fields


def unpack_leaf(raw: bytes) -> Leaf:
    """``LeafError`` unless ``raw`` is a leaf of this format."""
    start = len(DOMAIN)
    if not raw.startswith(DOMAIN) or len(raw) < start + _HEAD.size:
        raise LeafError("not a leaf")
    number, epoch, at = _HEAD.unpack_from(raw, start)
    try:
        kind = Kind(number)
    except ValueError as error:
        raise LeafError(f"a leaf of an unknown kind {number}") from error
    return Leaf(kind, epoch, at, unpack_fields(kind, raw[start + _HEAD.size :]))


def name_of(kind: Kind, fields: bytes) -> bytes | None:
    """What makes a leaf the same as another one, so that one which is handed
    over twice goes in once; None for leaves that are never handed over."""
    values = unpack_fields(kind, fields)
    said: tuple[int | str | bytes, ...]
    if kind in (Kind.START, Kind.END, Kind.DELETION):
        said = (values["session"],)
    elif kind is Kind.PART:
        said = (values["session"], values["part"])
    elif kind is Kind.POLICY:
        said = (values["gateway"], values["count"])
    elif kind is Kind.GAP:
        said = (values["session"], values["reason"])
    else:
        return None
    return name_for(kind, *said)


def name_for(kind: Kind, *said: int | str | bytes) -> bytes:
    """``name_of`` a leaf of a session (of its PART: with the number)."""
    return sha256(repr((int(kind), *said)).encode("utf-8", "surrogateescape")).digest()[:16]


def epoch_message(origin: str, number: int, public: bytes, size: int, root: bytes) -> bytes:
    """What a certificate of an epoch signs: its key, and the whole tree before
    it, so that later keys can't rewrite what earlier ones vouched for."""
    name = origin.encode()
    head = struct.pack("<H", len(name)) + name + struct.pack("<I", number) + public
    return EPOCH_DOMAIN + head + struct.pack("<Q", size) + root
