"""Sessions in parts, by the ledger: each part has a leaf, and nobody can take one away."""

from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from test_independent import both, in_two_epochs
from test_verify_evidence import NAMES, verify

from gateway.config_evidence import EvidenceConfig
from gateway.notary import Notary
from gateway.world import World
from protocols.wire import Mark, Move, Side, Span
from recorder.cli import main
from recorder.evidence import independent_verifier as second
from recorder.evidence.facts import facts_of
from recorder.evidence.inbox import ledger_directory
from recorder.evidence.watch import Watch
from recorder.journal import Journal
from recorder.parted import files_of
from recorder.reader import every_log
from recorder.session_log import SessionLog


def opened(state: Path, **settings: Any) -> tuple[Journal, Notary]:
    world = World()
    notary = Notary(EvidenceConfig(), state, world)
    settings = {"part_size": 3000, "ballast_bytes": 1 << 16, "low": 0, "critical": 0} | settings
    journal = Journal(
        state, gateway="gw", clock=world.mono_ns, wall=world.wall_ns, chance=world.chance,
        **settings,
    )  # fmt: skip
    return journal, notary


def talk(journal: Journal, log: SessionLog, text: str, rounds: int = 30) -> None:
    for number in range(rounds):
        log.command(number, "run", f"{text} {number % 3}", 0)
        at = 300 * number
        log.spans([Span(Move.PASS, Side.UPSTREAM, Mark.PLAIN, text[:1].encode() * 300, at)])
        journal.flush()


def record(state: Path, names: list[str], text: str = "select") -> None:
    journal, notary = opened(state)
    for name in names:
        log = journal.open({"session": name})
        talk(journal, log, text)
        log.end("closed", "done")
        journal.flush()
    notary.tick(journal)
    journal.close()
    notary.close()
    shutil.rmtree(state / "journal")


def files(state: Path, name: str) -> list[Path]:
    return files_of(next(path for path in every_log(state) if path.name.startswith(name)))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return in_two_epochs(tmp_path_factory.mktemp("parts"), record)


@pytest.fixture
def state(recorded: Path, tmp_path: Path) -> Path:
    return shutil.copytree(recorded, tmp_path / "state")


@pytest.fixture
def trust(recorded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(ledger_directory(recorded) / "root.pub", tmp_path / "root.pub"))


def told(state: Path, name: str) -> tuple[str, int, int | None]:
    _, found = verify(state, name)
    return found[name]["status"], found[name]["part"], found[name]["offset"]


def test_every_part_has_a_leaf(state: Path) -> None:
    watch = Watch(ledger_directory(state))
    for name in NAMES:
        entry = watch.sessions[name]
        count = len(files(state, name))
        assert count > 2
        assert sorted(entry.parts) == [*range(count - 1)]
        assert entry.end is not None
        assert entry.end[1].number("parts") == count
    assert verify(state, "--all", "--log")[0] == 0


def test_both_verifiers_agree_on_altered_parts(state: Path, trust: Path) -> None:
    assert both(state, trust)
    rng = random.Random(6)
    some = files(state, NAMES[0])
    for number, path in enumerate(some):
        raw = path.read_bytes()
        for bit in rng.sample(range(len(raw) * 8), 8):
            altered = bytearray(raw)
            altered[bit // 8] ^= 1 << bit % 8
            path.write_bytes(altered)
            assert not both(state, trust), (path, bit)
        path.write_bytes(raw[: rng.randrange(len(raw))])
        assert not both(state, trust)
        path.unlink()
        assert not both(state, trust)
        assert told(state, NAMES[0]) == ("TAMPERED", number, 0)
        path.write_bytes(raw)
    assert both(state, trust)


def test_swapped_spliced_and_forged_parts(state: Path, trust: Path, tmp_path: Path) -> None:
    some, other = files(state, NAMES[0]), files(state, NAMES[1])
    raws = [path.read_bytes() for path in some]
    some[1].write_bytes(raws[2])
    some[2].write_bytes(raws[1])
    assert not both(state, trust)
    assert told(state, NAMES[0]) == ("TAMPERED", 1, 12)
    some[2].write_bytes(raws[2])
    some[1].write_bytes(other[1].read_bytes())
    assert not both(state, trust)
    assert told(state, NAMES[0]) == ("TAMPERED", 1, 32)
    # All of it made up: good in itself, and not what the ledger has.
    record(tmp_path / "forged", NAMES[:1], "forged")
    for path, made in zip(some, files(tmp_path / "forged", NAMES[0]), strict=False):
        path.write_bytes(made.read_bytes())
    assert not both(state, trust)
    assert told(state, NAMES[0])[:2] == ("TAMPERED", 0)
    for path, raw in zip(some, raws, strict=True):
        path.write_bytes(raw)
    assert both(state, trust)


def test_one_part_alone(state: Path) -> None:
    some = files(state, NAMES[0])
    code, found = verify(state, str(some[1]))
    assert (code, found[NAMES[0]]["status"]) == (3, "INCOMPLETE")
    assert "in the ledger" in found[NAMES[0]]["scope"]
    raw = some[1].read_bytes()
    some[1].write_bytes(files(state, NAMES[1])[1].read_bytes())
    assert verify(state, str(some[1]))[0] == 4
    record(state.with_name("forged"), NAMES[:1], "forged")
    some[1].write_bytes(files(state.with_name("forged"), NAMES[0])[1].read_bytes())
    assert verify(state, str(some[1]))[0] == 4
    some[1].write_bytes(raw)
    some[0].unlink()
    code, found = verify(state, "--all")
    assert (code, found[NAMES[0]]["message"].partition(":")[0]) == (4, "part 0 was removed")


def test_a_proof_goes_with_all_parts(state: Path, trust: Path, tmp_path: Path) -> None:
    for name in (NAMES[0], NAMES[2]):
        proof, away = tmp_path / "proof.json", tmp_path / name
        away.mkdir()
        assert main(["--dir", str(state), "proof", name, "-o", str(proof)]) == 0
        copies = [Path(shutil.copy(path, away)) for path in files(state, name)]
        given = ("--trust", str(trust), "--proof", str(proof))

        def judged(copies: list[Path], given: tuple[str, ...], proof: Path) -> tuple[int, int]:
            some = [str(path) for path in copies if path.exists()]
            code = verify(tmp_path / "nowhere", str(copies[0]), *given)[0]
            with contextlib.redirect_stdout(io.StringIO()):
                return code, second.main([str(trust), *some, str(proof)])

        assert judged(copies, given, proof) == (0, 0)
        for path in copies[1:]:
            raw = path.read_bytes()
            altered = bytearray(raw)
            altered[len(raw) // 2] ^= 1
            path.write_bytes(altered)
            assert judged(copies, given, proof) == (4, 4)
            path.unlink()
            assert judged(copies, given, proof) == (4, 4)
            path.write_bytes(raw)
        said = json.loads(proof.read_text())
        assert len(said["leaves"]) == len(copies) + 1
        assert verify(tmp_path / "nowhere", str(copies[1]), *given)[0] == 3
        end = {**said, "leaves": said["leaves"][:-1]}
        proof.write_text(json.dumps(end))
        assert judged(copies, given, proof) == (4, 4)


def test_one_session_is_judged_without_all_of_the_ledger(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def never(*_: object) -> None:
            raise AssertionError("it read all of the ledger")

        patch.setattr(Watch, "_walk", never)
        for name in NAMES:
            code, found = verify(state, name)
            assert (code, found[name]["status"]) == (0, "OK-UNANCHORED")
            assert "only its own leaves were read" in found[name]["scope"]
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                assert main(["--dir", str(state), "show", name, "--json"]) == 0
            assert "in the ledger" in json.loads(out.getvalue())["verify"]["scope"]
        path = files(state, NAMES[0])[1]
        path.unlink()
        with pytest.raises(AssertionError, match="all of the ledger"):
            verify(state, NAMES[0])
    assert verify(state, NAMES[0])[0] == 4


def test_what_is_known_is_not_believed(state: Path) -> None:
    """``known.db`` only says where to look."""
    import sqlite3

    known = ledger_directory(state) / "known.db"
    database = sqlite3.connect(known)
    database.execute("UPDATE known SET leaf = (leaf + 1) % 5")
    database.commit()
    assert verify(state, NAMES[0])[0] == 0
    database.execute("DELETE FROM known")
    database.commit()
    database.close()
    assert verify(state, NAMES[0])[0] == 0
    known.unlink()
    code, found = verify(state, NAMES[0])
    assert code == 0
    assert "only its own leaves" not in found[NAMES[0]]["scope"]
    # A leaf that was altered where it lies does not pass either.
    entries = sorted((ledger_directory(state) / "tile/entries").rglob("*"))[-1]
    raw = bytearray(entries.read_bytes())
    raw[raw.index(NAMES[0].encode()) + 40] ^= 1
    entries.write_bytes(raw)
    assert verify(state, NAMES[0])[0] == 4


def test_leaves_that_were_changed_to_fit_are_not_believed(state: Path, tmp_path: Path) -> None:
    """Without the paths in the tree, forged leaves would vouch for a forged Log."""
    record(tmp_path / "forged", NAMES[:1], "forged")
    old, new = files(state, NAMES[0]), files(tmp_path / "forged", NAMES[0])
    assert len(old) == len(new)
    entries = sorted((ledger_directory(state) / "tile/entries").rglob("*"))[-1]
    raw = entries.read_bytes()
    for path, made in zip(old, new, strict=True):
        was, facts = facts_of(path), facts_of(made)
        assert was.root in raw
        raw = raw.replace(was.root, facts.root).replace(was.digest, facts.digest)
        path.write_bytes(made.read_bytes())
    entries.write_bytes(raw)
    assert verify(state, NAMES[0])[0] == 4


def test_a_running_session_has_evidence_of_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.seal._SETTLE", 0.0)
    monkeypatch.setattr("recorder.seal._LOOK", 0.01)
    journal, notary = opened(tmp_path, commit_interval=0.01)
    log = journal.open({"session": NAMES[0]})
    talk(journal, log, "select")
    for _ in range(500):
        notary.tick(journal)
        code, found = verify(tmp_path, NAMES[0])
        assert (code, found[NAMES[0]]["status"]) == (3, "INCOMPLETE"), found
        if "first parts in the ledger" in found[NAMES[0]]["scope"]:
            break
    else:
        raise AssertionError(found)
    assert verify(tmp_path, "--all")[0] == 3
    path = files(tmp_path, NAMES[0])[0]
    kept = path.rename(tmp_path / "kept")
    assert told(tmp_path, NAMES[0]) == ("TAMPERED", 0, 0)
    kept.rename(path)
    log.end("closed", "done")
    journal.flush()
    journal.close()
    notary.close()
    assert verify(tmp_path, "--all")[0] == 0
