"""A power cut at any moment: what was promised is there, what was lost is told.

The recorder runs on a disk that notes every change; from that log the disk is made as
a power cut may leave it at many moments, in the hardest ways that POSIX allows, and the
recorder is started on each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from crash_states import log_entries
from disk_kit import each_cut, lossy_disk
from journal_victim import expected, name

from gateway.approvals import Approvals
from gateway.identity.errors import Refused
from gateway.identity.tickets import Tickets
from gateway.world import World
from protocols.wire import Side
from recorder import verify
from recorder.evidence import merkle
from recorder.evidence.anchors import Trust
from recorder.evidence.inbox import ledger_directory
from recorder.evidence.judge import Judge, has_ledger
from recorder.evidence.ledger import Ledger
from recorder.evidence.tiles import Tiles
from recorder.holds import holds
from recorder.index.answer import NAME as INDEX
from recorder.index.answer import Answer
from recorder.index.wanted import Wanted
from recorder.journal import Journal
from recorder.reader import every_log, open_recording
from recorder.segment import BALLAST
from recorder.streams import Hop, Streams
from recorder.tombstones import tombstones

VICTIM = Path(__file__).with_name("power_victim.py")
ROOT = Path(__file__).parents[2]


class Promised:
    """What was promised before ``until``; of recordings before ``durable``."""

    def __init__(self, path: Path, until: int, durable: int) -> None:
        self.acked: dict[int, tuple[int, int, bool]] = {}
        self.published: dict[int, str] = {}
        self.held: set[str] = set()
        self.deleting: set[str] = set()
        self.deleted: set[str] = set()
        self.approvals: dict[str, str] = {}
        self.revoked: set[str] = set()
        for line in path.read_bytes().splitlines():
            what, at, *rest = json.loads(line)
            begun = at < until + 1_000_000_000
            kept = at < until
            if what == "acked" and at < durable:
                self.acked[rest[0]] = (rest[1], rest[2], rest[3])
            elif what == "published" and kept:
                self.published[rest[0]] = rest[1]
            elif what == "held" and kept:
                self.held.add(rest[0])
            elif what == "lifted" and begun:
                self.held.discard(rest[0])
            elif what == "deleting" and begun:
                self.deleting.add(rest[0])
            elif what == "deleted" and kept:
                self.deleted.add(rest[0])
            elif what == "approval" and kept:
                self.approvals[rest[0]] = rest[1]
            elif what == "revoked" and kept:
                self.revoked.add(rest[0])


def restarted(state: Path) -> Journal:
    journal = Journal(
        state, gateway="g", clock=time.monotonic_ns, wall=time.time_ns, chance=os.urandom,
        ballast_bytes=1 << 16, sealer=False, low=0, critical=0,
    )  # fmt: skip
    journal.close()
    return journal


def is_whole(state: Path, session: str, least: tuple[int, int], ended: bool) -> None:
    """It has a Log, with at least so many bytes of each side without a hole."""
    log = open_recording(state, session)
    try:
        verdict = verify.verify(log)
        assert not log.live
        assert log.end is not None
        wanted = (verify.OK,) if ended else (verify.OK, verify.INCOMPLETE)
        assert verdict.status in wanted, (session, verdict)
        for side in range(2):
            at = 0
            for piece in Streams(log).pieces(Hop(Side(side), True)):
                if piece.offset != at:
                    break
                at += piece.length
            assert at >= least[side], f"{session}: {at} of {least[side]} bytes"
    finally:
        log.close()


def tells_the_truth(state: Path, session: str, status: str) -> None:
    """What is on record was said; where something is missing the verdict says so."""
    log = open_recording(state, session)
    try:
        for side in range(2):
            at = 0
            for piece in Streams(log).pieces(Hop(Side(side), True)):
                if piece.offset != at:
                    assert status == verify.INCOMPLETE, "a hole, and nobody says so"
                if piece.raw is not None:
                    said = expected(int(session[1:]), side, piece.offset, piece.length)
                    assert piece.raw == said
                    at = piece.offset + piece.length
    finally:
        log.close()


def check_ledger(state: Path, promised: Promised) -> None:
    """It can be written on, and holds each tree that was published."""
    ledger = Ledger(ledger_directory(state), time.time_ns)
    try:
        _, faults = ledger.take_inbox()
        assert faults == []
        tiles = Tiles(ledger.directory, ledger.checkpoint.size)
        for size, root in promised.published.items():
            assert size <= ledger.checkpoint.size, "the ledger went back behind what was published"
            assert merkle.root(tiles.node, size).hex() == root, "a fork"
        ledger.heartbeat()
        ledger.rotate()
        keys = sorted(path.name for path in (ledger.directory / "keys").glob("epoch-*"))
        assert keys == [f"epoch-{ledger.checkpoint.epoch:08d}.key"], "an old key is left"
    finally:
        ledger.close()
    assert has_ledger(state)


def check_approvals(state: Path, promised: Promised) -> None:
    """None goes back: what was used up can't be used again."""
    approvals = Approvals(state / "approvals.db")
    try:
        for number, least in promised.approvals.items():
            found = approvals.get(number).state.value
            if least == "consumed":
                assert found == "consumed"
            elif least == "approved":
                assert found in ("approved", "consumed", "withdrawn", "expired")
    finally:
        approvals.close()


def check_index(state: Path) -> None:
    """What it answers is what a new one would."""
    told: list[str] = []
    before = sorted(line.session for line in Answer(state, Wanted(), told.append).lines())
    for path in state.glob(INDEX + "*"):
        path.unlink()
    after = sorted(line.session for line in Answer(state, Wanted(), told.append).lines())
    assert before == after, told


def check(state: Path, promised: Promised, strict: bool) -> None:
    """Start on what is left."""
    if not state.exists():
        assert not promised.acked
        assert not promised.published
        return
    restarted(state)
    for number, (client, upstream, ended) in promised.acked.items():
        session = name(number)
        if session not in promised.deleting:  # those may be half gone, the last part first
            is_whole(state, session, (client, upstream), strict and ended)
    again = restarted(state)
    assert again.recovery.logs == []
    check_ledger(state, promised)
    judge = Judge(state, Trust(), deep=True)
    present = set()
    for path in every_log(state):
        verdict = judge.judge(path)
        allowed = [verify.OK, verify.INCOMPLETE]
        if verdict.session in promised.deleting:
            allowed.append(verify.DELETED)
        assert verdict.status in allowed, (path.name, verdict)
        if verdict.session not in promised.deleting:
            tells_the_truth(state, verdict.session, verdict.status)
        present.add(verdict.session)
    gone = {verdict.session for verdict in judge.missing() if verdict.status == verify.DELETED}
    assert [v for v in judge.missing() if v.status != verify.DELETED] == []
    assert gone <= promised.deleting
    assert promised.deleted <= gone, "a deletion that was undone, or that nobody vouches for"
    assert not promised.deleted & present
    assert promised.held <= {hold.id for hold in holds(state)}
    assert promised.deleted <= {stone.line.session for stone in tombstones(state)}
    for ticket in promised.revoked:
        with pytest.raises(Refused):
            Tickets(state, World()).redeem(ticket)
    check_index(state)
    if promised.approvals:
        check_approvals(state, promised)


def lives(
    folder: Path, mode: str, count: int, seconds: float, seed: int, cuts: int,
    fault: dict[str, Any] | None = None,
) -> int:  # fmt: skip
    """``count`` processes one after the other on one disk, and ``cuts`` states that a power
    cut may leave of it, at moments of all their lives. The second has to live with ``fault``."""
    folder.mkdir()
    promises = folder / "promises"
    with lossy_disk(folder) as disk:
        state = disk.path / "state"
        for life in range(count):
            if fault is not None and life == 1:
                disk.fault(**fault)
            if life == 2:
                disk.heal()
            arguments = [str(v) for v in (state, promises, mode, seconds, seed + life)]
            if fault is not None:
                arguments.append("tolerant")
            done = subprocess.run(
                [sys.executable, str(VICTIM), *arguments],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True, text=True, check=False, timeout=60,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
    syncs = journal_syncs(disk.log)

    def look(left: Path, until: int, how: str) -> None:
        # In os mode what was written before a commit began is durable after it. A commit syncs
        # one segment, or two, and begins after the one before it: so the fourth last counts.
        done = [at for at in syncs if at < until]
        durable = until if mode == "disk" else done[-4] if len(done) > 3 else 0
        check(left / "state", Promised(promises, until, durable), mode == "disk")

    return each_cut(disk.log, cuts, seed, look)


def journal_syncs(log: Path) -> list[int]:
    """When a segment was synced."""
    segments: set[int] = set()
    times = []
    for at, what, *rest in log_entries(log):
        if what == "make" and rest[2].endswith(b".agj") and rest[2] != BALLAST.encode():
            segments.add(rest[0])
        elif what == "sync" and rest[0] in segments:
            times.append(at)
    return times


@pytest.mark.parametrize("mode", ["disk", "os"])
def test_power_cuts(tmp_path: Path, mode: str) -> None:
    assert lives(tmp_path / "disk", mode, 1, 0.6, 4, 8) == 8


@pytest.mark.deep
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("mode", ["disk", "os"])
def test_power_cuts_many_times(tmp_path: Path, mode: str) -> None:
    states = 0
    for turn in range(12):
        states += lives(tmp_path / f"disk{turn}", mode, 3, 1.0, 100 + 10 * turn, 60)
    print(f"{mode}: {states} states after a power cut, of 36 lives on 12 disks")


def test_it_goes_red_without_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof that the disk loses: the same, with every fsync left out."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import os\nos.fsync = os.fdatasync = lambda fd: None\n"
    )
    monkeypatch.setattr(sys.modules[__name__], "ROOT", f"{tmp_path / 'site'}:{ROOT}")
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        lives(tmp_path / "disk", "disk", 1, 0.3, 5, 7)
