"""A power cut at any moment: what was promised is there, what was lost is told.

The recorder runs on a disk that notes every change; from that log the disk is made as
a power cut may leave it at many moments, in the hardest way that POSIX allows, and the
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
from disk_kit import each_cut, lossy_disk

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))

from journal_victim import expected, name

from protocols.wire import Side
from recorder import verify
from recorder.evidence import merkle
from recorder.evidence.anchors import Trust
from recorder.evidence.inbox import ledger_directory
from recorder.evidence.judge import Judge, has_ledger
from recorder.evidence.ledger import Ledger
from recorder.evidence.tiles import Tiles
from recorder.holds import holds
from recorder.journal import Journal
from recorder.reader import every_log, open_recording
from recorder.streams import Hop, Streams

VICTIM = Path(__file__).with_name("power_victim.py")
ROOT = Path(__file__).parents[2]
WINDOW = 700_000_000
"""Nanoseconds that ``os`` may lose: the commit interval of 100 ms, twice (one for the round
under way), and what this slow disk takes for them."""


class Promised:
    def __init__(self, path: Path, until: int, grace: int = 0) -> None:
        """What was promised ``grace`` ns before ``until``."""
        self.acked: dict[int, tuple[int, int, bool]] = {}
        self.published: dict[int, str] = {}
        self.held: set[str] = set()
        for line in path.read_bytes().splitlines():
            what, at, *rest = json.loads(line)
            if what == "acked" and at < until - grace:
                self.acked[rest[0]] = (rest[1], rest[2], rest[3])
            elif what == "published" and at < until:
                self.published[rest[0]] = rest[1]
            elif what == "held" and at < until:
                self.held.add(rest[0])
            elif what == "lifted" and at < until + 1_000_000_000:
                self.held.discard(rest[0])


def restarted(state: Path) -> Journal:
    journal = Journal(
        state, gateway="g", clock=time.monotonic_ns, wall=time.time_ns, chance=os.urandom,
        ballast_bytes=1 << 16, sealer=False, low=0, critical=0,
    )  # fmt: skip
    journal.close()
    return journal


def is_whole(state: Path, session: int, least: tuple[int, int], ended: bool) -> None:
    """It has a Log, with at least so many bytes of each side without a hole."""
    log = open_recording(state, name(session))
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


def tells_the_truth(path: Path, status: str) -> None:
    """What is on record was said; where something is missing the verdict says so."""
    log = open_recording(path.parents[4], path.stem)
    session = int(path.stem[1:])
    try:
        for side in range(2):
            at = 0
            for piece in Streams(log).pieces(Hop(Side(side), True)):
                if piece.offset != at:
                    assert status == verify.INCOMPLETE, "a hole, and nobody says so"
                if piece.raw is not None:
                    assert piece.raw == expected(session, side, piece.offset, piece.length)
                    at = piece.offset + piece.length
    finally:
        log.close()


def check(state: Path, promised: Promised, strict: bool) -> list[str]:
    """Start on what is left. Returns the notices."""
    if not state.exists():
        assert not promised.acked
        assert not promised.published
        return []
    journal = restarted(state)
    for session, (client, upstream, ended) in promised.acked.items():
        is_whole(state, session, (client, upstream), strict and ended)
    again = restarted(state)
    assert again.recovery.logs == []

    ledger = Ledger(ledger_directory(state), time.time_ns)
    try:
        _, faults = ledger.take_inbox()
        assert faults == []
        tiles = Tiles(ledger.directory, ledger.checkpoint.size)
        for size, root in promised.published.items():
            assert size <= ledger.checkpoint.size, "the ledger went back behind what was published"
            assert merkle.root(tiles.node, size).hex() == root, "a fork"
        ledger.heartbeat()
    finally:
        ledger.close()
    assert has_ledger(state)
    judge = Judge(state, Trust(), deep=True)
    allowed = (verify.OK, verify.INCOMPLETE)
    for path in every_log(state):
        verdict = judge.judge(path)
        assert verdict.status in allowed, verdict
        tells_the_truth(path, verdict.status)
    assert judge.missing() == []
    standing = {hold.id for hold in holds(state)}
    assert promised.held <= standing
    return journal.recovery.notices


def one_life(folder: Path, mode: str, seconds: float, seed: int, cuts: int) -> int:
    folder.mkdir()
    with lossy_disk(folder) as disk:
        promises = folder / "promises"
        state = disk.path / "state"
        done = subprocess.run(
            [sys.executable, str(VICTIM), str(state), str(promises), mode, str(seconds), str(seed)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    grace = 0 if mode == "disk" else WINDOW

    def look(left: Path, until: int, how: str) -> None:
        check(left / "state", Promised(promises, until, grace), mode == "disk")

    return each_cut(disk.log, cuts, seed, look)


@pytest.mark.parametrize("mode", ["disk", "os"])
def test_power_cuts(tmp_path: Path, mode: str) -> None:
    assert one_life(tmp_path / "life", mode, 0.6, 4, 9) == 9


@pytest.mark.deep
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("mode", ["disk", "os"])
def test_power_cuts_many_times(tmp_path: Path, mode: str) -> None:
    states = 0
    for life in range(12):
        states += one_life(tmp_path / f"life{life}", mode, 2.5, 100 + life, 60)
    print(f"{mode}: {states} states after a power cut in 12 lives")


def test_it_goes_red_without_fsync(tmp_path: Path, monkeypatch: Any) -> None:
    """The proof that the disk loses: the same, with every fsync left out."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import os\nos.fsync = os.fdatasync = lambda fd: None\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setattr(sys.modules[__name__], "ROOT", f"{tmp_path / 'site'}:{ROOT}")
    with pytest.raises((AssertionError, OSError, Exception)):
        one_life(tmp_path / "life", "disk", 0.3, 5, 7)
