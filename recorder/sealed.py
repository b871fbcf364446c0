"""The list of sessions whose Logs are written, beside a journal's segments.

A segment can outlive others (an idle session holds it), and then has records
of sessions whose header or END went with a deleted segment. Recovery must know
that those are finished. Entries are 12 bytes: the session's number (u64) and
a CRC as in FORMAT.md; the first that does not check ends the list.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from pathlib import Path

from crc32c import crc32c

from recorder.errors import FormatError
from recorder.files import read_file
from recorder.framing import masked
from recorder.segment import fsync_directory, write_all

NAME = "sealed"
_NUMBER = struct.Struct("<Q")
_ENTRY = struct.Struct("<QI")
_MOST = 1 << 28


def note_sealed(directory: Path, numbers: Iterable[int]) -> None:
    """Add to the list, durably. Raises ``OSError``."""
    path = directory / NAME
    entries = b"".join(
        raw + struct.pack("<I", masked(crc32c(raw))) for raw in map(_NUMBER.pack, numbers)
    )
    new = not path.exists()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    try:
        size = os.fstat(fd).st_size
        try:
            write_all(fd, entries)
        except OSError:
            os.ftruncate(fd, size)  # what follows must not be out of step
            raise
        os.fdatasync(fd)
    finally:
        os.close(fd)
    if new:
        fsync_directory(directory)


def read_sealed(directory: Path) -> set[int]:
    """The list; empty when there is none."""
    try:
        raw = read_file(directory / NAME, _MOST)
    except (FileNotFoundError, FormatError):
        return set()  # what is no list has no entry that checks
    found = set()
    for number, crc in _ENTRY.iter_unpack(raw[: len(raw) // _ENTRY.size * _ENTRY.size]):
        if masked(crc32c(_NUMBER.pack(number))) != crc:
            break
        found.add(number)
    return found
