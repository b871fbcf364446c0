"""Files of every format, kept for ever: what was written once is read, and is written again
byte for byte when clock, ids and keys are the same. ``recording_vectors.py`` made them."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
from recorder_world import ULIDS, U
from recording_vectors import VECTORS, exported, files_below, inbox_items, kept

from recorder import framing, records, verify
from recorder.cli import main
from recorder.evidence import independent_verifier
from recorder.evidence.inbox import hand_over, read_items
from recorder.evidence.leaves import Kind, unpack_leaf
from recorder.evidence.notes import parse_checkpoint, parse_note
from recorder.evidence.tiles import Tiles
from recorder.keys import load_private
from recorder.log_reader import LogFile
from recorder.log_writer import RAW
from recorder.originals import Opener
from recorder.streams import Hop, Streams
from recorder.wrapped import opener_of, wrapped_of

STATE = VECTORS / "state"
TRUST = STATE / "evidence" / "root.pub"
STATUSES = {
    ULIDS[0]: verify.OK,
    ULIDS[1]: verify.INCOMPLETE,
    ULIDS[2]: verify.OK,
    ULIDS[3]: verify.INCOMPLETE,
    ULIDS[9]: verify.DELETED,
    "ledger": verify.OK,
}


def verdicts(*words: str) -> dict[str, str]:
    """Statuses by session, as ``recorder verify --json`` says."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        main([words[0], words[1], "verify", "--json", *words[2:]])
    told = [json.loads(line) for line in out.getvalue().splitlines()]
    return {item["session"] or item["name"]: item["status"] for item in told}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Reading must not write into the golden files."""
    return shutil.copytree(STATE, tmp_path / "state")


def test_an_old_state_is_read(copy: Path) -> None:
    words = ("--dir", str(copy), "--all", "--log", "--trust", str(TRUST))
    assert verdicts(*words) == STATUSES
    with contextlib.redirect_stdout(io.StringIO()):
        assert independent_verifier.main([str(TRUST), str(copy)]) == 0
    point = parse_checkpoint(parse_note((copy / "evidence" / "checkpoint").read_bytes()).text)
    leaves = [unpack_leaf(raw) for raw in Tiles(copy / "evidence", point.size).entries()]
    assert {leaf.kind for leaf in leaves} == set(Kind)
    assert {leaf.epoch for leaf in leaves} == {0, 1}


def test_the_writers_still_write_the_same_state(tmp_path: Path) -> None:
    kept(tmp_path)
    made, old = files_below(tmp_path), files_below(STATE)
    assert made.keys() == old.keys()
    assert [name for name in old if made[name] != old[name]] == []


def test_no_golden_log_depends_on_a_compressor() -> None:
    for path in sorted((STATE / "sessions").rglob("*.agr")):
        raw = path.read_bytes()
        head = framing.read_file_header(raw, framing.LOG_MAGIC)
        window = framing.Window(lambda size, at, raw=raw: raw[at : at + size])  # type: ignore[misc]
        at, kind = framing.FILE_HEADER, framing.HEADER
        while kind != framing.END:
            found = window.record(at, framing.seed_of(head.identity))
            assert found is not None
            kind, at = found.kind, found.end
            assert kind != framing.CHUNK or records.unpack(found.body)[1] == RAW


@pytest.mark.parametrize("name", [ULIDS[0], ULIDS[2]])
def test_proofs(copy: Path, tmp_path: Path, name: str) -> None:
    old = VECTORS / f"{name}.proof"
    log = next((copy / "sessions").rglob(f"{name}.agr"))
    words = ("--dir", str(tmp_path), str(log), "--trust", str(TRUST), "--proof", str(old))
    assert verdicts(*words) == {name: verify.OK}
    again = tmp_path / "again"
    assert main(["--dir", str(copy), "proof", name, "-o", str(again)]) == 0
    assert again.read_bytes() == old.read_bytes()


def members(raw: bytes) -> dict[str, bytes]:
    """Those files of a bundle that are of a format: its README, the second verifier and what
    is derived from the Log, and so the sums, may be bettered."""
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        found = {each.name: tar.extractfile(each).read() for each in tar}  # type: ignore[union-attr]
    derived = ("txt", "py", "SUMS", "ndjson")
    return {name: data for name, data in found.items() if not name.endswith(derived)}


@pytest.mark.parametrize("name", [ULIDS[0], ULIDS[2]])
def test_bundles(copy: Path, tmp_path: Path, name: str) -> None:
    raw = (VECTORS / f"{name}.tar").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        tar.extractall(tmp_path / "out", filter="data")
    folder = tmp_path / "out" / name
    log, proof = folder / f"{name}.agr", folder / f"{name}.proof"
    words = ("--dir", str(tmp_path), str(log), "--trust", str(TRUST), "--proof", str(proof))
    assert verdicts(*words) == {name: verify.OK}
    again = exported(copy, "export", name, "--format", "bundle")
    assert members(again) == members(raw)


def test_events(copy: Path) -> None:
    old = (VECTORS / "state.ndjson").read_bytes()
    assert len(old.splitlines()) == 5
    assert exported(copy, "export", ULIDS[0], "--format", "ndjson") == old


def test_leaves_that_wait(tmp_path: Path) -> None:
    old = VECTORS / "small.leaves"
    assert read_items(old) == inbox_items()
    hand_over(tmp_path, inbox_items())
    assert next(tmp_path.iterdir()).read_bytes() == old.read_bytes()


def test_wrapped_keys_beside_a_log() -> None:
    """HPKE draws a key each time, so that only reading can be compared."""
    log: Any = LogFile(VECTORS / "keys.agr")
    private = [load_private(VECTORS / "auditor.key")]
    assert all("key" not in item for item in log.header["keys"])
    opener = opener_of(log, private, VECTORS / "keys.keys")
    assert isinstance(opener, Opener)
    assert len(wrapped_of(log, VECTORS / "keys.keys")) == 1
    raw = b"".join(p.raw or b"?" for p in Streams(log, opener, True).pieces(Hop(U, True)))
    assert raw.endswith(b"D ssn 123-45-6789")
    out = b"".join(p.raw or b"?" for p in Streams(log, opener, True).pieces(Hop(U, False)))
    assert b"pw-proof" in out
    assert b"pw-proof" not in (VECTORS / "keys.agr").read_bytes()
    log.close()
