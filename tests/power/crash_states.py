"""What a power cut may leave of a disk, at any moment of its log.

The rule is POSIX's, with nothing that a given file system gives on top: a file has what
was written before its last fsync, a directory the names that were made before its own
last fsync; of all that came after, each sector of 512 bytes, each change of a size and
each name may or may not be there, in any order. A rename is whole or not there.
"""

from __future__ import annotations

import marshal
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SECTOR = 512
WAYS = ("nothing", "order", "scatter", "names", "sizes", "data", "all")
"""Of what was not synced: nothing; a beginning, the last write of it torn; any part;
every name and no data; every name and size, with zeros for data; every write of files
whose names are kept, and no new name; everything."""


def log_entries(path: Path) -> Iterator[tuple[Any, ...]]:
    """The disk's log, oldest first."""
    with open(path, "rb") as file:
        while True:
            try:
                yield marshal.load(file)
            except EOFError:
                return


class _File:
    __slots__ = ("durable", "pending")

    def __init__(self) -> None:
        self.durable = bytearray()
        self.pending: list[tuple[Any, ...]] = []  # (order, offset, bytes), or (order, size)

    def sync(self) -> None:
        for change in self.pending:
            _apply(self.durable, change)
        self.pending.clear()


def _apply(data: bytearray, change: tuple[Any, ...]) -> None:
    if len(change) == 2:
        _resize(data, change[1])
    else:
        _, offset, raw = change
        if offset > len(data):
            _resize(data, offset)
        data[offset : offset + len(raw)] = raw


def _resize(data: bytearray, size: int) -> None:
    if size < len(data):
        del data[size:]
    else:
        data.extend(bytes(size - len(data)))


Name = tuple[int, bytes, int]  # directory, name, node (0: no longer there)


class CrashDisk:
    """Takes the log's entries one by one; ``after_cut`` may be asked at any time."""

    def __init__(self) -> None:
        self.files: dict[int, _File] = {}
        self.names: dict[int, dict[bytes, int]] = {1: {}}
        self.pending: list[tuple[int, tuple[Name, ...]]] = []
        self.order = 0
        self.at = 0

    def take(self, entry: tuple[Any, ...]) -> None:
        self.at, what, *rest = entry
        self.order += 1
        match what, rest:
            case "make", (node, directory, name, is_directory):
                if is_directory:
                    self.names[node] = {}
                else:
                    self.files[node] = _File()
                self._name((directory, name, node))
            case "name", (node, directory, name):
                self._name((directory, name, node))
            case "gone", (directory, name):
                self._name((directory, name, 0))
            case "rename", (old, name, new, other, node):
                self._name((old, name, 0), (new, other, node))
            case "write", (node, offset, raw):
                self.files[node].pending.append((self.order, offset, raw))
            case "size", (node, size):
                self.files[node].pending.append((self.order, size))
            case "room", (node, size):
                # The room is there only when the size is; a file never shrinks by it.
                self.files[node].pending.append((self.order, size))
            case "sync", (node,):
                self.files[node].sync()
            case "lost", (node,):
                self.files[node].pending.clear()
            case "sync-names", (directory,):
                mine = [c for c in self.pending if any(n[0] == directory for n in c[1])]
                self.pending = [c for c in self.pending if c not in mine]
                for _, change in mine:
                    for where, name, node in change:
                        _enter(self.names[where], name, node)
            case _:
                raise ValueError(f"unknown entry {what}")

    def _name(self, *names: Name) -> None:
        self.pending.append((self.order, names))

    def after_cut(self, rng: random.Random, how: str, target: Path) -> None:
        """Write the disk as it may be found into ``target`` (which must be new)."""
        names = {node: dict(entries) for node, entries in self.names.items()}
        until = self._until(rng) if how == "order" else 0
        odds = rng.choice((0.1, 0.5, 0.9))
        for order, change in self.pending:
            keep = {
                "nothing": False, "data": False, "order": order < until,
                "scatter": rng.random() < odds,
            }.get(how, True)  # fmt: skip
            if keep:
                for where, name, node in change:
                    _enter(names[where], name, node)
        contents = {
            node: _content(file, rng, how, until, odds) for node, file in self.files.items()
        }
        target.mkdir(mode=0o700)
        self._write(1, target, names, contents)

    def _until(self, rng: random.Random) -> int:
        orders = [order for order, _ in self.pending]
        for file in self.files.values():
            orders += [change[0] for change in file.pending]
        return rng.choice(orders) if orders else 0

    def _write(
        self, node: int, where: Path, names: dict[int, dict[bytes, int]], contents: dict[int, bytes]
    ) -> None:
        for name, found in names[node].items():
            path = where / name.decode("utf-8", "surrogateescape")
            if found in names:
                path.mkdir(mode=0o700)
                self._write(found, path, names, contents)
            else:
                path.write_bytes(contents[found])
                path.chmod(0o600)


def _enter(entries: dict[bytes, int], name: bytes, node: int) -> None:
    if node:
        entries[name] = node
    else:
        entries.pop(name, None)


def _content(file: _File, rng: random.Random, how: str, until: int, odds: float) -> bytes:
    if not file.pending or how in ("nothing", "names"):
        return bytes(file.durable)
    data = bytearray(file.durable)
    for change in file.pending:
        if how in ("data", "all"):
            _apply(data, change)
        elif how == "sizes":
            size = change[1] if len(change) == 2 else change[1] + len(change[2])
            if len(change) == 2 or size > len(data):
                _resize(data, size)
        elif how == "order":
            if change[0] < until:
                _apply(data, change)
            elif change[0] == until and len(change) == 3:
                cut = rng.randrange(len(change[2]) // SECTOR + 1) * SECTOR
                _apply(data, (change[0], change[1], change[2][:cut]))
        elif how == "scatter":
            _scatter(data, change, rng, odds)
    return bytes(data)


def _scatter(data: bytearray, change: tuple[Any, ...], rng: random.Random, odds: float) -> None:
    if len(change) == 2:
        if rng.random() < odds:
            _apply(data, change)
        return
    order, offset, raw = change
    at = 0
    while at < len(raw):
        stop = min(len(raw), at + SECTOR - (offset + at) % SECTOR)
        if rng.random() < odds:
            _apply(data, (order, offset + at, raw[at:stop]))
        at = stop
