"""``recorder verify`` with a ledger: every alteration of a session is found."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from gateway.config_evidence import EvidenceConfig
from gateway.notary import Notary
from gateway.world import World
from recorder.cli import main
from recorder.commands.judging import Judging
from recorder.evidence.anchors import Trust
from recorder.evidence.epochs import load_root
from recorder.evidence.inbox import deletion_leaf, hand_over, inbox_directory, ledger_directory
from recorder.evidence.ledger import Ledger
from recorder.journal import Journal
from recorder.reader import every_log

NAMES = [f"01K5P0M4C0000000000000000{letter}" for letter in "012"]


def record(state: Path, names: list[str], text: str = "hello") -> None:
    """Sessions of a gateway that keeps a ledger, and ends well."""
    world = World()
    notary = Notary(EvidenceConfig(), state, world)
    journal = Journal(
        state,
        gateway="gw",
        clock=world.mono_ns,
        wall=world.wall_ns,
        chance=world.chance,
        ballast_bytes=1 << 16,
        low=0,
        critical=0,
    )
    for name in names:
        log = journal.open({"session": name})
        log.event("notice", {"text": text})
        log.end("closed", "done")
        journal.flush()
    notary.tick(journal)
    journal.close()
    notary.close()


def verify(state: Path, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit code, and verdicts by session (or name)."""
    import contextlib
    import io

    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        code = main(["--dir", str(state), "verify", "--json", *arguments])
    found = [json.loads(line) for line in out.getvalue().splitlines()]
    return code, {item["session"] or item["name"]: item for item in found}


def path_of(state: Path, name: str) -> Path:
    return next(path for path in every_log(state) if path.stem == name)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("recorded")
    record(state, NAMES)
    return state


@pytest.fixture
def state(recorded: Path, tmp_path: Path) -> Path:
    return shutil.copytree(recorded, tmp_path / "state")


def test_untouched(state: Path) -> None:
    code, found = verify(state, "--all", "--log")
    assert code == 0
    assert {item["status"] for item in found.values()} == {"OK-UNANCHORED"}
    assert sorted(found) == sorted([*NAMES, "ledger"])
    assert "not externally anchored since" in found[NAMES[0]]["scope"]


def test_a_removed_session_is_named(state: Path) -> None:
    path_of(state, NAMES[1]).unlink()
    code, found = verify(state, "--all")
    assert code == 4
    assert found[NAMES[1]]["status"] == "TAMPERED"
    assert "removed" in found[NAMES[1]]["message"]
    assert found[NAMES[0]]["status"] == "OK-UNANCHORED"
    assert verify(state, NAMES[1])[0] == 4


def test_the_start_of_an_id_names_what_is_gone(tmp_path: Path) -> None:
    names = ["01K5P0M4C00000000000000000", "01M5P0M4C00000000000000000"]
    record(tmp_path, names)
    path_of(tmp_path, names[1]).unlink()
    code, found = verify(tmp_path, "01m5")
    assert (code, found[names[1]]["status"]) == (4, "TAMPERED")
    assert verify(tmp_path, "01M6") == (1, {})


def test_a_deletion_by_policy_is_none(state: Path) -> None:
    hand_over(inbox_directory(state), [deletion_leaf(NAMES[1], bytes(32), "kept for 30 days")])
    path_of(state, NAMES[1]).unlink()
    code, found = verify(state, "--all")
    assert (code, found[NAMES[1]]["status"]) == (3, "INCOMPLETE")  # nobody has signed it
    assert "yet" in found[NAMES[1]]["message"]
    ledger = Ledger(ledger_directory(state), World().wall_ns)
    ledger.take_inbox()
    ledger.close()
    code, found = verify(state, "--all")
    assert code == 0
    assert found[NAMES[1]]["status"] == "DELETED-BY-POLICY"
    assert "30 days" in found[NAMES[1]]["message"]


def test_what_happens_while_verify_runs_is_no_finding(state: Path) -> None:
    """The ledger was read; then sessions end and one is deleted, and it is told of that."""
    new = "01K5P0M4C0000000000000000Z"
    judging = Judging(state, Trust(load_root(ledger_directory(state) / "root.pub")), deep=True)
    assert judging.judge() is not None
    record(state, [new])
    assert judging.verdict(str(path_of(state, new))).status == "OK-UNANCHORED"
    hand_over(inbox_directory(state), [deletion_leaf(NAMES[1], bytes(32), "kept for 30 days")])
    path_of(state, NAMES[1]).unlink()
    ledger = Ledger(ledger_directory(state), World().wall_ns)
    ledger.take_inbox()
    ledger.close()
    assert [verdict.status for verdict in judging.missing()] == ["DELETED-BY-POLICY"]
    path_of(state, NAMES[2]).unlink()
    assert {verdict.status for verdict in judging.missing()} == {"DELETED-BY-POLICY", "TAMPERED"}


def test_an_unsigned_replacement_is_found(state: Path, tmp_path: Path) -> None:
    """A Log that is good in itself, in another's place; and one too many."""
    other = tmp_path / "other"
    record(other, [NAMES[0]], "something else")
    shutil.copy(path_of(other, NAMES[0]), path_of(state, NAMES[0]))
    record(other, ["01K5P0M4C0000000000000000Z"])
    shutil.copy(path_of(other, "01K5P0M4C0000000000000000Z"), path_of(state, NAMES[0]).parent)
    code, found = verify(state, "--all")
    assert code == 4
    assert found[NAMES[0]]["status"] == "TAMPERED"
    assert found["01K5P0M4C0000000000000000Z"]["status"] == "TAMPERED"
    assert found[NAMES[1]]["status"] == "OK-UNANCHORED"
    first, second = path_of(state, NAMES[1]), path_of(state, NAMES[2])
    keep = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(keep)
    _, found = verify(state, str(first), str(second))
    assert {item["status"] for item in found.values()} == {"TAMPERED"}


def test_a_cut_log_is_not_merely_incomplete(state: Path) -> None:
    path = path_of(state, NAMES[0])
    raw = path.read_bytes()
    for size in range(1, len(raw), 29):
        path.write_bytes(raw[:size])
        code, found = verify(state, str(path))
        assert code in (3, 4)
        assert next(iter(found.values()))["status"] in ("INCOMPLETE", "TAMPERED")
    code, found = verify(state, NAMES[0])
    assert code == 4
    assert found[NAMES[0]]["status"] == "TAMPERED"


def test_an_old_snapshot_of_the_ledger_is_found(state: Path, tmp_path: Path) -> None:
    old = shutil.copytree(ledger_directory(state), tmp_path / "old")
    record(state, ["01K5P0M4C0000000000000000Y"])
    assert verify(state, "--all")[0] == 0
    shutil.rmtree(ledger_directory(state))
    shutil.copytree(old, ledger_directory(state))
    code, found = verify(state, "--all")
    assert code == 4
    assert found["01K5P0M4C0000000000000000Y"]["status"] == "TAMPERED"
    shutil.rmtree(ledger_directory(state) / "tile")
    code, found = verify(state, "--all", "--log")
    assert code == 4
    assert found["ledger"]["status"] == "TAMPERED"


def test_another_root(state: Path, tmp_path: Path) -> None:
    record(tmp_path / "other", NAMES[:1])
    trust = str(ledger_directory(tmp_path / "other") / "root.pub")
    code, found = verify(state, "--log", "--trust", trust)
    assert code == 6
    assert found["ledger"]["status"] == "UNKNOWN-KEY"


def test_a_proof_goes_with_a_copy(state: Path, tmp_path: Path) -> None:
    path = path_of(state, NAMES[0])
    proof = tmp_path / "proof.json"
    trust = tmp_path / "root.pub"
    shutil.copy(ledger_directory(state) / "root.pub", trust)
    assert main(["--dir", str(state), "proof", NAMES[0], "-o", str(proof)]) == 0
    copy = tmp_path / "copy.agr"
    shutil.copy(path, copy)
    away = tmp_path / "nowhere"

    def judged(raw: bytes | None = None, text: str | None = None) -> tuple[int, str]:
        copy.write_bytes(path.read_bytes() if raw is None else raw)
        given = tmp_path / "given.json"
        given.write_text(proof.read_text() if text is None else text)
        options = ("--trust", str(trust), "--proof", str(given))
        code, found = verify(away, str(copy), *options)
        return code, next(iter(found.values()))["status"]

    assert judged() == (0, "OK-UNANCHORED")
    raw = path.read_bytes()
    for bit in range(0, len(raw) * 8, 101):
        altered = bytearray(raw)
        altered[bit // 8] ^= 1 << bit % 8
        assert judged(bytes(altered))[0] == 4
    other = path_of(state, NAMES[1]).read_bytes()
    assert judged(other) == (4, "TAMPERED")
    assert judged(raw[:-20])[0] in (3, 4)
    said = json.loads(proof.read_text())
    changes: tuple[dict[str, Any], ...] = (
        {"leaves": said["leaves"][:1]},
        {"epochs": []},
        {"leaves": [{**item, "index": item["index"] + 1} for item in said["leaves"]]},
        {"leaves": [{**item, "size": item["size"] - 1} for item in said["leaves"]]},
        {"checkpoint": said["checkpoint"][:-8]},
        {"wirewarden-proof": 2},
        {"anchors": 5},
    )
    for change in changes:
        assert judged(text=json.dumps({**said, **change})) == (4, "TAMPERED"), change
    assert judged(text="[" * 100_000)[0] == 4
    record(tmp_path / "other", NAMES[:1])
    shutil.copy(ledger_directory(tmp_path / "other") / "root.pub", trust)
    assert judged() == (6, "UNKNOWN-KEY")


def test_a_session_under_way_is_no_alarm(tmp_path: Path) -> None:
    world = World()
    notary = Notary(EvidenceConfig(), tmp_path, world)
    journal = Journal(
        tmp_path,
        gateway="gw",
        clock=world.mono_ns,
        wall=world.wall_ns,
        chance=world.chance,
        low=0,
        critical=0,
        ballast_bytes=1 << 16,
        commit_interval=0.02,
    )
    for name in NAMES[:2]:
        journal.open({"session": name})
    journal.flush()
    journal.sync()
    notary.tick(journal)
    notary.tick(journal)
    _, found = verify(tmp_path, "--all")
    assert [found[name]["status"] for name in NAMES[:2]] == ["INCOMPLETE"] * 2
    for log in list(journal.open_sessions.values()):
        log.end("closed", "done")
    journal.flush()
    while len(list(every_log(tmp_path))) < 2:
        os.sched_yield()
    code, found = verify(tmp_path, "--all")
    assert code == 0
    assert "does not have its end yet" in found[NAMES[0]]["scope"]
    journal.close()
    assert verify(tmp_path, "--all")[0] == 0
    notary.close()
    _, found = verify(tmp_path, "--all")
    assert "in the ledger" in found[NAMES[0]]["scope"]


def test_a_root_key_that_is_kept_apart(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    assert main(["keys", "root", str(keys)]) == 0
    assert main(["keys", "root", str(keys)]) == 1
    state = tmp_path / "state"
    assert main(["--dir", str(state), "keys", "epoch", str(keys / "root.key")]) == 0
    record(state, NAMES[:1])
    assert verify(state, "--all", "--log", "--trust", str(keys / "root.pub"))[0] == 0
