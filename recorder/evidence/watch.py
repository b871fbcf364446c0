"""Reads the ledger and checks all of it: leaves, tree, epochs, checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from recorder.evidence import merkle
from recorder.evidence.epochs import Chain, EpochError, epoch_name, load_root
from recorder.evidence.leaves import Kind, Leaf, LeafError, unpack_leaf
from recorder.evidence.notes import (
    Checkpoint,
    Note,
    NoteError,
    parse_checkpoint,
    parse_note,
    read_note,
    verified,
)
from recorder.evidence.tiles import Tiles, TilesError

SILENCE = 600_000_000_000
"""Nanoseconds without a leaf that are worth telling: ten heartbeats, unless told otherwise."""


class LedgerFault(Exception):
    """What is wrong with the ledger. ``status`` is that of a verdict, ``leaf``
    the number of the first leaf that is not good, where that is known."""

    def __init__(self, status: str, reason: str, leaf: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.leaf = leaf


@dataclass
class Entry:
    """What the ledger says of one session; numbers of leaves, and leaves."""

    start: tuple[int, Leaf] | None = None
    end: tuple[int, Leaf] | None = None
    deletion: tuple[int, Leaf] | None = None
    parts: dict[int, tuple[int, Leaf]] = field(default_factory=dict)


class Accumulator:
    """The root of a tree that grows leaf by leaf."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[tuple[int, bytes]] = []

    def add(self, leaf: bytes) -> None:
        height, found = 0, leaf
        while self._peaks and self._peaks[-1][0] == height:
            found = merkle.node_hash(self._peaks.pop()[1], found)
            height += 1
        self._peaks.append((height, found))
        self.size += 1

    def root(self) -> bytes:
        if not self._peaks:
            return merkle.EMPTY
        found = self._peaks[-1][1]
        for _, peak in reversed(self._peaks[:-1]):
            found = merkle.node_hash(peak, found)
        return found


def check_checkpoint(note: Note, chain: Chain) -> Checkpoint:
    """The checkpoint of a note that the right epoch signs; ``LedgerFault``."""
    try:
        checkpoint = parse_checkpoint(note.text)
        if checkpoint.origin != chain.origin:
            raise LedgerFault("UNKNOWN-KEY", f"a checkpoint of another ledger, {checkpoint.origin}")
        number = chain.at_size(checkpoint.size)
        if checkpoint.epoch != number:
            text = f"a checkpoint of {checkpoint.size} leaves by epoch {checkpoint.epoch}"
            raise LedgerFault("TAMPERED", f"{text} where it is epoch {number}'s to sign")
        if not verified(note, epoch_name(chain.origin), chain.public(number)):
            raise LedgerFault("TAMPERED", "a checkpoint is not signed by its epoch's key")
    except (NoteError, EpochError) as error:
        raise LedgerFault("TAMPERED", f"the checkpoint is not good: {error}") from error
    return checkpoint


class Watch:
    """The ledger in ``directory``, checked on opening. ``trust`` is the root's
    public key; without it that which lies beside the ledger is believed, and
    ``trusted`` is False. Raises ``LedgerFault``, ``OSError``."""

    partial = False
    """Whether only some of the leaves were read."""

    def __init__(self, directory: Path, trust: bytes | None = None, deep: bool = False) -> None:
        self.directory = directory
        self.trusted = trust is not None
        self.sessions: dict[str, Entry] = {}
        self.gaps: dict[str, list[tuple[int, Leaf]]] = {}
        """What is lost, by session ("": of nobody knows whom): records, or erased originals."""
        self.silences: list[tuple[int, int]] = []
        """Leaves before which there was none for long, and how long (ns): no gateway ran, or
        somebody took out what it said."""
        self.leaves = 0
        self.roots: dict[int, bytes] = {0: merkle.EMPTY}
        """Of the trees that epochs began after, and the last one."""
        try:
            self.chain = Chain(trust or load_root(directory / "root.pub"))
            self.raw_note = read_note(directory / "checkpoint")
            self.note = parse_note(self.raw_note)
            said = parse_checkpoint(self.note.text)
        except FileNotFoundError as error:
            text = f"the ledger lacks {Path(str(error.filename)).name}"
            raise LedgerFault("TAMPERED", text) from error
        except (NoteError, ValueError) as error:
            raise LedgerFault("TAMPERED", f"the ledger's checkpoint: {error}") from error
        if said.origin != self.chain.origin:
            raise LedgerFault("UNKNOWN-KEY", f"the ledger is {said.origin}, not the trusted one")
        self.tiles = Tiles(directory, said.size)
        self._walk(said.size, deep)
        self.checkpoint = check_checkpoint(self.note, self.chain)
        if self.checkpoint.root != self.roots[said.size]:
            raise LedgerFault("TAMPERED", "the leaves are not those of the signed checkpoint")
        if self.checkpoint.at < self._at:
            raise LedgerFault("TAMPERED", "the checkpoint is older than its last leaf")

    def entry(self, session: str) -> Entry | None:
        """What it says of a session, None if nothing."""
        return self.sessions.get(session)

    def _walk(self, size: int, deep: bool) -> None:
        tree = Accumulator()
        self._at = 0
        index = 0
        try:
            for index, raw in enumerate(self.tiles.entries()):
                leaf = unpack_leaf(raw)
                if leaf.at < self._at:
                    raise LedgerFault("TAMPERED", "a leaf is older than the one before it", index)
                if leaf.kind is Kind.EPOCH:
                    if leaf.number("size") != index or leaf.raw("root") != tree.root():
                        text = "the leaves before an epoch are not those that its key began after"
                        raise LedgerFault("TAMPERED", text, index)
                    self.chain.add(leaf)
                    self.roots[index] = leaf.raw("root")
                elif leaf.epoch != len(self.chain.epochs) - 1:
                    text = f"a leaf of epoch {leaf.epoch} in epoch {len(self.chain.epochs) - 1}"
                    raise LedgerFault("TAMPERED", text, index)
                if index and leaf.at - self._at > SILENCE:
                    self.silences.append((index, leaf.at - self._at))
                self._at = leaf.at
                hashed = merkle.leaf_hash(raw)
                tree.add(hashed)
                if deep and self.tiles.node(0, index) != hashed:
                    raise LedgerFault("TAMPERED", "a tile does not hold this leaf's hash", index)
                self._note(index, leaf)
            self.leaves = tree.size
            self.roots[size] = tree.root()
            if deep and merkle.root(self.tiles.node, size) != tree.root():
                raise LedgerFault("TAMPERED", "the tiles of hashes are not those of the leaves")
        except EpochError as error:
            raise LedgerFault("TAMPERED", str(error), index) from error
        except (LeafError, TilesError) as error:
            raise LedgerFault("TAMPERED", f"the ledger's leaves: {error}", index) from error

    def _note(self, index: int, leaf: Leaf) -> None:
        if leaf.kind is Kind.GAP:
            self.gaps.setdefault(leaf.text("session"), []).append((index, leaf))
        if "session" not in leaf.fields or leaf.kind is Kind.GAP:
            return
        entry = self.sessions.setdefault(leaf.text("session"), Entry())
        doubled = LedgerFault("TAMPERED", "a session's leaf is there twice", index)
        if leaf.kind is Kind.PART:
            if leaf.number("part") in entry.parts:
                raise doubled
            entry.parts[leaf.number("part")] = (index, leaf)
            return
        name = {Kind.START: "start", Kind.END: "end", Kind.DELETION: "deletion"}[leaf.kind]
        if getattr(entry, name) is not None:
            raise doubled
        setattr(entry, name, (index, leaf))
