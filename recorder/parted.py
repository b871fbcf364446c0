"""A session's Log that is in parts, read as one (FORMAT.md, section 6.1)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from recorder.away import SUFFIX as AWAY
from recorder.away import stat_of, there
from recorder.errors import ContradictionError, FormatError
from recorder.framing import FILE_HEADER
from recorder.log_reader import End, LogFile, Stored
from recorder.state import LOG_SUFFIX, part_of, session_of

_NAME_AT = 12  # where a file header says the part's number


def open_part(path: Path) -> LogFile:
    """One file. ``ContradictionError`` where it is not the part that its name says."""
    log = LogFile(path)
    if session_of(path) == log.header["session"] and part_of(path) not in (None, log.part):
        log.close()
        raise ContradictionError("it lies under the name of another part", _NAME_AT)
    return log


def log_of(path: Path) -> LogFile | PartedLog:
    """What lies at ``path``: the whole session where it has the plain name of one, one part
    where the name says a number. ``FormatError``, ``OSError``."""
    log = open_part(path)
    if log.part == 0 and part_of(path) in (None, 0):
        end = log.peek_end()
        if end is not None and end.status == "continued":
            return PartedLog(path, log)
    return log


def unfinished(path: Path) -> bool:
    """Whether the Log at ``path`` is good so far, and its last part says that another follows."""
    try:
        log = log_of(path)
    except (FormatError, OSError):
        return False
    try:
        return isinstance(log, PartedLog) and log.peek_end() is None
    finally:
        log.close()


def parts_at(path: Path) -> dict[int, Path]:
    """The parts of the session at ``path``, or that ``path`` is one of, by number; also those
    that are away."""
    found = {}
    start = session_of(path) + "."
    with os.scandir(path.parent) as entries:
        for entry in entries:
            if entry.name.startswith(start):
                name = entry.name.removesuffix(AWAY)
                part = part_of(path.with_name(name))
                if part is not None:
                    found[part] = path.with_name(name)
    return dict(sorted(found.items()))


def later_parts(path: Path) -> tuple[int, ...]:
    """The numbers of parts that lie beside the Log at ``path``, without its own. To ask this of
    every Log of a day reads that folder once."""
    found = _later(path.parent, path.parent.stat().st_mtime_ns)
    return found.get(session_of(path), ())


@lru_cache(4)
def _later(folder: Path, mtime: int) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            name = folder / entry.name.removesuffix(AWAY)
            part = part_of(name) if ".p" in entry.name else None
            if part:
                session = session_of(name)
                found[session] = (*found.get(session, ()), part)
    return found


def files_of(path: Path) -> list[Path]:
    """The files of the session whose Log is at ``path``; only that one if it is not in parts."""
    if not path.name.endswith(LOG_SUFFIX) or part_of(path) != 0:
        return [path]
    return [*parts_at(path).values()] or [path]


def check_join(before: LogFile, log: LogFile) -> None:
    """``ContradictionError`` unless ``log`` is what follows ``before``, which was read through."""
    end = before.end
    if end is None or end.status != "continued":
        raise ContradictionError("a part follows the end of the session", 0)
    said = log.header
    for name in ("session", "wall"):
        if said[name] != before.header[name]:
            raise ContradictionError("it is a part of another session", FILE_HEADER)
    good = said.get("part") == log.part == before.part + 1 and log.number == before.number
    good = good and log.seq == end.seq and log.at >= end.at
    if not good or said.get("counts") != list(end.counts) or said.get("previous") != before.root:
        raise ContradictionError("it does not follow the part before it", FILE_HEADER)


class PartedLog:
    """The surface of a ``LogFile``, over all parts that lie beside the first. A part that is
    missing is a ``FormatError`` (torn) where it should begin; each error's ``part`` is the
    number of the part that it is in. Opens one file at a time, beside the first."""

    live = False
    part = 0

    def __init__(self, path: Path, first: LogFile) -> None:
        self.path = path
        self.parts = parts_at(path) if part_of(path) == 0 else {0: path}
        self.header = first.header
        self.header_body = first.header_body
        self.end: End | None = None
        self.root = b""
        self.roots: list[bytes] = []
        """Of the parts that were read through."""
        self.records = 0
        self.chunks = 0
        self._first = first

    def close(self) -> None:
        """Close the first."""
        self._first.close()

    def again(self) -> PartedLog:
        """A second reader of the same session, with a place of its own. Close it, too."""
        other = PartedLog.__new__(PartedLog)
        other.__dict__.update(self.__dict__)
        other.end, other.root, other.roots = None, b"", []
        other.records = other.chunks = 0
        other._first = self._first.again()
        return other

    def size(self) -> int:
        """Bytes in its files."""
        return sum(stat_of(path).size for path in self.parts.values() if there(path))

    def peek_end(self) -> End | None:
        """The END of the last part, unless that says that there is another."""
        return self.peek_root()[0]

    def peek_root(self) -> tuple[End | None, bytes]:
        """As of a ``LogFile``: the last part's."""
        end, root = self._peek_last()
        return (None, b"") if end is None or end.status == "continued" else (end, root)

    @property
    def summary(self) -> dict[str, Any]:
        """What is known of who and where, though the session's end is not here."""
        end = self._peek_last()[0]
        return {} if end is None else end.summary

    def _peek_last(self) -> tuple[End | None, bytes]:
        try:
            log = open_part(self.parts[max(self.parts)])
        except (FormatError, FileNotFoundError):
            return None, b""
        try:
            return log.peek_root()
        finally:
            log.close()

    def logs(self) -> Iterator[LogFile]:
        """Each part, to be read through before the next is asked for."""
        self.end, self.root, self.roots = None, b"", []
        self.records = self.chunks = 0
        before: LogFile | None = None
        try:
            for expected, (number, path) in enumerate(self.parts.items()):
                if number != expected:
                    break
                log = self._first.again() if number == 0 else open_part(path)
                try:
                    if before is not None:
                        check_join(before, log)
                        before.close()
                except BaseException:
                    log.close()
                    raise
                before = log
                yield log
                self.roots.append(log.root)
            missing = len(self.roots)
            if before is None or before.end is None:
                return
            if before.end.status == "continued":
                error = FormatError("the part that follows is missing", 0, torn=True)
                error.part = missing
                raise error
            if len(self.parts) > missing:
                stray = ContradictionError("a part follows the end of the session", 0)
                stray.part = max(self.parts)
                raise stray
            self.end, self.root = before.end, before.root
        except FormatError as error:
            error.part = error.part or len(self.roots)
            raise
        finally:
            if before is not None:
                before.close()

    def stored(self) -> Iterator[Stored]:
        """Every DATA and GAP record, in order."""
        for log in self.logs():
            try:
                for item in log.stored():
                    self.records += 1
                    yield item
                self.chunks += log.chunks
            except FormatError as error:
                error.part = log.part
                raise
