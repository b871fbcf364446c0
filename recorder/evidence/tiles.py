"""The tree on disk, in the layout of C2SP tlog-tiles.

``tile/<L>/<N>`` holds 256 hashes of level ``L`` (level 0: leaf hashes; above,
roots of tiles below), ``tile/entries/<N>`` the 256 leaves, each after its
length as a big-endian u16. The last tile of a level is partial:
``<N>.p/<W>`` holds ``W``. ``<N>`` is written in groups of three digits.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from recorder.errors import FormatError
from recorder.evidence.merkle import leaf_hash, node_hash
from recorder.files import read_file
from recorder.segment import fsync_directory, write_all

WIDTH = 256
LEVELS = 8
_LENGTH = struct.Struct(">H")
_MOST = WIDTH * (_LENGTH.size + 0xFFFF)


class TilesError(Exception):
    """A tile is missing or not of the size it must have."""


def tile_name(number: int) -> str:
    """``x001/x234/067`` for 1234067."""
    groups = [f"{number % 1000:03d}"]
    while number >= 1000:
        number //= 1000
        groups.append(f"x{number % 1000:03d}")
    return "/".join(reversed(groups))


def place(level: int | str, number: int, width: int = WIDTH) -> str:
    """The path of a tile below the ledger's directory."""
    path = f"tile/{level}/{tile_name(number)}"
    return path if width == WIDTH else f"{path}.p/{width}"


def put(path: Path, data: bytes, made: set[Path]) -> None:
    """Write a whole file under its name, durably but for the name itself: the
    directories whose names are new go into ``made``."""
    parent = path.parent
    while not parent.is_dir():
        made.add(parent.parent)
        parent = parent.parent
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    try:
        write_all(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)
    made.add(path.parent)


class Tiles:
    """Reads the tree of ``size`` leaves below ``directory``; a file that has
    meanwhile grown serves for its beginning. ``TilesError``, ``OSError``."""

    def __init__(self, directory: Path, size: int) -> None:
        self.directory = directory
        self.size = size
        self._hashes = lru_cache(64)(self._read_hashes)

    def node(self, height: int, index: int) -> bytes:
        """``merkle.Nodes`` of this tree."""
        level, above = divmod(height, 8)
        if above == 0:
            hashes = self._hashes(level, index // WIDTH)
            at = index % WIDTH * 32
            found = hashes[at : at + 32]
            if len(found) != 32:
                raise TilesError(f"there is no hash {index} of level {level}")
            return found
        return node_hash(self.node(height - 1, 2 * index), self.node(height - 1, 2 * index + 1))

    def entries(self, start: int = 0) -> Iterator[bytes]:
        """The leaves from number ``start`` (its tile is read whole)."""
        for tile in range(start // WIDTH, -(-self.size // WIDTH)):
            width = min(WIDTH, self.size - tile * WIDTH)
            raw = self._read("entries", tile, width)
            leaves = split_entries(raw)
            if len(leaves) < width:
                raise TilesError(f"{place('entries', tile, width)} holds too few leaves")
            yield from leaves[max(0, start - tile * WIDTH) : width]

    def entry(self, index: int) -> bytes:
        """One leaf."""
        if not 0 <= index < self.size:
            raise TilesError(f"there is no leaf {index}")
        return next(self.entries(index))

    def _read_hashes(self, level: int, number: int) -> bytes:
        width = min(WIDTH, (self.size >> 8 * level) - number * WIDTH)
        raw = self._read(level, number, width)
        if len(raw) < width * 32:
            raise TilesError(f"{place(level, number, width)} is too short")
        return raw

    def _read(self, level: int | str, number: int, width: int) -> bytes:
        try:
            return self._found(level, number, width)
        except FormatError as error:
            raise TilesError(f"{place(level, number, width)}: {error.reason}") from error

    def _found(self, level: int | str, number: int, width: int) -> bytes:
        if width <= 0:
            raise TilesError(f"there is no tile {number} of level {level}")
        for wide in (width, WIDTH):
            try:
                return read_file(self.directory / place(level, number, wide), _MOST)
            except FileNotFoundError:
                continue
        partial = (self.directory / place(level, number)).with_name(f"{number % 1000:03d}.p")
        try:
            wider = [int(p.name) for p in partial.iterdir() if p.name.isdecimal()]
            return read_file(partial / str(min(w for w in wider if w > width)), _MOST)
        except (OSError, ValueError) as error:
            raise TilesError(f"{place(level, number, width)} is missing") from error


def split_entries(raw: bytes) -> list[bytes]:
    """The leaves of an entries tile."""
    out = []
    at = 0
    while at < len(raw):
        if at + 2 > len(raw):
            raise TilesError("a tile of entries ends inside a length")
        (length,) = _LENGTH.unpack_from(raw, at)
        leaf = raw[at + 2 : at + 2 + length]
        if len(leaf) != length:
            raise TilesError("a tile of entries ends inside a leaf")
        out.append(leaf)
        at += 2 + length
    return out


def join_entries(leaves: Sequence[bytes]) -> bytes:
    return b"".join(_LENGTH.pack(len(leaf)) + leaf for leaf in leaves)


class Growth:
    """Adds ``leaves`` to the tree of ``size`` leaves: new tiles are written
    beside the old, so that the old tree can be read until ``forget``."""

    def __init__(self, directory: Path, size: int) -> None:
        self.directory = directory
        self.old = size
        self.size = size
        self._tails: list[bytearray] = []
        self._entries: list[bytes] = []
        before = Tiles(directory, size)
        for level in range(LEVELS):
            count = size >> 8 * level
            tail = bytearray()
            if count % WIDTH:
                number = count // WIDTH
                for index in range(number * WIDTH, count):
                    tail += before.node(8 * level, index)
            self._tails.append(tail)
        if size % WIDTH:
            self._entries = list(before.entries(size - size % WIDTH))

    def add(self, leaves: Sequence[bytes]) -> None:
        """Write the tiles, durably."""
        made: set[Path] = set()
        touched: set[int] = set()
        for leaf in leaves:
            self._entries.append(leaf)
            self._tails[0] += leaf_hash(leaf)
            self.size += 1
            touched.add(0)
            if self.size % WIDTH == 0:
                number = self.size // WIDTH - 1
                put(self.directory / place("entries", number), join_entries(self._entries), made)
                self._entries = []
                self._carry(0, number, made, touched)
        for level in sorted(touched):
            tail = self._tails[level]
            if tail:
                number = (self.size >> 8 * level) // WIDTH
                put(self.directory / place(level, number, len(tail) // 32), bytes(tail), made)
        if self._entries:
            number = self.size // WIDTH
            path = self.directory / place("entries", number, len(self._entries))
            put(path, join_entries(self._entries), made)
        for directory in made:
            fsync_directory(directory)

    def forget(self) -> None:
        """Remove partial tiles of the old tree; the new one is committed."""
        for level in ("entries", *range(LEVELS)):
            shift = 0 if level == "entries" else 8 * int(level)
            before, after = self.old >> shift, self.size >> shift
            if before % WIDTH and before != after:
                path = self.directory / place(level, before // WIDTH, before % WIDTH)
                path.unlink(missing_ok=True)

    def _carry(self, level: int, number: int, made: set[Path], touched: set[int]) -> None:
        hashes = self._tails[level]
        put(self.directory / place(level, number), bytes(hashes), made)
        above = [bytes(hashes[at : at + 32]) for at in range(0, len(hashes), 32)]
        while len(above) > 1:
            above = [node_hash(above[i], above[i + 1]) for i in range(0, len(above), 2)]
        hashes.clear()
        self._tails[level + 1] += above[0]
        touched.add(level + 1)
        if len(self._tails[level + 1]) == WIDTH * 32:
            self._carry(level + 1, number // WIDTH, made, touched)
