"""Files and the frame around every record (FORMAT.md, sections 2 and 3).

A file starts with a 32-byte file header. Every record is a 16-byte record
header and a body of at most 1 MiB. All integers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from crc32c import crc32c

from recorder.errors import FormatError

SEGMENT_MAGIC = b"\x89AGJ\r\n\x1a\n"
LOG_MAGIC = b"\x89AGR\r\n\x1a\n"
VERSION = 1
FILE_HEADER = 32
RECORD_HEADER = 16
BODY_MAX = 1 << 20

# Record types. The low byte of the first word is the magic, the next the type.
MAGIC = 0xD7
HEADER, DATA, END, COMMIT, CHUNK, GAP, KEYS = 1, 2, 3, 4, 5, 6, 7

EVENTS = 1
"""Flag of a data record: it holds an event (a lister need not look elsewhere)."""

_FILE = struct.Struct("<8sIIQI")
BOUND = struct.Struct("<IIQ")
RECORD = struct.Struct("<IIII")
MASK = 0xA282EAD8


def masked(crc: int) -> int:
    """A CRC as it is stored: zero bytes must not carry a valid zero CRC."""
    return crc ^ MASK


def word(kind: int, flags: int = 0) -> int:
    """The first word of a record header: magic, type, flags, zero."""
    return MAGIC | kind << 8 | flags << 16


def file_header(magic: bytes, number: int, identity: int) -> bytes:
    """The 32 bytes that start a file. ``number`` is the segment's or the
    part's, ``identity`` the 64-bit id that every record header is bound to."""
    head = _FILE.pack(magic, VERSION, number, identity, 0)
    return head + struct.pack("<I", masked(crc32c(head)))


class FileHead(NamedTuple):
    """What a file header says."""

    magic: bytes
    number: int
    identity: int


def read_file_header(raw: bytes, magic: bytes) -> FileHead:
    """Check a file header; ``FormatError`` names the byte."""
    if len(raw) < FILE_HEADER:
        raise FormatError("the file ends inside its header", len(raw), torn=True)
    found, version, number, identity, zero = _FILE.unpack_from(raw)
    if found != magic:
        raise FormatError("the file does not start as this kind of file does", 0)
    if struct.unpack_from("<I", raw, 28)[0] != masked(crc32c(raw[:28])):
        raise FormatError("the file header's checksum is wrong", 0)
    if version != VERSION:
        raise FormatError(f"format version {version}; this reader knows {VERSION}", 8)
    if zero:
        raise FormatError("a reserved word of the file header is not zero", 24)
    return FileHead(found, number, identity)


def seed_of(identity: int) -> int:
    """The CRC state that every record header of a file starts from."""
    return int(crc32c(identity.to_bytes(8, "little")))


def record_header(first: int, length: int, body_crc: int, seed: int, offset: int) -> bytes:
    """The 16 bytes before a body; ``body_crc`` unmasked, ``offset`` in the file."""
    crc = crc32c(BOUND.pack(first, length, offset), seed)
    return RECORD.pack(first, length, crc ^ MASK, body_crc ^ MASK)


def frame(kind: int, body: bytes, seed: int, offset: int, flags: int = 0) -> bytes:
    """A whole record."""
    if len(body) > BODY_MAX:
        raise ValueError("a record's body is at most 1 MiB")
    return record_header(word(kind, flags), len(body), crc32c(body), seed, offset) + body


class Head(NamedTuple):
    """What a record header says."""

    kind: int
    flags: int
    length: int
    body_crc: int


def read_record_header(raw: bytes, seed: int, offset: int) -> Head | None:
    """A record header's content, or None when ``raw`` is none for that file
    and place (a flipped bit, a stale or moved record, zeros)."""
    first, length, header_crc, body_crc = RECORD.unpack(raw)
    if first & 0xFF != MAGIC or first >> 24 or length > BODY_MAX:
        return None
    if masked(crc32c(BOUND.pack(first, length, offset), seed)) != header_crc:
        return None
    return Head(first >> 8 & 0xFF, first >> 16 & 0xFF, length, body_crc)


class Framed(NamedTuple):
    """A record as it lies in a file."""

    offset: int
    kind: int
    flags: int
    head: bytes
    body: bytes

    @property
    def end(self) -> int:
        return self.offset + RECORD_HEADER + len(self.body)


class Window:
    """Reads a file by offset through a buffer of bounded size.

    ``pread(size, offset)`` returns fewer bytes only at the end of the file.
    """

    __slots__ = ("_buffer", "_pread", "_size", "_start")

    def __init__(self, pread: Callable[[int, int], bytes], size: int = 1 << 18) -> None:
        self._pread = pread
        self._size = size
        self._start = 0
        self._buffer = b""

    def at(self, offset: int, length: int) -> bytes:
        """``length`` bytes at ``offset``, fewer at the end of the file."""
        begin = offset - self._start
        if begin < 0 or begin + length > len(self._buffer):
            self._buffer = self._pread(max(self._size, length), offset)
            self._start = offset
            begin = 0
        return self._buffer[begin : begin + length]

    def record(self, offset: int, seed: int) -> Framed | None:
        """The record at ``offset``; None at the very end of the file."""
        raw = self.at(offset, RECORD_HEADER)
        if not raw:
            return None
        if len(raw) < RECORD_HEADER:
            raise FormatError("the file ends inside a record header", offset, torn=True)
        head = read_record_header(raw, seed, offset)
        if head is None:
            raise FormatError("no valid record header", offset)
        body = self.at(offset + RECORD_HEADER, head.length)
        if len(body) < head.length:
            raise FormatError("the file ends inside a record", offset, torn=True)
        if masked(crc32c(body)) != head.body_crc:
            raise FormatError("a record's checksum is wrong", offset)
        return Framed(offset, head.kind, head.flags, raw, body)


def records(window: Window, seed: int, offset: int = FILE_HEADER) -> Iterator[Framed]:
    """Every record from ``offset`` to the end; ``FormatError`` where it breaks."""
    while (found := window.record(offset, seed)) is not None:
        yield found
        offset = found.end
