"""The ledger on disk: its layout, its epochs, and kills at every step."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from recorder.evidence import epochs, merkle, tiles
from recorder.evidence import ledger as ledgers
from recorder.evidence.inbox import end_leaf, hand_over, policy_leaf, start_leaf, waiting
from recorder.evidence.leaves import Kind, unpack_leaf
from recorder.evidence.ledger import BusyError, Ledger, LedgerError
from recorder.evidence.notes import parse_note, parse_verifier_key, verified
from recorder.evidence.tiles import Tiles, place, split_entries
from recorder.evidence.watch import LedgerFault, Watch

SECOND = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 1_790_000_000 * SECOND

    def __call__(self) -> int:
        self.now += SECOND
        return self.now


def starts(first: int, count: int) -> list[Any]:
    return [start_leaf(f"S{n}", bytes(32)) for n in range(first, first + count)]


def test_layout_is_that_of_tlog_tiles(tmp_path: Path) -> None:
    assert place(0, 1234067) == "tile/0/x001/x234/067"
    assert place("entries", 5, 7) == "tile/entries/005.p/7"
    ledger = Ledger(tmp_path, Clock())
    ledger.append(starts(0, 600))
    ledger.append(starts(600, 3))
    size = 1 + 603
    assert ledger.checkpoint.size == size
    found = {str(p.relative_to(tmp_path)) for p in (tmp_path / "tile").rglob("*") if p.is_file()}
    assert found == {
        "tile/0/000",
        "tile/0/001",
        "tile/0/002.p/92",
        "tile/1/000.p/2",
        "tile/entries/000",
        "tile/entries/001",
        "tile/entries/002.p/92",
    }
    leaves = list(Tiles(tmp_path, size).entries())
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    assert (tmp_path / "tile/0/001").read_bytes() == b"".join(hashes[256:512])
    nodes = merkle.nodes_of(hashes)
    assert (tmp_path / "tile/1/000.p/2").read_bytes() == nodes(8, 0) + nodes(8, 1)
    assert split_entries((tmp_path / "tile/entries/001").read_bytes()) == leaves[256:512]
    assert ledger.checkpoint.root == merkle.root(nodes, size)
    name, _, public = parse_verifier_key((tmp_path / "root.pub").read_text())
    assert name == ledger.origin == epochs.origin_of(public)
    assert Watch(tmp_path, deep=True).leaves == size
    # An older, smaller tree can still be read from larger tiles.
    assert merkle.root(Tiles(tmp_path, 577).node, 577) == merkle.root(nodes, 577)
    ledger.close()


def test_one_writer_and_no_leaf_twice(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, Clock())
    with pytest.raises(BusyError):
        Ledger(tmp_path, Clock())
    inbox = tmp_path / "inbox"
    hand_over(inbox, starts(0, 3))
    hand_over(inbox, [*starts(2, 2), end_leaf("S0", 1, bytes(32), "closed")])
    hand_over(inbox, [policy_leaf("gw", 0, "v1"), policy_leaf("gw", 1, "v1")])
    (inbox / "bad.leaves").write_bytes(b"?")
    count, faults = ledger.take_inbox()
    assert (count, len(faults)) == (7, 1)
    assert waiting(inbox) == []
    assert (inbox / "bad.leaves.bad").exists()
    hand_over(inbox, starts(0, 4))
    assert ledger.take_inbox() == (0, [])
    ledger.heartbeat()
    ledger.heartbeat()
    assert ledger.checkpoint.size == 10
    ledger.close()
    os.unlink(tmp_path / "known.db")
    again = Ledger(tmp_path, Clock())
    assert again.append(starts(0, 5)) == 1
    again.close()


def test_epochs_are_certified_and_their_keys_erased(tmp_path: Path) -> None:
    clock = Clock()
    ledger = Ledger(tmp_path, clock, epoch_seconds=100)
    assert not ledger.rotate_if_due()
    first = (tmp_path / "keys/epoch-00000000.key").read_bytes()
    for turn in range(3):
        ledger.append(starts(turn, 1))
        clock.now += 200 * SECOND
        assert ledger.rotate_if_due()
    assert [p.name for p in (tmp_path / "keys").glob("epoch*")] == ["epoch-00000003.key"]
    assert (tmp_path / "keys/epoch-00000003.key").stat().st_mode & 0o777 == 0o600
    assert all(first not in p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    watch = Watch(tmp_path, deep=True)
    assert [leaf.number("size") for leaf in watch.chain.epochs] == [0, 2, 4, 6]
    assert watch.checkpoint.epoch == 3
    note = parse_note((tmp_path / "checkpoint").read_bytes())
    public = epochs.read_key(tmp_path / "keys/log.key").public_key().public_bytes_raw()
    assert verified(note, ledger.origin, public)
    ledger.close()


def test_a_lost_key_needs_the_root(tmp_path: Path) -> None:
    root = Ed25519PrivateKey.generate()
    Ledger(tmp_path, Clock(), root_key=root).close()
    (tmp_path / "keys/epoch-00000000.key").unlink()
    with pytest.raises(LedgerError, match="lost"):
        Ledger(tmp_path, Clock())
    with pytest.raises(LedgerError, match="root key"):
        Ledger(tmp_path, Clock(), root_key=Ed25519PrivateKey.generate())
    ledger = Ledger(tmp_path, Clock(), root_key=root)
    ledger.append(starts(0, 1))
    ledger.close()
    assert Watch(tmp_path, root.public_key().public_bytes_raw()).checkpoint.epoch == 1


class Killed(Exception):
    pass


@pytest.mark.parametrize("act", ["append", "rotate", "begin"])
def test_a_kill_at_any_step_loses_and_doubles_nothing(
    tmp_path: Path, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call that changes the disk is, in turn, the last one."""
    base = tmp_path / "base"
    if act != "begin":
        ledger = Ledger(base, Clock())
        ledger.append(starts(0, 254))
        ledger.close()
    hand_over(base / "inbox", starts(250, 20))
    hand_over(base / "inbox", [end_leaf("S1", 1, bytes(32), "closed")])
    left = 0
    real_put, real_rename = tiles.put, os.rename
    real_unlink: Callable[..., None] = Path.unlink

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **more: Any) -> Any:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            return call(*args, **more)

        return run

    for module in (tiles, ledgers, epochs):
        monkeypatch.setattr(module, "put", counted(real_put))
    monkeypatch.setattr(os, "rename", counted(real_rename))
    monkeypatch.setattr(Path, "unlink", counted(real_unlink))
    steps = 0
    while True:
        state = tmp_path / f"try-{steps}"
        shutil.copytree(base, state)
        left = steps
        done = False
        ledger_now: list[Ledger] = []
        try:
            ledger_now.append(Ledger(state, Clock()))
            if act == "rotate":
                ledger_now[0].rotate()
            ledger_now[0].take_inbox()
            done = True
        except Killed:
            pass
        left = 1 << 30
        for ledger in ledger_now:
            ledger.close()
        again = Ledger(state, Clock())
        again.take_inbox()
        again.close()
        watch = Watch(state, deep=True)
        said = [unpack_leaf(raw) for raw in watch.tiles.entries()]
        sessions = sorted(leaf.text("session") for leaf in said if leaf.kind is Kind.START)
        first = 250 if act == "begin" else 0
        assert sessions == sorted(f"S{n}" for n in range(first, 270)), steps
        assert sum(leaf.kind is Kind.END for leaf in said) == 1
        assert waiting(state / "inbox") == []
        assert len(list((state / "keys").glob("epoch*"))) == 1
        steps += 1
        if done:
            break
    assert steps > 5


def test_what_was_done_to_the_ledger_is_found(tmp_path: Path) -> None:
    base = tmp_path / "base"
    clock = Clock()
    ledger = Ledger(base, clock)
    ledger.append(starts(0, 3))
    ledger.rotate()
    ledger.append(starts(3, 3))
    stolen = epochs.read_key(base / "keys/epoch-00000001.key")
    ledger.close()
    trust = epochs.load_root(base / "root.pub")
    old = shutil.copytree(base, tmp_path / "old")

    def status(directory: Path) -> tuple[str, int | None]:
        try:
            Watch(directory, trust, deep=True)
        except LedgerFault as fault:
            return fault.status, fault.leaf
        return "OK", None

    assert status(base) == ("OK", None)
    # Each bit of tiles and checkpoint (a signature that only witnesses look at aside).
    for path in sorted(p for p in (base / "tile").rglob("*") if p.is_file()):
        raw = path.read_bytes()
        for bit in range(0, len(raw) * 8, 37):
            altered = bytearray(raw)
            altered[bit // 8] ^= 1 << bit % 8
            path.write_bytes(altered)
            assert status(base)[0] == "TAMPERED", (path, bit)
        path.write_bytes(raw)
    # A later key rewrites what an earlier one vouched for.
    from recorder.evidence.notes import Checkpoint, Note, sign
    from recorder.evidence.tiles import Growth

    leaves = list(Tiles(base, ledger.checkpoint.size).entries())
    for index, forged in ((1, leaves[2]), (6, leaves[5])):
        shutil.rmtree(base / "tile")
        changed = [*leaves[:index], forged.replace(b"S", b"X"), *leaves[index + 1 :]]
        growth = Growth(base, 0)
        growth.add(changed)
        root = merkle.root(Tiles(base, growth.size).node, growth.size)
        point = Checkpoint(ledger.origin, growth.size, root, 1, clock())
        signed = sign(point.text(), epochs.epoch_name(ledger.origin), stolen)
        (base / "checkpoint").write_bytes(Note(point.text(), (signed,)).encoded())
        # In its own epoch whoever holds the key can: that is what anchors are for.
        assert status(base) == (("TAMPERED", 4) if index == 1 else ("OK", None))
    # A smaller tree, signed by a later key than its own.
    shutil.rmtree(base / "tile")
    Growth(base, 0).add(leaves[:4])
    root = merkle.root(Tiles(base, 4).node, 4)
    for epoch in (0, 1):
        point = Checkpoint(ledger.origin, 4, root, epoch, clock())
        signed = sign(point.text(), epochs.epoch_name(ledger.origin), stolen)
        (base / "checkpoint").write_bytes(Note(point.text(), (signed,)).encoded())
        assert status(base)[0] == "TAMPERED"
    assert status(old) == ("OK", None)
    other = Ledger(tmp_path / "other", clock)
    other.close()
    assert status(tmp_path / "other")[0] == "UNKNOWN-KEY"
    (old / "checkpoint").unlink()
    assert status(old)[0] == "TAMPERED"


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_bytes(b"no database at all" * 100),
        lambda path: path.write_bytes(path.read_bytes()[:4096] + bytes(8192)),
        lambda path: _told(path, "UPDATE filled SET size = NULL"),
        lambda path: _told(path, "DROP TABLE known; CREATE TABLE known (other TEXT)"),
    ],
)
def test_a_damaged_list_of_names_is_made_anew(
    tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    ledger = Ledger(tmp_path, Clock())
    ledger.append(starts(0, 300))
    ledger.close()
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"known.db{suffix}").unlink(missing_ok=True)
    harm(tmp_path / "known.db")
    again = Ledger(tmp_path, Clock())
    assert again.append(starts(0, 301)) == 1
    again.close()


def _told(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.executescript(script)
