"""Reads journals: whole segments with their damage, or single records."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from recorder import framing
from recorder.errors import FormatError
from recorder.files import open_file
from recorder.framing import FILE_HEADER, RECORD_HEADER, Framed, Window
from recorder.segment import BALLAST, BALLAST_NUMBER, segment_path

_STEP = 1 << 18


class Damage(NamedTuple):
    """Bytes ``start`` to ``stop`` of a segment that are no records. ``tail``
    True: nothing valid follows."""

    start: int
    stop: int
    reason: str
    tail: bool


class OpenSegment:
    """A segment opened for reading. ``FormatError`` when its header is bad."""

    def __init__(self, path: Path) -> None:
        self._fd = open_file(path)
        try:
            raw = os.pread(self._fd, FILE_HEADER, 0)
            self.head = framing.read_file_header(raw, framing.SEGMENT_MAGIC)
        except BaseException:
            os.close(self._fd)
            raise
        self.seed = framing.seed_of(self.head.identity)
        self.window = Window(self.pread)

    def pread(self, size: int, offset: int) -> bytes:
        """Bytes of the file."""
        return os.pread(self._fd, size, offset)

    def size(self) -> int:
        """Bytes in the file now."""
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def records(self, salvage: bool = True) -> Iterator[Framed | Damage]:
        """Every record, and in its place every stretch that is damaged. Without ``salvage``
        nothing is looked for after the first, which is taken to be all of the rest."""
        offset = FILE_HEADER
        while True:
            try:
                found = self.window.record(offset, self.seed)
            except FormatError as error:
                again = self._resume(offset + 1) if salvage else None
                stop = self.size() if again is None else again
                yield Damage(offset, stop, error.reason, again is None)
                if again is None:
                    return
                offset = again
                continue
            if found is None:
                return
            yield found
            offset = found.end

    def _resume(self, offset: int) -> int | None:
        """The next place at or after ``offset`` with a whole valid record.
        Its header is bound to the place and to a random id, so that bytes
        which a session carried can't pass for one."""
        magic = bytes((framing.MAGIC,))
        while True:
            block = self.pread(_STEP + RECORD_HEADER - 1, offset)
            if len(block) < RECORD_HEADER:
                return None
            at = block.find(magic)
            while 0 <= at <= len(block) - RECORD_HEADER:
                raw = block[at : at + RECORD_HEADER]
                if framing.read_record_header(raw, self.seed, offset + at) is not None:
                    try:
                        if self.window.record(offset + at, self.seed) is not None:
                            return offset + at
                    except FormatError:
                        pass
                at = block.find(magic, at + 1)
            offset += max(1, len(block) - RECORD_HEADER + 1)


class Places:
    """Reads records by place (segment number << 32 | offset), keeping a few
    segments of ``directory`` open. Close it after use."""

    _KEEP = 4

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open: dict[int, OpenSegment] = {}

    def read(self, places: Iterable[int]) -> Iterator[Framed]:
        """The records at ``places``; ``FormatError`` if one is not there."""
        for place in places:
            number, offset = place >> 32, place & 0xFFFFFFFF
            segment = self._open.get(number)
            if segment is None:
                segment = self._enter(number)
            found = segment.window.record(offset, segment.seed)
            if found is None:
                raise FormatError("a remembered record is missing", offset, torn=True)
            yield found

    def close(self) -> None:
        """Close all segments."""
        for segment in self._open.values():
            segment.close()
        self._open.clear()

    def _enter(self, number: int) -> OpenSegment:
        if len(self._open) >= self._KEEP:
            self._open.pop(next(iter(self._open))).close()
        if number == BALLAST_NUMBER:
            path = self._directory / BALLAST
        else:
            path = segment_path(self._directory, number)
        self._open[number] = segment = OpenSegment(path)
        return segment
