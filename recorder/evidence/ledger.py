"""Writes the ledger of one state directory: one process at a time (flock).

A batch of leaves is committed by replacing ``checkpoint``: the tiles of the
larger tree were written beside those of the old one. Leaves that were handed
over leave the inbox after that; one that is found again has its name in
``known.db`` (derived from the leaves, and filled from them) and is dropped.
So a kill at any point neither loses nor doubles a leaf.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from recorder.errors import FormatError
from recorder.evidence import epochs, merkle
from recorder.evidence.inbox import Item, read_items, waiting
from recorder.evidence.leaves import (
    DOMAIN,
    Kind,
    LeafError,
    name_of,
    pack_leaf,
    unpack_fields,
    unpack_leaf,
)
from recorder.evidence.notes import Checkpoint, Note, NoteError, parse_checkpoint, parse_note, sign
from recorder.evidence.tiles import Growth, Tiles, TilesError, put
from recorder.segment import fsync_directory, make_directory

BATCH = 4096
EPOCH_SECONDS = 3600.0
_FIELDS_AT = len(DOMAIN) + 13
_KNOWN = 1  # the version of known.db's tables; one of another version is filled anew


class LedgerError(Exception):
    """The ledger can't be written, and why."""


class BusyError(LedgerError):
    """Another process writes it."""


class Ledger:
    """Opens, or begins, the ledger in ``directory``. ``wall`` gives Unix
    nanoseconds. ``root_key`` certifies the first epoch, or the next one when
    the present epoch's key is lost; without it a first epoch's root key is
    made, used once and never stored. ``LedgerError``, ``OSError``."""

    def __init__(
        self,
        directory: Path,
        wall: Callable[[], int],
        *,
        epoch_seconds: float = EPOCH_SECONDS,
        root_key: Ed25519PrivateKey | None = None,
    ) -> None:
        self.directory = directory
        self.inbox = directory / "inbox"
        self._wall = wall
        self._epoch_seconds = epoch_seconds
        make_directory(directory, 0o700)
        make_directory(self.inbox)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._lock = os.open(directory / "lock", flags, 0o640)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise BusyError(f"another process writes to {directory}") from error
        try:
            self.began = not (directory / "checkpoint").exists()
            if self.began:
                self._begin(root_key)
            self._open(root_key)
        except BaseException as error:
            os.close(self._lock)
            if isinstance(error, (NoteError, LeafError, TilesError, sqlite3.Error, ValueError)):
                raise LedgerError(f"the ledger can't be used: {error}") from error
            raise

    # ---- what is there ---------------------------------------------------

    def _begin(self, root_key: Ed25519PrivateKey | None) -> None:
        root = root_key or Ed25519PrivateKey.generate()
        public = root.public_key().public_bytes_raw()
        put(self.directory / "root.pub", epochs.root_text(public).encode(), set())
        self._stable = epochs.new_key(self.directory / "keys" / "log.key")
        self.origin = epochs.origin_of(public)
        self.at = 0
        self.checkpoint = Checkpoint(self.origin, 0, merkle.EMPTY, 0, 0)
        self._new_epoch(0, epochs.BY_ROOT, root)

    def _open(self, root_key: Ed25519PrivateKey | None) -> None:
        public = epochs.load_root(self.directory / "root.pub")
        self.origin = epochs.origin_of(public)
        self.note = parse_note((self.directory / "checkpoint").read_bytes())
        self.checkpoint = parse_checkpoint(self.note.text)
        self._stable = epochs.read_key(self.directory / "keys" / "log.key")
        self.at = self.checkpoint.at
        tiles = Tiles(self.directory, self.checkpoint.size)
        if merkle.root(tiles.node, self.checkpoint.size) != self.checkpoint.root:
            raise LedgerError("the ledger's tiles are not those of its checkpoint")
        self._open_known(tiles)
        number = self.checkpoint.epoch
        try:
            self._key = epochs.read_key(epochs.key_path(self.directory, number))
        except (OSError, ValueError) as error:
            if root_key is None:
                text = f"the key of epoch {number} is lost; the root key can certify a new one"
                raise LedgerError(text) from error
            if root_key.public_key().public_bytes_raw() != public:
                raise LedgerError("that is not this ledger's root key") from error
            self._new_epoch(number + 1, epochs.BY_ROOT, root_key)
        epochs.erase_others(self.directory, self.checkpoint.epoch)
        self._epoch_began = self.checkpoint.at

    def _open_known(self, tiles: Tiles) -> None:
        """It is derived: one that is damaged is made anew."""
        path = self.directory / "known.db"
        for last in (False, True):
            self._known = sqlite3.connect(path, check_same_thread=False)
            try:
                self._known.execute("PRAGMA journal_mode=WAL")
                # A power cut may take the latest of it, which is filled in again, but
                # must not leave a part of it: then a leaf could be put in twice.
                self._known.execute("PRAGMA synchronous=NORMAL")
                self._known.execute(
                    "CREATE TABLE IF NOT EXISTS known (name BLOB PRIMARY KEY, leaf INTEGER)"
                )
                self._known.execute(
                    "CREATE TABLE IF NOT EXISTS gaps (session TEXT, leaf INTEGER PRIMARY KEY)"
                )
                self._known.execute("CREATE INDEX IF NOT EXISTS gap ON gaps (session)")
                self._known.execute("CREATE TABLE IF NOT EXISTS filled (root TEXT, size INTEGER)")
                self._fill(tiles)
                return
            except (sqlite3.DatabaseError, TypeError, ValueError):
                self._known.close()
                if last:
                    raise
                for suffix in ("", "-wal", "-shm"):
                    path.with_name(path.name + suffix).unlink(missing_ok=True)

    def _fill(self, tiles: Tiles) -> None:
        row = self._known.execute("SELECT root, size FROM filled").fetchone()
        size = 0 if row is None else int(row[1])
        (version,) = self._known.execute("PRAGMA user_version").fetchone()
        known = size <= tiles.size and row is not None and version == _KNOWN
        if known and row[0] != merkle.root(tiles.node, size).hex():
            known = False
        if not known:
            self._known.execute("DELETE FROM known")
            self._known.execute("DELETE FROM gaps")
            self._known.execute(f"PRAGMA user_version={_KNOWN}")
            size = 0
        names, gaps = [], []
        for index, raw in enumerate(tiles.entries(size), size):
            leaf = unpack_leaf(raw)
            name = name_of(leaf.kind, raw[_FIELDS_AT:])
            if name is not None:
                names.append((name, index))
            if leaf.kind is Kind.GAP:
                gaps.append((leaf.text("session"), index))
        self._note_known(names, gaps)

    def _note_known(
        self, names: Iterable[tuple[bytes, int]], gaps: Iterable[tuple[str, int]]
    ) -> None:
        with self._known:
            self._known.executemany("INSERT OR IGNORE INTO known VALUES (?, ?)", names)
            self._known.executemany("INSERT OR IGNORE INTO gaps VALUES (?, ?)", gaps)
            self._known.execute("DELETE FROM filled")
            said = (self.checkpoint.root.hex(), self.checkpoint.size)
            self._known.execute("INSERT INTO filled VALUES (?, ?)", said)

    def _is_known(self, name: bytes) -> bool:
        found = self._known.execute("SELECT 1 FROM known WHERE name = ?", (name,))
        return found.fetchone() is not None

    # ---- writing -----------------------------------------------------------

    def append(self, items: Iterable[Item]) -> int:
        """Put leaves in that are not there yet, and commit; how many."""
        fresh: list[Item] = []
        names: dict[bytes, int] = {}
        gaps: list[tuple[str, int]] = []
        for kind, fields in items:
            name, index = name_of(kind, fields), self.checkpoint.size + len(fresh)
            if name is not None:
                if name in names or self._is_known(name):
                    continue
                names[name] = index
            if kind is Kind.GAP:
                gaps.append((str(unpack_fields(kind, fields)["session"]), index))
            fresh.append((kind, fields))
        if fresh:
            self._commit(fresh, self.checkpoint.epoch, self._key)
            self._note_known(names.items(), gaps)
        return len(fresh)

    def heartbeat(self) -> None:
        """A leaf that says that nothing else happened."""
        self.append([(Kind.HEARTBEAT, b"")])

    def take_inbox(self) -> tuple[int, list[str]]:
        """Put in what waits; how many leaves, and what could not be read (it is
        set aside as ``.bad``)."""
        count, faults = 0, []
        files = waiting(self.inbox)
        while files:
            items: list[Item] = []
            taken = []
            while files and len(items) < BATCH:
                path = files.pop(0)
                try:
                    items += read_items(path)
                    taken.append(path)
                except FormatError as error:
                    os.rename(path, path.with_name(path.name + ".bad"))
                    faults.append(str(error))
            count += self.append(items)
            for path in taken:
                path.unlink(missing_ok=True)
        return count, faults

    def rotate_if_due(self) -> bool:
        """Begin a new epoch when the present one is old enough."""
        now = self._wall()
        # Where the clock went back, its age counts from there: a key that was made
        # while the clock was a year ahead must not sign for a year.
        self._epoch_began = min(self._epoch_began, now)
        if now - self._epoch_began < self._epoch_seconds * 1e9:
            return False
        self.rotate()
        return True

    def rotate(self) -> None:
        """Begin a new epoch; the old private key is erased."""
        self._new_epoch(self.checkpoint.epoch + 1, epochs.BY_PREVIOUS, self._key)
        epochs.erase_others(self.directory, self.checkpoint.epoch)

    def proof_from(self, old: int) -> list[bytes]:
        """A consistency proof from the tree of ``old`` leaves to this one."""
        tiles = Tiles(self.directory, self.checkpoint.size)
        return merkle.consistency(tiles.node, old, self.checkpoint.size)

    def close(self) -> None:
        """Release the directory. Idempotent."""
        if self._lock >= 0:
            with contextlib.suppress(sqlite3.Error):
                self._known.close()
            os.close(self._lock)
            self._lock = -1

    def _new_epoch(self, number: int, by: int, signer: Ed25519PrivateKey) -> None:
        key = epochs.new_key(epochs.key_path(self.directory, number))
        public = key.public_key().public_bytes_raw()
        before = self.checkpoint
        fields = epochs.certificate(
            self.origin, number, public, before.size, before.root, by, signer
        )
        self._commit([(Kind.EPOCH, fields)], number, key)
        self._key = key
        self._epoch_began = self.at

    def _commit(self, items: list[Item], epoch: int, key: Ed25519PrivateKey) -> None:
        at = max(self._wall(), self.at)  # a wall clock that goes back stands still here
        leaves = [pack_leaf(kind, epoch, at, fields) for kind, fields in items]
        growth = Growth(self.directory, self.checkpoint.size)
        growth.add(leaves)
        tiles = Tiles(self.directory, growth.size)
        root = merkle.root(tiles.node, growth.size)
        checkpoint = Checkpoint(self.origin, growth.size, root, epoch, at)
        text = checkpoint.text()
        name = epochs.epoch_name(self.origin)
        note = Note(text, (sign(text, name, key), sign(text, self.origin, self._stable)))
        made: set[Path] = set()
        put(self.directory / "checkpoint", note.encoded(), made)
        fsync_directory(self.directory)
        self.checkpoint, self.note, self.at = checkpoint, note, at
        growth.forget()
