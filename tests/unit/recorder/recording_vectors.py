"""Makes the test vectors of the format: ``python recording_vectors.py`` (with
the repository on PYTHONPATH) writes those that are not there yet. Vectors of a
released version are never changed, only added to."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import zstandard
from recorder_world import ULIDS, C, Legs, U, World, make_journal, play_session

from protocols.wire import Side
from recorder.keys import load_private, load_public, new_pair
from recorder.log_reader import LogFile
from recorder.originals import Opener
from recorder.parted import PartedLog, log_of
from recorder.reader import decoded, open_recording
from recorder.records import StoredSpan
from recorder.render import jsonable
from recorder.state import part_path
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
