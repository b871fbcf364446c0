"""Two verifiers that share no code agree, and nothing altered is ever good."""

from __future__ import annotations

import inspect
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from test_verify_evidence import NAMES, path_of, record, verify

from recorder.cli import main
from recorder.evidence import independent_verifier as second
from recorder.evidence.epochs import epoch_name, read_key
from recorder.evidence.inbox import ledger_directory
from recorder.evidence.ledger import Ledger
from recorder.evidence.notes import Note, parse_checkpoint, parse_note, sign
from recorder.log_reader import LogFile
from recorder.parted import files_of, log_of

VECTORS = Path(__file__).parents[1] / "vectors" / "v1"


def test_it_is_short_and_alone() -> None:
    source = inspect.getsource(second)
    assert len(source.splitlines()) < 300
    assert "import recorder" not in source
    assert "from recorder" not in source


@pytest.mark.parametrize("name", ["tiny", "small", "sealed"])
def test_it_reads_the_corpus(name: str) -> None:
    raw = (VECTORS / f"{name}.agr").read_bytes()
    log = LogFile(VECTORS / f"{name}.agr")
    list(log.stored())
    assert second.read_log(raw)["root"] == log.root
    for bit in range(0, len(raw) * 8, 5):
        altered = bytearray(raw)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Exception):
            second.read_log(bytes(altered))
    for cut in range(0, len(raw), 3):
        with pytest.raises(Exception):
            second.read_log(raw[:cut])


def test_it_reads_parts() -> None:
    paths = files_of(VECTORS / "parts.agr")
    log = log_of(paths[0])
    list(log.stored())
    raws = [path.read_bytes() for path in paths]
    assert second.read_parts(raws)["roots"][-1] == log.root
    for wrong in (raws[:1], raws[1:], raws[::-1], [*raws, raws[1]], [raws[0], raws[0]]):
        with pytest.raises(ValueError, match="part"):
            second.read_parts(wrong)


def in_two_epochs(state: Path, record: Callable[[Path, list[str]], None]) -> Path:
    """Sessions by ``record``, the last of them in the ledger's second epoch."""
    record(state, NAMES[:2])
    ledger = Ledger(ledger_directory(state), lambda: 4_000_000_000_000_000_000)
    ledger.rotate()
    ledger.heartbeat()
    ledger.close()
    record(state, NAMES[2:])
    return state


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return in_two_epochs(tmp_path_factory.mktemp("base"), record)


def both(state: Path, trust: Path) -> bool:
    """True when both find all of it good; they must agree."""
    code, _ = verify(state, "--all", "--trust", str(trust))
    try:
        found = second.verify_state(trust.read_text(), state)
    except Exception:
        found = {"ledger": "bad"}
    good = not any(found.values())
    assert (code == 0) == good, (code, found)
    return good


def test_both_judge_a_state_the_same(base: Path, tmp_path: Path) -> None:
    trust = tmp_path / "root.pub"
    shutil.copy(ledger_directory(base) / "root.pub", trust)
    assert both(base, trust)
    rng = random.Random(4)
    state = shutil.copytree(base, tmp_path / "state")
    ledger = ledger_directory(state)
    entries = next(p for p in (ledger / "tile/entries").rglob("*") if p.is_file())
    for path in (path_of(state, NAMES[0]), path_of(state, NAMES[2]), entries):
        raw = path.read_bytes()
        for bit in rng.sample(range(len(raw) * 8), 25):
            altered = bytearray(raw)
            altered[bit // 8] ^= 1 << bit % 8
            path.write_bytes(altered)
            assert not both(state, trust), (path, bit)
        for cut in rng.sample(range(len(raw)), 8):
            path.write_bytes(raw[:cut])
            assert not both(state, trust)
        path.write_bytes(raw)
    assert both(state, trust)
    # Swapped, removed, replaced by one that no ledger signed, re-signed by a later key.
    first, last = path_of(state, NAMES[0]), path_of(state, NAMES[2])
    one, two = first.read_bytes(), last.read_bytes()
    first.write_bytes(two)
    last.write_bytes(one)
    assert not both(state, trust)
    last.write_bytes(two)
    first.unlink()
    assert not both(state, trust)
    record(tmp_path / "other", NAMES[:1], "forged")
    shutil.copy(path_of(tmp_path / "other", NAMES[0]), first)
    assert not both(state, trust)
    first.write_bytes(one)
    assert both(state, trust)
    note = parse_note((ledger / "checkpoint").read_bytes())
    point = parse_checkpoint(note.text)
    key = next((ledger / "keys").glob("epoch-*.key"))
    text = note.text.replace(f"epoch {point.epoch} ", f"epoch {point.epoch + 1} ")
    signed = sign(text, epoch_name(point.origin), read_key(key))
    (ledger / "checkpoint").write_bytes(Note(text, (signed,)).encoded())
    assert not both(state, trust)


def test_both_judge_a_proof_the_same(base: Path, tmp_path: Path) -> None:
    trust, proof, copy = tmp_path / "root.pub", tmp_path / "proof", tmp_path / "copy.agr"
    shutil.copy(ledger_directory(base) / "root.pub", trust)
    rng = random.Random(5)
    for name in (NAMES[0], NAMES[2]):
        assert main(["--dir", str(base), "proof", name, "-o", str(proof)]) == 0
        raw = path_of(base, name).read_bytes()
        copy.write_bytes(raw)
        given = (str(copy), "--trust", str(trust), "--proof", str(proof))
        assert verify(tmp_path, *given)[0] == 0
        assert second.main([str(trust), str(copy), str(proof)]) == 0
        for bit in rng.sample(range(len(raw) * 8), 30):
            altered = bytearray(raw)
            altered[bit // 8] ^= 1 << bit % 8
            copy.write_bytes(altered)
            assert verify(tmp_path, *given)[0] == 4
            assert second.main([str(trust), str(copy), str(proof)]) == 4
        copy.write_bytes(path_of(base, NAMES[1]).read_bytes())
        assert verify(tmp_path, *given)[0] == 4
        assert second.main([str(trust), str(copy), str(proof)]) == 4
