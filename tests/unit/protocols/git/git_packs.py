"""Packs made by hand, for tests."""

from __future__ import annotations

import hashlib
import struct
import zlib

BLOB, OFS_DELTA, REF_DELTA = 3, 6, 7


def header(count: int, version: int = 2) -> bytes:
    return b"PACK" + struct.pack(">II", version, count)


def packed(kind: int, body: bytes, size: int | None = None, base: bytes = b"") -> bytes:
    """One object; ``size`` is what it declares."""
    left = len(body) if size is None else size
    byte = kind << 4 | left & 15
    left >>= 4
    out = bytearray()
    while left:
        out.append(byte | 0x80)
        byte = left & 0x7F
        left >>= 7
    out.append(byte)
    return bytes(out) + base + zlib.compress(body)


def back(offset: int) -> bytes:
    """The offset of an ofs-delta, as gitformat-pack(5) writes it."""
    out = bytearray([offset & 0x7F])
    while offset := offset >> 7:
        offset -= 1
        out.insert(0, 0x80 | offset & 0x7F)
    return bytes(out)


def closed(body: bytes, algorithm: str = "sha1") -> bytes:
    """``body`` with its checksum."""
    return body + hashlib.new(algorithm, body).digest()


def pack(*objects: bytes, algorithm: str = "sha1") -> bytes:
    return closed(header(len(objects)) + b"".join(objects), algorithm)
