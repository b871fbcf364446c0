"""The notary: each session's beginning and end is in the ledger, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.config_evidence import EvidenceConfig
from gateway.notary import Notary
from gateway.world import FixedWorld
from recorder.errors import RecorderError
from recorder.evidence.facts import facts_of
from recorder.evidence.inbox import inbox_directory, ledger_directory, waiting
from recorder.evidence.leaves import Kind, unpack_leaf
from recorder.evidence.watch import Watch
from recorder.journal import Journal
from recorder.reader import every_log

NAMES = [f"01K5P0M4C0000000000000000{letter}" for letter in "0123456789"]


def journal(state: Path, world: FixedWorld, **more: Any) -> Journal:
    more = {"sealer": False, "ballast_bytes": 1 << 16, "low": 0, "critical": 0} | more
    return Journal(
        state,
        gateway="gw",
        clock=world.mono_ns,
        wall=world.wall_ns,
        chance=world.chance,
        **more,
    )


def session(made: Journal, name: str, end: bool = True) -> None:
    log = made.open({"session": name})
    log.event("notice", {"text": "x" * 50})
    made.flush()
    if end:
        log.end("closed", "done")
        made.flush()


def leaves(state: Path) -> list[tuple[Kind, str]]:
    watch = Watch(ledger_directory(state), deep=True)
    found = [unpack_leaf(raw) for raw in watch.tiles.entries()]
    return [(leaf.kind, str(leaf.fields.get("session", ""))) for leaf in found]


def test_beginnings_come_once_they_are_durable(tmp_path: Path) -> None:
    world = FixedWorld()
    notary = Notary(EvidenceConfig(), tmp_path, world)
    notary.policy("v1")
    made = journal(tmp_path, world)
    session(made, NAMES[0], end=False)
    notary.tick(made)
    assert leaves(tmp_path) == [(Kind.EPOCH, ""), (Kind.POLICY, "")]
    made.sync()
    notary.tick(made)
    notary.tick(made)
    assert leaves(tmp_path)[2:] == [(Kind.START, NAMES[0])]
    world.pass_time(61)
    notary.tick(made)
    notary.tick(made)
    assert leaves(tmp_path)[3:] == [(Kind.HEARTBEAT, "")]
    made.close()
    # The sealer did not run: recovery cuts the Log, and hands over its end.
    journal(tmp_path, world).close()
    notary.close()
    assert leaves(tmp_path)[4:] == [(Kind.END, NAMES[0])]
    watch = Watch(ledger_directory(tmp_path))
    entry = watch.sessions[NAMES[0]]
    facts = facts_of(next(iter(every_log(tmp_path))))
    assert entry.start is not None
    assert entry.start[1].raw("digest") == facts.digest
    assert entry.end is not None
    assert entry.end[1].raw("root") == facts.root


def test_a_beginning_that_is_not_even_written_is_not_told(tmp_path: Path) -> None:
    """All that was written is durable, and yet its header may still go with the power."""
    world = FixedWorld()
    notary = Notary(EvidenceConfig(), tmp_path, world)
    made = journal(tmp_path, world)
    session(made, NAMES[0], end=False)
    made.open({"session": NAMES[1]})
    made.sync()
    for _ in range(3):
        notary.tick(made)
        assert leaves(tmp_path)[1:] == [(Kind.START, NAMES[0])]
    made.flush()
    notary.tick(made)
    assert leaves(tmp_path)[1:] == [(Kind.START, NAMES[0])]
    made.sync()
    notary.tick(made)
    assert leaves(tmp_path)[2:] == [(Kind.START, NAMES[1])]
    made.close()
    notary.close()


def test_two_workers_one_ledger(tmp_path: Path) -> None:
    world = FixedWorld()
    notaries = [Notary(EvidenceConfig(), tmp_path, world) for _ in range(2)]
    journals = [journal(tmp_path, world, worker=str(n), sealer=True) for n in range(2)]
    for number, made in enumerate(journals):
        session(made, NAMES[number])
        notaries[number].policy("v")
        notaries[number].tick(made)
    journals[1].close()
    notaries[1].close()
    assert len(waiting(inbox_directory(tmp_path))) > 0, "it left them to the keeper"
    journals[0].close()
    notaries[0].close()
    said = leaves(tmp_path)
    for name in NAMES[:2]:
        assert [kind for kind, who in said if who == name] == [Kind.START, Kind.END]


def test_what_was_there_before_is_taken_in(tmp_path: Path) -> None:
    world = FixedWorld()
    made = journal(tmp_path, world, sealer=True)
    session(made, NAMES[0])
    made.close()
    off = Notary(EvidenceConfig(enabled=False), tmp_path, world)
    off.close()
    assert not inbox_directory(tmp_path).exists()
    notary = Notary(EvidenceConfig(), tmp_path, world)
    notary.close()
    assert leaves(tmp_path)[1:] == [(Kind.START, NAMES[0]), (Kind.END, NAMES[0])]


def test_anchors_that_do_not_come_are_an_alarm(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("")
    nowhere = "http://127.0.0.1:1/"
    config = EvidenceConfig(witness=nowhere, witness_key="w", tsa=nowhere, tsa_ca=ca)
    notary = Notary(config, tmp_path / "state", FixedWorld())
    told: list[str] = []
    notary.alarm = lambda what, text: told.append(text)
    notary.anchor()
    assert told == []
    notary._tick_safely(None)
    notary.anchor()
    notary.anchor()
    assert [text.partition(":")[0] for text in told] == ["witness", "tsa"]
    notary.close()


def test_a_failure_is_an_alarm_and_stops_nobody_unless_it_must(tmp_path: Path) -> None:
    world = FixedWorld()
    for required in (False, True):
        state = tmp_path / str(required)
        notary = Notary(EvidenceConfig(required=required), state, world)
        told: list[tuple[str, str]] = []
        notary.alarm = lambda what, text, told=told: told.append((what, text))  # type: ignore[misc]
        notary._tick_safely(None)
        (ledger_directory(state) / "checkpoint").write_text("nonsense")
        notary.close()
        again = Notary(EvidenceConfig(required=required), state, world)
        again.alarm = notary.alarm
        again._tick_safely(None)
        again._tick_safely(None)
        assert len(told) == 1
        assert "can't be used" in told[0][1]
        if required:
            with pytest.raises(RecorderError, match="evidence"):
                again.check()
        else:
            again.check()
