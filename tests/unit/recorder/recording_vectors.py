"""Makes the test vectors of the format: ``python recording_vectors.py`` (with
the repository on PYTHONPATH) writes those that are not there yet. Vectors of a
released version are never changed, only added to."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from recorder_world import ULIDS, C, Legs, U, World, header, make_journal, play_session

from protocols.wire import Side
from recorder.evidence.inbox import (
    Item,
    deletion_leaf,
    end_leaf,
    gap_leaf,
    hand_over,
    ledger_directory,
    part_leaf,
    policy_leaf,
    start_leaf,
)
from recorder.evidence.ledger import Ledger
from recorder.framing import Framed
from recorder.keys import load_private, load_public, new_pair
from recorder.log_reader import LogFile
from recorder.originals import Opener
from recorder.parted import PartedLog, log_of
from recorder.reader import decoded, open_recording
from recorder.records import StoredSpan
from recorder.render import jsonable
from recorder.scan import OpenSegment
from recorder.state import keys_path, part_path
from recorder.streams import Hop, Streams
from recorder.timeline import objects

VECTORS = Path(__file__).with_name("vectors") / "v1"
HOPS = {
    "client-in": Hop(C, True),
    "client-out": Hop(C, False),
    "upstream-in": Hop(U, True),
    "upstream-out": Hop(U, False),
}


def tiny(state: Path) -> tuple[bytes, bytes]:
    """The smallest session: a journal segment and a Log. FORMAT.md prints it."""
    journal = make_journal(state, World())
    log = journal.open({"session": ULIDS[0]})
    legs = Legs()
    log.command(1, "run", "ping", 0, ("all",))
    log.spans([legs.passed(C, b"ping\r\n")])
    journal.flush()
    log.spans([legs.passed(Side.UPSTREAM, b"+PONG\r\n")])
    log.end("closed", "done")
    journal.flush()
    return _leave(state, journal)


def small(state: Path) -> tuple[bytes, bytes]:
    """Every kind of entry, every mark, a session that ended and one that a
    crash cut off."""
    journal = make_journal(state, World())
    play_session(journal, ULIDS[0])
    play_session(journal, ULIDS[1], end=False)
    return _leave(state, journal)


def parts(state: Path) -> tuple[bytes, bytes, bytes]:
    """A session in two parts: the second says the command's shape again, and forwards
    bytes that the first took."""
    journal = make_journal(state, World(), part_size=100)
    log = journal.open({"session": ULIDS[0]})
    legs = Legs()
    log.event("identity", {"subject": "ci@repo", "kind": "ci"})
    log.command(1, "run", "select 1", 0, ("reads",))
    log.spans([legs.passed(C, b"Q select 1;"), legs.take(C, b"Q select 2;")])
    journal.flush()
    log.command(2, "run", "select 1", 0, ("reads",))
    log.spans([legs.forward(C, 11, 11), legs.passed(Side.UPSTREAM, b"D 1")])
    journal.flush()
    log.end("closed", "done")
    journal.flush()
    segment, first = _leave(state, journal)
    path = open_recording(state, ULIDS[0]).path
    return segment, first, part_path(path, 1).read_bytes()


class Keys:
    """Stands for chance where the ledger makes keys: the same ones each time."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> Ed25519PrivateKey:
        self.made += 1
        return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"key %d" % self.made).digest())


def noise(number: int, size: int) -> bytes:
    """Bytes of no meaning, always the same."""
    blocks = (hashlib.sha512(b"%d %d" % (number, at)).digest() for at in range(0, size, 64))
    return b"".join(blocks)[:size]


def kept(state: Path) -> None:
    """A state directory with a ledger that has a leaf of every kind, in two epochs: sessions
    that ended, that a crash cut off, in parts, with a gap, and one that was deleted."""
    generate = "cryptography.hazmat.primitives.asymmetric.ed25519.Ed25519PrivateKey.generate"
    # Compressed bytes would be those of one version of zstd.
    compressor = "recorder.log_writer.zstandard.ZstdCompressor"
    with patch(generate, Keys()), patch(compressor, lambda **_: SimpleNamespace(compress=bytes)):
        ledger = Ledger(ledger_directory(state), World().wall)
        _record(state, ULIDS[0], 1)
        _record(state, ULIDS[1], 2, end=False)
        _take(state, ledger)
        items = [policy_leaf("gw-1", 0, "p" * 8), deletion_leaf(ULIDS[9], bytes(32), "30 days")]
        hand_over(ledger.inbox, [start_leaf(ULIDS[9], bytes(32)), *items])
        ledger.take_inbox()
        ledger.rotate()
        ledger.heartbeat()
        _record(state, ULIDS[2], 3, rounds=30)
        _take(state, ledger)
        _record(state, ULIDS[3], 4, hit=2)
        _take(state, ledger)
        ledger.close()
    shutil.rmtree(state / "journal")
    for path in [ledger.directory / "known.db", *ledger.directory.glob("known.db-*")]:
        path.unlink(missing_ok=True)
    shutil.rmtree(ledger.directory / "keys")
    (ledger.directory / "lock").unlink()


def _take(state: Path, ledger: Ledger) -> None:
    make_journal(state, World(), part_size=1 << 10).close()
    ledger.take_inbox()


def _record(
    state: Path, session: str, seed: int, rounds: int = 5, end: bool = True, hit: int = -1
) -> None:
    journal = make_journal(state, World(), part_size=1 << 10)
    log = journal.open(header(session))
    log.event("identity", {"subject": "ci@repo", "kind": "ci"})
    legs = Legs()
    for number in range(rounds):
        log.command(number, "run", f"select {noise(seed, 16).hex()}", 0, ("reads",))
        log.spans([legs.passed(C, noise(seed + number, 90))])
        journal.flush()
    if end:
        log.end("closed", "done")
        journal.flush()
    os.close(journal._lock)
    if hit >= 0:
        numbers = [int(each.stem) for each in journal.directory.glob("????????.agj")]
        path = journal.directory / f"{max(numbers):08d}.agj"
        with OpenSegment(path) as segment:
            places = [found.offset for found in segment.records() if isinstance(found, Framed)]
        raw = bytearray(path.read_bytes())
        raw[places[hit] + 20] ^= 1
        path.write_bytes(raw)


def files_below(state: Path) -> dict[str, bytes]:
    """What is in a state directory, but for what is empty or made anew."""
    found = {
        path.relative_to(state).as_posix(): path.read_bytes()
        for path in sorted(state.rglob("*"))
        if path.is_file() and path.suffix != ".db"
    }
    return {name: raw for name, raw in found.items() if raw}


def exported(state: Path, *words: str) -> bytes:
    """What ``recorder`` writes to stdout."""
    done = subprocess.run(
        [sys.executable, "-m", "recorder.cli", "--dir", str(state), *words],
        capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    return done.stdout


def _leave(state: Path, journal: Any) -> tuple[bytes, bytes]:
    segment = (journal.directory / "00000001.agj").read_bytes()
    os.close(journal._lock)
    make_journal(state).close()
    return segment, open_recording(state, ULIDS[0]).path.read_bytes()


def described(log: LogFile | PartedLog, opener: Opener | None = None) -> dict[str, Any]:
    """What a reader must find in a Log."""
    hops: dict[str, list[Any]] = {}
    for name, hop in HOPS.items():
        pieces = Streams(log, opener).pieces(hop)
        hops[name] = [p.length if p.raw is None else p.raw.hex() for p in pieces]
    entries = [value for record in decoded(log) for value in objects(record, True)]
    commitments = [
        e.blob.hex()
        for r in decoded(log)
        for e in r.entries
        if isinstance(e, StoredSpan) and e.kept == 0
    ]
    end = log.peek_end()
    assert end is not None
    return {
        "header": jsonable(log.header),
        "entries": jsonable(entries),
        "hops": hops,
        "commitments": commitments,
        "end": jsonable([end.status, end.reason, end.counts, end.summary]),
        "zstd": list(zstandard.ZSTD_VERSION),
    }


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(data)


def main() -> None:
    for name, make in (("tiny", tiny), ("small", small)):
        with tempfile.TemporaryDirectory() as state:
            segment, log = make(Path(state))
        write(VECTORS / f"{name}.agj", segment)
        write(VECTORS / f"{name}.agr", log)
        _describe(name, None)
    with tempfile.TemporaryDirectory() as state:
        segment, log, second = parts(Path(state))
    write(VECTORS / "parts.agj", segment)
    write(VECTORS / "parts.agr", log)
    write(VECTORS / "parts.p0001.agr", second)
    _describe("parts", None)
    if not (VECTORS / "sealed.agr").exists():
        new_pair(VECTORS)
        with tempfile.TemporaryDirectory() as place:
            state = Path(place)
            key = load_public(VECTORS / "auditor.pub")
            journal = make_journal(state, World(), auditors=[key])
            play_session(journal, ULIDS[0])
            _, log = _leave(state, journal)
        write(VECTORS / "sealed.agr", log)
    _describe("sealed", VECTORS / "auditor.key")
    if not (VECTORS / "state").exists():
        with tempfile.TemporaryDirectory() as place:
            kept(Path(place))
            for name, raw in files_below(Path(place)).items():
                write(VECTORS / "state" / name, raw)
    copy = VECTORS / "state"
    write(VECTORS / "state.ndjson", exported(copy, "export", ULIDS[0], "--format", "ndjson"))
    for name in (ULIDS[0], ULIDS[2]):
        write(VECTORS / f"{name}.proof", exported(copy, "proof", name))
        write(VECTORS / f"{name}.tar", exported(copy, "export", name, "--format", "bundle"))
    if not (VECTORS / "keys.agr").exists():
        with tempfile.TemporaryDirectory() as place:
            state = Path(place)
            key = load_public(VECTORS / "auditor.pub")
            journal = make_journal(state, World(), auditors=[key], credentials="seal")
            play_session(journal, ULIDS[0])
            _, log = _leave(state, journal)
            write(VECTORS / "keys.agr", log)
            found = open_recording(state, ULIDS[0]).path
            write(VECTORS / "keys.keys", keys_path(found).read_bytes())
    if not (VECTORS / "small.leaves").exists():
        with tempfile.TemporaryDirectory() as place:
            hand_over(Path(place), inbox_items())
            write(VECTORS / "small.leaves", next(Path(place).iterdir()).read_bytes())


def inbox_items() -> list[Item]:
    """One of each that is handed over."""
    return [
        start_leaf(ULIDS[0], noise(1, 32)),
        part_leaf(ULIDS[0], 0, noise(2, 32)),
        end_leaf(ULIDS[0], 2, noise(3, 32), "closed"),
        policy_leaf("gw-1", 7, "p" * 8),
        gap_leaf(ULIDS[0], "lost"),
        deletion_leaf(ULIDS[0], noise(4, 32), "kept for 30 days"),
    ]


def _describe(name: str, key: Path | None) -> None:
    told = VECTORS / f"{name}.json"
    if not told.exists():
        log = log_of(VECTORS / f"{name}.agr")
        opener = None
        if key is not None:
            opener = Opener(log.header["session"], log.header["keys"], [load_private(key)])
        told.write_text(json.dumps(described(log, opener), indent=1) + "\n")


if __name__ == "__main__":
    main()
