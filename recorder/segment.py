"""The files that a journal writes to: segments, and the ballast."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from recorder import framing

SUFFIX = ".agj"
BALLAST = "ballast" + SUFFIX
BALLAST_NUMBER = 0xFFFFFFFF
_ABOVE = 3  # the deepest lie two below the state directory, which may be new itself


def segment_path(directory: Path, number: int) -> Path:
    """Where the segment ``number`` of a journal lies."""
    return directory / f"{number:08d}{SUFFIX}"


def segment_numbers(directory: Path) -> list[int]:
    """Numbers of the segments there, ascending; quarantined ones are not."""
    found = []
    for path in directory.glob("*" + SUFFIX):
        if path.stem.isdecimal() and path.stem.isascii() and len(path.stem) == 8:
            found.append(int(path.stem))
    return sorted(found)


def fsync_directory(directory: Path) -> None:
    """Make names in ``directory`` durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_directory(directory: Path, mode: int = 0o777) -> None:
    """Make ``directory`` with its parents, durably. One that is there already may be
    one that a power cut would still take away, so that its names are synced too."""
    directory.mkdir(mode, parents=True, exist_ok=True)
    for above in directory.parents[:_ABOVE]:
        try:
            fsync_directory(above)
        except PermissionError:
            return  # not ours: then we did not make it, nor what is above it


def write_all(fd: int, data: bytes) -> None:
    """One write of the whole of ``data``; ``OSError`` if less was taken."""
    if os.write(fd, data) != len(data):
        raise OSError("short write")


class Segment:
    """One file that grows. ``end`` is where the next record goes."""

    __slots__ = ("base", "end", "fd", "number", "path", "seed")

    def __init__(self, path: Path, number: int, chance: Callable[[int], bytes]) -> None:
        identity = int.from_bytes(chance(8), "little")
        self.path = path
        self.number = number
        self.base = number << 32
        self.seed = framing.seed_of(identity)
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            write_all(self.fd, framing.file_header(framing.SEGMENT_MAGIC, number, identity))
        except BaseException:
            os.close(self.fd)
            path.unlink()
            raise
        self.end = framing.FILE_HEADER


class Ballast(Segment):
    """A segment whose room was taken beforehand, so that the last words of
    open sessions can be written when the disk is full. (ext4, xfs and tmpfs
    keep that promise; copy-on-write file systems may not.)"""

    __slots__ = ("room",)

    def __init__(self, path: Path, room: int, chance: Callable[[int], bytes]) -> None:
        path.unlink(missing_ok=True)
        super().__init__(path, BALLAST_NUMBER, chance)
        self.room = room
        try:
            os.posix_fallocate(self.fd, 0, room)
        except OSError:
            os.close(self.fd)
            path.unlink()
            raise

    def append(self, kind: int, body: bytes) -> None:
        """Write a record into the room; ``OSError`` when that is used up."""
        record = framing.frame(kind, body, self.seed, self.end)
        if self.end + len(record) > self.room:
            raise OSError("the ballast is used up")
        if os.pwrite(self.fd, record, self.end) != len(record):
            raise OSError("short write")
        self.end += len(record)
