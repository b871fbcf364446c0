"""What the ledger says of single sessions, proven without reading all of it.

``known.db`` beside the ledger says where a session's leaves are, and a search where epochs begin.
Neither is believed: each leaf is shown to be in the tree that its own epoch's key signed and in
the checkpoint's, and the checkpoint to be signed by the last of a chain of keys from the root.
What is not found is not shown not to be there: that takes a ``Watch``.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from functools import lru_cache
from itertools import count, islice
from pathlib import Path
from urllib.parse import quote

from recorder.errors import FormatError
from recorder.evidence import merkle
from recorder.evidence.epochs import Chain, EpochError, load_root
from recorder.evidence.leaves import Kind, Leaf, LeafError, name_for, unpack_leaf
from recorder.evidence.merkle import ProofError
from recorder.evidence.notes import NoteError, parse_checkpoint, parse_note, read_note
from recorder.evidence.tiles import WIDTH, Tiles, TilesError
from recorder.evidence.watch import Entry, LedgerFault, check_checkpoint
from recorder.files import open_file

_TROUBLE = (
    FormatError,
    EpochError,
    LeafError,
    NoteError,
    ProofError,
    TilesError,
    LedgerFault,
    ValueError,
)


class Unsure(Exception):
    """Only the whole ledger can tell."""


class Glance:
    """As a ``Watch``, of what is asked for. Raises ``Unsure`` and ``OSError``."""

    partial = True

    def __init__(self, directory: Path, trust: bytes | None = None) -> None:
        self.directory = directory
        self.trusted = trust is not None
        self.gaps: dict[str, list[tuple[int, Leaf]]] = {}
        self._tile = lru_cache(64)(self._read)
        try:
            self.chain = Chain(trust or load_root(directory / "root.pub"))
            self.raw_note = read_note(directory / "checkpoint")
            self.note = parse_note(self.raw_note)
            self.tiles = Tiles(directory, parse_checkpoint(self.note.text).size)
            for index in self._epochs(0, self.tiles.size - 1):
                leaf = unpack_leaf(self._raw(index))
                if leaf.kind is not Kind.EPOCH or leaf.number("size") != index:
                    raise Unsure("the epochs are not where they should begin")
                self.chain.add(leaf)
            self.checkpoint = check_checkpoint(self.note, self.chain)
            os.close(open_file(directory / "known.db"))  # SQLite would wait for a pipe
            path = quote(str((directory / "known.db").absolute()))
            self._known = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
            # To find one row takes a few steps: a view in the table's place has no end.
            self._known.set_progress_handler(lambda: 1, 1_000_000)
        except (*_TROUBLE, OSError, sqlite3.Error) as error:
            raise Unsure(str(error)) from error

    def entry(self, session: str) -> Entry | None:
        """Its leaves, as far as they are known. ``Unsure`` where one is not proven."""
        entry = Entry(
            start=self._leaf(Kind.START, session),
            end=self._leaf(Kind.END, session),
            deletion=self._leaf(Kind.DELETION, session),
        )
        for part in count():
            found = self._leaf(Kind.PART, session, part)
            if found is None:
                break
            entry.parts[part] = found
        self.gaps[session] = self._gaps(session)
        return entry if entry != Entry() else None

    def _gaps(self, session: str) -> list[tuple[int, Leaf]]:
        try:
            sql = "SELECT leaf FROM gaps WHERE session = ? ORDER BY leaf"
            rows = [int(row[0]) for row in self._known.execute(sql, (session,))]
            found = [(index, self._proven(index)) for index in rows if 0 <= index < self.tiles.size]
        except (*_TROUBLE, OSError, sqlite3.Error) as error:
            raise Unsure(str(error)) from error
        if any(
            leaf.kind is not Kind.GAP or leaf.fields.get("session") != session for _, leaf in found
        ):
            raise Unsure("a leaf is not what it is known for")
        return found

    def _leaf(self, kind: Kind, session: str, *more: int) -> tuple[int, Leaf] | None:
        try:
            sql = "SELECT leaf FROM known WHERE name = ?"
            row = self._known.execute(sql, (name_for(kind, session, *more),)).fetchone()
            if row is None or not 0 <= int(row[0]) < self.tiles.size:
                return None
            leaf = self._proven(int(row[0]))
        except (*_TROUBLE, OSError, sqlite3.Error) as error:
            raise Unsure(str(error)) from error
        said = [leaf.fields.get("session"), *([leaf.fields.get("part")] if more else ())]
        if leaf.kind is not kind or said != [session, *more]:
            raise Unsure("a leaf is not what it is known for")
        return int(row[0]), leaf

    def _proven(self, index: int) -> Leaf:
        raw = self._raw(index)
        leaf = unpack_leaf(raw)
        epochs = self.chain.epochs
        if leaf.epoch >= len(epochs) or index < epochs[leaf.epoch].number("size"):
            raise Unsure("a leaf lies outside its epoch")
        trees = [(self.checkpoint.size, self.checkpoint.root)]
        if leaf.epoch + 1 < len(epochs):
            after = epochs[leaf.epoch + 1]
            trees.append((after.number("size"), after.raw("root")))
        for size, root in trees:
            path = merkle.inclusion(self.tiles.node, index, size)
            merkle.check_inclusion(merkle.leaf_hash(raw), index, size, path, root)
        return leaf

    def _raw(self, index: int) -> bytes:
        return self._tile(index // WIDTH)[index % WIDTH]

    def _read(self, tile: int) -> list[bytes]:
        return list(islice(self.tiles.entries(tile * WIDTH), WIDTH))

    def _epochs(self, low: int, high: int) -> Iterator[int]:
        """The leaves at which epochs begin: numbers of epochs grow with those of leaves."""
        if low == 0 and high >= 0:
            yield 0
        if high <= low or _epoch_of(self._raw(low)) == _epoch_of(self._raw(high)):
            return
        if high == low + 1:
            yield high
            return
        middle = (low + high) // 2
        yield from (index for index in self._epochs(low, middle) if index)
        yield from (index for index in self._epochs(middle, high) if index)


def _epoch_of(raw: bytes) -> int:
    return unpack_leaf(raw).epoch
