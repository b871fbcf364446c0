"""Reads one Log file, checking everything on the way."""

from __future__ import annotations

import copy
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import zstandard

from recorder import framing, records
from recorder.away import open_log
from recorder.errors import ContradictionError, FormatError
from recorder.framing import FILE_HEADER, Framed, Window
from recorder.header import header_of
from recorder.log_writer import (
    CHUNK_RAW_MAX,
    RAW,
    TRAILER,
    ZSTD,
    first_link,
    log_identity,
    next_link,
    trailer,
)

_ITEM = struct.Struct("<IB")


class Stored(NamedTuple):
    """A record of the journal. ``offset`` is where in the file the chunk (in
    a journal: the record) starts that holds it."""

    kind: int
    body: bytes
    offset: int


@dataclass(frozen=True, slots=True)
class End:
    """How a session ended. ``counts``: bytes that arrived from client and
    upstream, and bytes that left to client and upstream. ``lost``: records
    that GAPs stand for, as the END of a Log says."""

    status: str
    reason: str
    counts: tuple[int, int, int, int]
    summary: dict[str, Any]
    seq: int
    at: int
    lost: int = 0


def read_end(body: list[Any], offset: int) -> End:
    """The END record's meaning; ``FormatError`` if it has none."""
    ok = len(body) >= 7 and body[3] in records.STATUSES
    ok = ok and isinstance(body[4], str) and body[4] != ""
    ok = ok and isinstance(body[5], list) and len(body[5]) == 4 and isinstance(body[6], dict)
    ok = ok and all(type(n) is int and n >= 0 for n in (*body[1:3], *body[5]))
    if not ok:
        raise FormatError("malformed END", offset)
    first, second, third, fourth = body[5]
    lost = body[10] if len(body) > 10 and type(body[10]) is int and body[10] > 0 else 0
    return End(body[3], body[4], (first, second, third, fourth), body[6], body[1], body[2], lost)


class LogFile:
    """A Log. Opening it reads the header; ``stored`` walks the records and
    checks all that can be checked; then ``end`` is known, ``peek_end`` tells
    it at once but trusts the trailer. ``FormatError`` names the byte where
    the file stops being what it should be; ``OSError`` as usual. ``root`` is
    known with ``end``: what the ledger vouches for (FORMAT.md, section 6).
    ``number`` is the session's in its journal, ``seq`` and ``at`` are the HEADER's."""

    live = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.end: End | None = None
        self.records = 0
        self.chunks = 0
        self._lost = 0
        self._fd = open_log(path)
        try:
            self._window = Window(lambda size, at: os.pread(self._fd, size, at))
            raw = self._window.at(0, FILE_HEADER)
            head = framing.read_file_header(raw, framing.LOG_MAGIC)
            self._seed = framing.seed_of(head.identity)
            first = self._window.record(FILE_HEADER, self._seed)
            if first is None:
                raise FormatError("the file ends before its header", FILE_HEADER, torn=True)
            self.header = header_of(first)
            self.header_body = first.body
            self.root = b""
            self.part = head.number
            if head.identity != log_identity(self.header["session"], head.number):
                raise ContradictionError("the file's id is not its session's", 16)
            self.number, self.seq, self.at = records.prefix(first.body)
            self._link = first_link(raw + first.head + first.body)
            self._body_start = first.end
        except BaseException:
            os.close(self._fd)
            raise

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def again(self) -> LogFile:
        """A second reader of the same file, with a place of its own. Close it, too."""
        other = copy.copy(self)
        other.end = None
        other.records = other.chunks = 0
        other._fd = fd = os.dup(self._fd)
        other._window = Window(lambda size, at: os.pread(fd, size, at))
        return other

    def size(self) -> int:
        """Bytes in the file."""
        return os.fstat(self._fd).st_size

    def peek_end(self) -> End | None:
        """The END that the trailer points to; None if there is none."""
        size = self.size()
        raw = os.pread(self._fd, TRAILER.size, max(0, size - TRAILER.size))
        if len(raw) == TRAILER.size and trailer(TRAILER.unpack(raw)[0]) == raw:
            place = TRAILER.unpack(raw)[0]
            try:
                found = self._window.record(place, self._seed) if place < size else None
                if found is not None and found.kind == framing.END:
                    return read_end(records.unpack(found.body, place), place)
            except FormatError:
                pass
        return None

    def peek_root(self) -> tuple[End | None, bytes]:
        """The END that the trailer points to and the Log's root as they say it;
        ``stored`` is what checks them. None and nothing if there is none."""
        end = self.peek_end()
        if end is None:
            return None, b""
        raw = os.pread(self._fd, TRAILER.size, self.size() - TRAILER.size)
        place = TRAILER.unpack(raw)[0]
        found = self._window.record(place, self._seed)
        body = [] if found is None else records.unpack(found.body, place)
        if found is None or len(body) < 10 or type(body[9]) is not bytes:
            return None, b""
        return end, next_link(body[9], found.head + found.body)

    def stored(self) -> Iterator[Stored]:
        """Every DATA and GAP record, in order."""
        link, offset = self._link, self._body_start
        expected, last_at = self.seq + 1, self.at
        self.records = self.chunks = self._lost = 0
        while True:
            found = self._window.record(offset, self._seed)
            if found is None:
                raise FormatError("the file ends without an END", offset, torn=True)
            if found.kind == framing.END:
                self._finish(found, link, expected, last_at)
                return
            if found.kind == framing.CHUNK:
                for item in self._chunk(found, link):
                    number, seq, at = records.prefix(item.body, offset)
                    if number != self.number or seq != expected or at < last_at:
                        raise ContradictionError("a record is out of its order", offset)
                    expected, last_at = seq + 1, at
                    if item.kind == framing.GAP:
                        expected = gap_end(item)
                        self._lost += expected - seq
                    self.records += 1
                    yield item
                self.chunks += 1
            elif found.kind == framing.HEADER:
                raise ContradictionError("a second header", offset)
            link = next_link(link, found.head + found.body)
            offset = found.end

    def _chunk(self, found: Framed, link: bytes) -> Iterator[Stored]:
        offset = found.offset
        body = records.unpack(found.body, offset)
        ok = len(body) >= 9 and all(type(n) is int and n >= 0 for n in body[:7])
        if not ok or type(body[7]) is not bytes or type(body[8]) is not bytes:
            raise FormatError("malformed chunk", offset)
        index, codec, size = body[:3]
        if index != self.chunks or body[7] != link:
            raise ContradictionError(f"chunk {index} does not follow what is before it", offset)
        if size > CHUNK_RAW_MAX or codec not in (RAW, ZSTD):
            raise FormatError("malformed chunk", offset)
        raw = body[8]
        if codec == ZSTD:
            try:
                # A frame says its size; one that says more must not be unpacked.
                if zstandard.frame_content_size(raw) != size:
                    raise FormatError("a chunk's size is not what it says", offset)
                raw = zstandard.ZstdDecompressor().decompress(raw, allow_extra_data=False)
            except zstandard.ZstdError as error:
                raise FormatError("a chunk can't be decompressed", offset) from error
        if len(raw) != size:
            raise FormatError("a chunk's size is not what it says", offset)
        at = 0
        first: list[int] | None = None
        last: list[int] = []
        while at < size:
            if at + _ITEM.size > size:
                raise FormatError("a chunk ends inside a record", offset)
            length, kind = _ITEM.unpack_from(raw, at)
            at += _ITEM.size
            if at + length > size:
                raise FormatError("a chunk ends inside a record", offset)
            item = Stored(kind, raw[at : at + length], offset)
            at += length
            last = list(records.prefix(item.body, offset)[1:])
            first = first or last
            yield item
        if [*(first or []), *last] != body[3:7]:
            raise ContradictionError("a chunk does not hold what it says", offset)

    def _finish(self, found: Framed, link: bytes, expected: int, last_at: int) -> None:
        offset = found.offset
        body = records.unpack(found.body, offset)
        end = read_end(body, offset)
        if len(body) < 10 or body[0] != self.number or end.seq != expected or end.at < last_at:
            raise ContradictionError("the END does not follow what is before it", offset)
        if body[7:10] != [self.records, self.chunks, link]:
            raise ContradictionError("the END does not say what is in the file", offset)
        if len(body) > 10 and body[10] != self._lost:
            raise ContradictionError("the END does not say what is missing", offset)
        rest = self._window.at(found.end, TRAILER.size + 1)
        if len(rest) < TRAILER.size:
            raise FormatError("the file ends inside its trailer", found.end, torn=True)
        if rest[: TRAILER.size] != trailer(offset):
            raise FormatError("the trailer is wrong", found.end)
        if len(rest) > TRAILER.size:
            raise ContradictionError("something follows the trailer", found.end + TRAILER.size)
        self.end = end
        self.root = next_link(link, found.head + found.body)


def gap_end(item: Stored) -> int:
    """The sequence number that follows a GAP."""
    body = records.unpack(item.body, item.offset)
    if len(body) < 5 or type(body[3]) is not int or body[3] <= body[1]:
        raise FormatError("malformed GAP", item.offset)
    following: int = body[3]
    return following
