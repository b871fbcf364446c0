"""What an index keeps of a Log: a row, marks, and pages of its items."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import zstandard

from recorder import records
from recorder.away import stat_of
from recorder.catalog import Line, describe, row_of_damaged
from recorder.errors import FormatError
from recorder.index.grams import folded
from recorder.index.items import Item, items, unpacked
from recorder.index.wanted import approval_names, marks_of, verdict_word
from recorder.log_reader import LogFile
from recorder.parted import PartedLog, log_of
from recorder.records import CommandEntry
from recorder.state import part_of, part_path

PAGE_ITEMS = 64
_PAGE_TEXT = 1 << 18
_UNPACKED_MAX = 64 << 20  # a page has 64 items, none of which is above a record's 1 MiB
_packer = records.packer()
_compress = zstandard.ZstdCompressor(level=3, write_checksum=True)


class DamagedIndex(Exception):
    """What an index holds is not what was put there."""


class Stamp(NamedTuple):
    """By which a file is known to be the one that was read."""

    inode: int
    size: int
    mtime: int


class Page(NamedTuple):
    """Items of one session that follow each other. ``text`` is what can be
    searched, ``verdicts`` has a bit per verdict."""

    first: int
    verdicts: int
    body: bytes
    text: str


@dataclass
class Facts:
    """A session's row. ``broken`` is why its items could not all be read, ``torn``
    whether it merely ends too early; ``marks`` are complete once the pages were read."""

    line: Line
    broken: str = ""
    torn: bool = False
    marks: set[tuple[str, str]] = field(default_factory=set)

    def packed(self) -> bytes:
        """As it is stored; ``facts_of`` is the way back. Without its path."""
        fields = {**self.line.as_dict(), "path": ""}
        return _compress.compress(_packer.pack([fields, self.broken, self.torn]))


def facts_of(body: bytes, path: Path) -> Facts:
    """What was packed. Raises ``DamagedIndex``."""
    try:
        fields, broken, torn = _unpack(body)
        fields["groups"] = tuple(fields["groups"])
        return Facts(Line(**{**fields, "path": str(path)}), broken, torn)
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedIndex(f"a session's row can't be read: {error}") from None


def items_of(body: bytes) -> list[Item]:
    """The items of a page. Raises ``DamagedIndex``."""
    try:
        return [unpacked(raw) for raw in _unpack(body)]
    except (ValueError, TypeError, IndexError) as error:
        raise DamagedIndex(f"a page can't be read: {error}") from None


def text_of(found: Iterable[Item]) -> str:
    """What can be searched of them."""
    return folded("\n".join(dict.fromkeys(text for item in found for text in item.texts())))


def _unpack(body: bytes) -> Any:
    try:
        # A frame says its size; what says more than a page can have must not be unpacked.
        if not 0 <= zstandard.frame_content_size(body) <= _UNPACKED_MAX:
            raise DamagedIndex("its bytes are damaged: they say that they are too many")
        raw = zstandard.ZstdDecompressor().decompress(body)
        return records.unpack(raw)
    except (zstandard.ZstdError, FormatError) as error:
        raise DamagedIndex(f"its bytes are damaged: {error}") from None


def stamp_of(path: Path) -> Stamp:
    """The file as it is now; of a session in parts the last one's inode and time, and the size
    of all. Raises ``OSError``."""
    found = stat_of(path)
    size, part = found.size, 1
    while part_of(path) == 0:
        try:
            found = stat_of(part_path(path, part))
        except FileNotFoundError:
            break
        size, part = size + found.size, part + 1
    return Stamp(found.inode, size, found.mtime)


class Content:
    """A Log, read for an index: ``facts``, then ``pages`` once. ``OSError`` where the
    file can't be opened; one that is damaged has a row that says so."""

    def __init__(self, path: Path) -> None:
        self.stamp = stamp_of(path)
        self._log: LogFile | PartedLog | None = None
        try:
            self._log = log_of(path)
            line = describe(self._log)
        except FormatError as error:
            self.facts = Facts(row_of_damaged(path, error), str(error), error.torn)
        except (ValueError, OverflowError) as error:
            self.facts = Facts(row_of_damaged(path, FormatError("its header can't be shown", 0)))
            self.facts.broken = str(error)
        else:
            self.facts = Facts(line)
        self.facts.marks.update(marks_of(self.facts.line))

    def pages(self) -> Iterator[Page]:
        """All of its items. A second call finds none."""
        log, self._log = self._log, None
        if log is None:
            return
        found: list[Item] = []
        size = 0
        try:
            for item in items(log, self.facts.line.protocol):
                found.append(item)
                size += sum(map(len, item.texts()))
                if len(found) == PAGE_ITEMS or size >= _PAGE_TEXT:
                    yield self._page(found)
                    found, size = [], 0
        except FormatError as error:
            self.facts.broken, self.facts.torn = str(error), error.torn
        finally:
            log.close()
        if found:
            yield self._page(found)

    def _page(self, found: list[Item]) -> Page:
        verdicts = 0
        marks = self.facts.marks
        for item in found:
            if isinstance(item.entry, CommandEntry):
                verdicts |= 1 << min(item.entry.verdict, 31)
                marks.add(("verdict", verdict_word(item.entry.verdict)))
                marks.update(("rule", rule) for rule in item.entry.rules)
            else:
                marks.update(("approval", name) for name in approval_names(item))
        body = _compress.compress(_packer.pack([item.packed() for item in found]))
        return Page(found[0].place, verdicts, body, text_of(found))
