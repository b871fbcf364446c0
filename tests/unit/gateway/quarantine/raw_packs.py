"""Packs written by hand, as no git would (gitformat-pack(5))."""

from __future__ import annotations

import hashlib
import struct
import zlib

COMMIT, TREE, BLOB, TAG, OFS_DELTA, REF_DELTA = 1, 2, 3, 4, 6, 7
NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}


def oid(kind: int, body: bytes) -> bytes:
    return hashlib.sha1(b"%b %d\0%b" % (NAMES[kind], len(body), body)).digest()


def commit(tree: bytes, *parents: bytes, text: bytes = b"x") -> bytes:
    up = b"".join(b"parent %b\n" % each.hex().encode() for each in parents)
    who = b"a <a@b> 1700000000 +0000"
    head = b"tree %b\n%bauthor %b\ncommitter %b\n\n" % (tree.hex().encode(), up, who, who)
    return head + text


def tree(*entries: tuple[bytes, bytes, bytes]) -> bytes:
    """(mode, name, object id), in the order given."""
    return b"".join(b"%b %b\0%b" % each for each in entries)


def head(kind: int, size: int) -> bytes:
    byte = kind << 4 | size & 15
    out = bytearray()
    size >>= 4
    while size:
        out.append(byte | 0x80)
        byte, size = size & 0x7F, size >> 7
    out.append(byte)
    return bytes(out)


def entry(kind: int, body: bytes, base: bytes = b"", size: int | None = None) -> bytes:
    """``base``: what stands between head and data of a delta; ``size``: a lie."""
    return head(kind, len(body) if size is None else size) + base + zlib.compress(body, 9)


def offset(distance: int) -> bytes:
    """Of an ofs-delta's base, backwards."""
    out = [distance & 0x7F]
    while distance := distance >> 7:
        distance -= 1
        out.append(0x80 | distance & 0x7F)
    return bytes(reversed(out))


def number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def copy(start: int, size: int) -> bytes:
    """A delta's instruction to copy; sizes up to 0xffffff."""
    return b"\xff" + struct.pack("<I", start) + struct.pack("<I", size)[:3]


def delta(base: int, result: int, instructions: bytes) -> bytes:
    return number(base) + number(result) + instructions


def pack(*entries: bytes, count: int | None = None, algorithm: str = "sha1") -> bytes:
    body = b"PACK" + struct.pack(">II", 2, len(entries) if count is None else count)
    body += b"".join(entries)
    return body + hashlib.new(algorithm, body).digest()
