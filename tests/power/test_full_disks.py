"""Full disks: a small tmpfs, and an ext4 of 32 MB on a loop device (which takes a part of
a write before it refuses, and keeps room back). The gateway's sessions end with the protocol's
error and their END on record, it lives on, and serves when there is room; the ledger, the
index, approvals and exports fail in words, and are as they were when there is room again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from mock_upstream import NO_PASSWORD, MockUpstream
from mounts import mounted, tmpfs
from process import pid
from stack import Stack
from test_091_forward_before_durable import recorded, unrecorded, upstream
from test_failing_gateway import said_before
from wire import Wire, await_true, enter, query

from gateway.approval_rows import ApprovalRequest
from gateway.approvals import Approvals
from gateway.policy.verdicts import ApprovalNeed
from gateway.store import StoreError
from recorder.evidence.inbox import hand_over, policy_leaf, start_leaf
from recorder.evidence.ledger import Ledger, LedgerError
from recorder.evidence.watch import Watch
from recorder.index.answer import NAME as INDEX
from recorder.index.answer import Answer
from recorder.index.wanted import Wanted
from recorder.journal import Journal
from recorder.reader import every_log

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["tmpfs", "ext4"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """32 MB."""
    options = tmpfs("32m")
    if request.param == "ext4":
        image = tmp_path / "image"
        image.touch()
        os.truncate(image, 32 << 20)
        made = subprocess.run(["mkfs.ext4", "-q", str(image)], capture_output=True, check=False)
        if made.returncode:
            pytest.skip("no mkfs.ext4")
        options = ["-o", "loop", str(image)]
    with mounted(tmp_path / "disk", *options) as mount:
        yield mount


def fill(disk: Path) -> Path:
    """Use up every byte."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 256, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    return filler


@pytest.mark.deep
@pytest.mark.timeout(90)
def test_a_gateway(disk: Path) -> None:
    """(Row 92 of the threats has it on a tmpfs, in every run.)"""
    mock = MockUpstream(upstream)
    with Stack(disk, mock, target=NO_PASSWORD) as stack:
        number = pid(stack)
        wires = [enter(stack) for _ in range(3)]
        idle = enter(stack)
        filler = fill(disk)
        for turn in range(3000):
            wire = wires[turn % 3]
            if not wire.send(query(f"SELECT 2 -- {'x' * 4000}")).until().status:
                break
        else:
            raise AssertionError("sessions go on without a record")
        for wire in (*wires, idle):
            wire.rest()
            assert b"C53100" in wire.seen
        for _ in range(2):
            with Wire(stack.port) as new:
                assert new.login(stack.token()).code == "53100"
        filler.unlink()

        def serves() -> bool:
            with Wire(stack.port) as new:
                return new.login(stack.token()).status == "I"

        await_true(serves, 20, "service")
        assert pid(stack) == number
        stack.stop()
        assert "Traceback" not in stack.output()
        logs = recorded(stack.state)
        seen = [said_before(wire.seen) for wire in (*wires, idle)]
        assert not unrecorded(seen, [client for client, _ in logs.values()])
        heard = [bytes(call.heard) for call in mock.calls if call.heard]
        assert not unrecorded(heard, [server for _, server in logs.values()])
        done = stack.recorder("verify", "--all")
        assert done.returncode == 0, done.stdout
    mock.close()


def test_a_ledger_and_its_inbox(disk: Path) -> None:
    ledger = Ledger(disk / "evidence", time.time_ns)
    ledger.append([policy_leaf("g", 1, "v1")])
    before = ledger.checkpoint
    waits = [start_leaf(f"S{n}", bytes(32)) for n in range(700)]
    hand_over(ledger.inbox, waits[:400])
    filler = fill(disk)
    with pytest.raises(OSError, match=r"No space|short write"):
        hand_over(ledger.inbox, waits[400:])
    with pytest.raises((LedgerError, OSError)):
        ledger.take_inbox()
    with pytest.raises((LedgerError, OSError)):
        ledger.rotate()
    ledger.close()
    assert Watch(ledger.directory, deep=True).checkpoint == before, "what was signed stands"
    filler.unlink()
    again = Ledger(disk / "evidence", time.time_ns)
    assert again.take_inbox() == (400, [])
    hand_over(again.inbox, waits[400:])
    assert again.take_inbox() == (300, [])
    again.rotate()
    again.close()
    assert len(Watch(again.directory, deep=True).sessions) == 700


def test_approvals(disk: Path) -> None:
    approvals = Approvals(disk / "approvals.db", instance="g1")
    asked = ApprovalRequest(
        "S1", "run", "agent", "iss", ("g",), "db", "postgres", "d", "DELETE " * 2000, (),
        (ApprovalNeed("r", ("g",)),), ("r",), "held", "v1",
    )  # fmt: skip
    first = approvals.request(asked).id
    filler = fill(disk)
    made = []
    with pytest.raises(StoreError):
        for _ in range(1000):
            made.append(approvals.request(asked).id)
    filler.unlink()
    assert {a.id for a in approvals.list()} >= {first, *made}
    assert approvals.request(asked).id not in made
    approvals.close()


def test_the_index_and_exports(disk: Path) -> None:
    state = disk / "state"
    journal = Journal(
        state, gateway="g", clock=time.monotonic_ns, wall=time.time_ns, chance=os.urandom,
        ballast_bytes=1 << 16, sealer=False, low=0, critical=0,
    )  # fmt: skip
    for number in range(40):
        log = journal.open({"session": f"S{number:03d}", "protocol": "postgres"})
        log.command(1, "run", f"select {number}", 0)
        log.end("closed", "done")
    journal.close()
    Journal(
        state, gateway="g", clock=time.monotonic_ns, wall=time.time_ns, chance=os.urandom,
        ballast_bytes=1 << 16, sealer=False, low=0, critical=0,
    ).close()  # fmt: skip
    assert len(list(every_log(state))) == 40
    filler = fill(disk)
    told: list[str] = []
    assert len(list(Answer(state, Wanted(), told.append).lines())) == 40
    assert any("index" in text for text in told), "it answers without, and says so"
    for form in ("ndjson", "bundle"):
        out = disk / f"out.{form}"
        which = [] if form == "ndjson" else ["S001"]
        done = subprocess.run(
            [sys.executable, "-m", "recorder.cli", "export", "--format", form, "-o", str(out),
             "--dir", str(state), *which],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 1, done
        assert "Traceback" not in done.stderr
        assert "No space" in done.stderr
    filler.unlink()
    told.clear()
    lines = list(Answer(state, Wanted(since=datetime(2000, 1, 1, tzinfo=UTC)), told.append).lines())
    assert len(lines) == 40
    assert told == []
    assert (state / INDEX).stat().st_size > 4096
