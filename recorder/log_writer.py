"""Writes one Log file: the finished, checkable record of a session.

(FORMAT.md, section 6.) Records of the journal are taken over as they are,
gathered into chunks of 64 KiB, compressed, chained by SHA-256, and followed by
an END and a trailer. The file gets its name only once it is durable.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import zstandard
from crc32c import crc32c

from recorder import framing, records
from recorder.segment import fsync_directory, write_all
from recorder.state import keys_path

CHUNK = 64 << 10
CHUNK_RAW_MAX = (1 << 20) - 4096
RAW, ZSTD = 0, 1
TRAILER = struct.Struct("<Q4sI")
TRAILER_MAGIC = b"AGRE"
_ITEM = struct.Struct("<IB")
_DOMAIN = b"wirewarden log v1\0"


def log_identity(session: str, part: int) -> int:
    """The 64-bit id that a Log's record headers are bound to."""
    said = hashlib.sha256(b"wirewarden log file\0" + session.encode() + b"\0%d" % part).digest()
    return int.from_bytes(said[:8], "little")


def first_link(stored: bytes) -> bytes:
    """h_0: over the file header and the stored HEADER record."""
    return hashlib.sha256(_DOMAIN + stored).digest()


def next_link(link: bytes, stored: bytes) -> bytes:
    """h_i: over h_(i-1) and the stored record (its header and body)."""
    return hashlib.sha256(link + stored).digest()


def trailer(end_offset: int) -> bytes:
    """The last 16 bytes of a Log: where its END record starts."""
    head = struct.pack("<Q4s", end_offset, TRAILER_MAGIC)
    return head + struct.pack("<I", framing.masked(crc32c(head)))


def settle(paths: Iterable[Path]) -> None:
    """Make Logs durable, with their names. Cheap some seconds after they were
    written: the kernel has done it by itself. Raises ``OSError``."""
    directories: set[Path] = set()
    for path in (each for log in paths for each in (keys_path(log), log)):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # it has no keys; or somebody moved it away: theirs to look after
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        directories.update(path.parents[:4])  # day, month, year, sessions
    for directory in directories:
        if directory.is_dir():
            fsync_directory(directory)


def settle_anew(path: Path) -> None:
    """Make a Log that another process wrote durable, by a copy of it: an fsync of it may have
    failed, which is told once; the next one would succeed and mean nothing. Raises
    ``OSError``."""
    temporary = path.with_name(f".{path.name}.tmp")
    with open(path, "rb") as old, open(temporary, "wb") as new:
        shutil.copyfileobj(old, new, 1 << 20)
        new.flush()
        os.fchmod(new.fileno(), os.fstat(old.fileno()).st_mode & 0o777)
        os.fsync(new.fileno())
    os.rename(temporary, path)
    settle([path])


class LogWriter:
    """Writes the Log of ``session`` to ``path``; ``header`` is the body of
    its HEADER record in the journal. Raises ``OSError``."""

    def __init__(self, path: Path, session: str, header: bytes, part: int = 0) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        # All of them, new or not: who made one may have died before it was durable.
        self._directories = path.parents[:4]
        self._temporary = path.with_name(f".{path.name}.tmp")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._fd = os.open(self._temporary, flags, 0o640)
        identity = log_identity(session, part)
        self._seed = framing.seed_of(identity)
        self._offset = framing.FILE_HEADER
        head = framing.file_header(framing.LOG_MAGIC, part, identity)
        record = framing.frame(framing.HEADER, header, self._seed, self._offset)
        self._link = first_link(head + record)
        self._out = [head, record]
        self._out_size = len(head) + len(record)
        self._offset += len(record)
        self._compress = zstandard.ZstdCompressor(level=1, write_checksum=False)
        self._packer = records.packer()
        self._raw: list[bytes] = []
        self._raw_size = 0
        self._first = self._last = (0, 0)
        self.chunks = 0
        self.records = 0
        self.lost = 0

    def add(self, kind: int, body: bytes) -> None:
        """Take over a record of the journal."""
        size = len(body) + _ITEM.size
        if self._raw_size + size > CHUNK_RAW_MAX:
            self._close_chunk()
        _, seq, at = records.prefix(body)
        if not self._raw:
            self._first = (seq, at)
        self._last = (seq, at)
        self._raw.append(_ITEM.pack(len(body), kind))
        self._raw.append(body)
        self._raw_size += size
        self.records += 1
        if kind == framing.GAP:
            missing, following = records.unpack(body)[1:4:2]
            self.lost += following - missing
        if self._raw_size >= CHUNK:
            self._close_chunk()

    def finish(self, end: list[Any], durable: bool = True) -> bytes:
        """Write the END (its first seven elements are given), make the file
        durable, and give it its name; returns its root. ``durable`` False leaves
        it to the caller to ``settle`` the file before the journal may forget it."""
        self._close_chunk()
        told = [*end[:7], self.records, self.chunks, self._link]
        body = self._packer.pack([*told, self.lost] if self.lost else told)
        place = self._offset
        stored = framing.frame(framing.END, body, self._seed, place)
        self._put(stored)
        self._put(trailer(place))
        self._write()
        if durable:
            os.fsync(self._fd)
        os.close(self._fd)
        self._fd = -1
        os.rename(self._temporary, self._path)
        if durable:
            for directory in self._directories:
                fsync_directory(directory)
        return next_link(self._link, stored)

    def abandon(self) -> None:
        """Leave nothing behind. Idempotent; harmless after ``finish``."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._temporary.unlink(missing_ok=True)

    def _close_chunk(self) -> None:
        if not self._raw:
            return
        raw = b"".join(self._raw)
        data = self._compress.compress(raw)
        codec = ZSTD
        if len(data) * 1.05 > len(raw):
            codec, data = RAW, raw
        body = self._packer.pack(
            [self.chunks, codec, len(raw), *self._first, *self._last, self._link, data]
        )
        stored = framing.frame(framing.CHUNK, body, self._seed, self._offset)
        self._link = next_link(self._link, stored)
        self._put(stored)
        self.chunks += 1
        self._raw = []
        self._raw_size = 0

    def _put(self, stored: bytes) -> None:
        self._out.append(stored)
        self._out_size += len(stored)
        self._offset += len(stored)
        if self._out_size >= 1 << 20:
            self._write()

    def _write(self) -> None:
        data = b"".join(self._out)
        self._out = []
        self._out_size = 0
        if data:
            write_all(self._fd, data)
