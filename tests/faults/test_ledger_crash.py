"""kill -9 at any moment of a ledger: it only ever grows, and nobody whom it was told of is
missing from it."""

from __future__ import annotations

import contextlib
import io
import json
import random
from pathlib import Path
from typing import Any

import pytest
from ledger_victim import EVIDENCE, open_journal
from victims import killed

from gateway.notary import Notary
from gateway.world import World
from recorder.cli import main
from recorder.evidence import independent_verifier, merkle
from recorder.evidence.inbox import ledger_directory
from recorder.evidence.ledger import Ledger
from recorder.evidence.watch import Watch
from recorder.live import live_sessions
from recorder.reader import every_log
from recorder.state import session_of

VICTIM = Path(__file__).with_name("ledger_victim.py")


class Seen:
    """What was said to others, over all lives."""

    def __init__(self) -> None:
        self.begun: set[str] = set()
        self.ended: set[str] = set()
        self.checkpoints: dict[int, str] = {}
        self.faults: list[str] = []

    def hear(self, said: bytes) -> None:
        for line in said.split(b"\n")[:-1]:
            what, *words = line.decode().split(" ")
            if what == "checkpoint":
                size, root = int(words[0]), words[1]
                assert self.checkpoints.setdefault(size, root) == root, "two roots of one size"
            elif what == "fault":
                self.faults.append(" ".join(words))
            else:
                (self.begun if what == "begun" else self.ended).add(words[0])


def one_life(state: Path, life: int, seconds: float, seen: Seen) -> None:
    """Run the victim, kill it, and note what it said. Every other life has first got as far as
    a checkpoint and a session's end, however slow the machine is."""
    far = (lambda said: b"checkpoint" in said and b"ended" in said) if life % 2 == 0 else None
    said = killed(VICTIM, state, life, after=seconds, enough=far)
    seen.hear(said)


def verdicts(state: Path) -> dict[str, dict[str, Any]]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        main(["--dir", str(state), "verify", "--all", "--log", "--json"])
    told = [json.loads(line) for line in out.getvalue().splitlines()]
    return {item["session"] or item["name"]: item for item in told}


def bad(state: Path) -> list[Any]:
    return [
        item
        for item in verdicts(state).values()
        if item["status"] not in ("OK-UNANCHORED", "INCOMPLETE")
    ]


def as_left(state: Path, seen: Seen, thorough: bool) -> None:
    """What an auditor finds who comes before anybody has started it again."""
    there = {session_of(path) for path in every_log(state)}
    there |= {str(live.header["session"]) for live in live_sessions(state / "journal")}
    assert seen.begun <= there
    if (ledger_directory(state) / "checkpoint").exists() and thorough:
        assert bad(state) == []


def started_again(state: Path, seen: Seen, thorough: bool) -> None:
    """What there is after a start and a regular end."""
    world = World()
    notary = Notary(EVIDENCE, state, world)
    journal = open_journal(state, world)
    notary.tick(journal)
    journal.close()
    notary.close()
    assert notary.failed == ""
    assert journal.recovery.corrupt == []
    watch = Watch(ledger_directory(state), deep=thorough)
    said = watch.checkpoint
    assert max(seen.checkpoints, default=0) <= said.size
    ledger = Ledger(ledger_directory(state), world.wall_ns)
    for size, root in seen.checkpoints.items():
        proof = ledger.proof_from(size)
        merkle.check_consistency(size, said.size, proof, bytes.fromhex(root), said.root)
    assert len(list((ledger.directory / "keys").glob("epoch-*.key"))) == 1
    ledger.close()
    known = {name for name, entry in watch.sessions.items() if entry.start and entry.end}
    assert seen.begun <= known
    assert seen.begun <= {session_of(path) for path in every_log(state)}
    of_ended = {watch.sessions[name].end[1].text("status") for name in seen.ended}  # type: ignore[index]
    assert of_ended <= {"closed"}
    if thorough:
        assert bad(state) == []
        trust = (ledger_directory(state) / "root.pub").read_text()
        found = independent_verifier.verify_state(trust, state)
        assert not any(found.values())
    # Only the last few, so that a round does not take longer and longer.
    for size in sorted(seen.checkpoints)[:-20]:
        del seen.checkpoints[size]


def rounds(state: Path, count: int, every: int) -> None:
    rng, seen = random.Random(count), Seen()
    checkpoints = 0
    for life in range(count):
        thorough = life % every == every - 1
        before = len(seen.checkpoints)
        one_life(state, life, rng.uniform(0.0, 0.35), seen)
        checkpoints += len(seen.checkpoints) - before
        as_left(state, seen, thorough)
        started_again(state, seen, thorough)
        assert seen.faults == []
    assert len(seen.begun) > count // 2
    assert seen.ended
    assert checkpoints > count // 2
    print(f"{count} rounds, {len(seen.begun)} sessions begun, {len(seen.ended)} ended, "
          f"{checkpoints} checkpoints seen")  # fmt: skip


@pytest.mark.timeout(120)
def test_a_ledger_survives_kills(tmp_path: Path) -> None:
    rounds(tmp_path, 3, 3)


@pytest.mark.deep
@pytest.mark.timeout(3600)
def test_a_ledger_survives_200_kills(tmp_path: Path) -> None:
    rounds(tmp_path, 200, 25)
