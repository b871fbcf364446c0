"""Clocks that are wrong, or are set: the ledger's time never goes back, its keys still change,
and verify says whose clock was ahead."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from recorder.evidence import epochs
from recorder.evidence.anchors import Trust, ahead, check_anchor
from recorder.evidence.inbox import end_leaf, start_leaf
from recorder.evidence.judge import Judge
from recorder.evidence.leaves import unpack_leaf
from recorder.evidence.ledger import Ledger
from recorder.evidence.notes import COSIGNATURE, cosign, signature_line, verifier_key
from recorder.evidence.watch import Watch
from recorder.journal import Journal
from recorder.reader import every_log

SECOND = 1_000_000_000
YEAR = 365 * 86_400 * SECOND
NOW = 1_790_000_000 * SECOND


class Wall:
    def __init__(self, now: int = NOW) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


@pytest.mark.parametrize("steps", [(YEAR, 0), (-YEAR, 0, YEAR), (YEAR, -YEAR, 0), (-1, 1, -1)])
def test_the_ledgers_time_never_goes_back(tmp_path: Path, steps: tuple[int, ...]) -> None:
    wall = Wall()
    ledger = Ledger(tmp_path, wall)
    ledger.append([start_leaf("S", bytes(32))])
    for number, step in enumerate(steps):
        wall.now = NOW + step
        ledger.append([end_leaf(f"S{number}", 1, bytes(32), "closed")])
        ledger.heartbeat()
        if number % 2:  # also over a restart
            ledger.close()
            ledger = Ledger(tmp_path, wall)
    ledger.rotate()
    ledger.close()
    watch = Watch(tmp_path, deep=True)
    times = [unpack_leaf(raw).at for raw in watch.tiles.entries()]
    assert times == sorted(times)
    assert watch.checkpoint.at == times[-1] == max(NOW, NOW + max(steps))


def test_keys_change_although_the_clock_was_a_year_ahead(tmp_path: Path) -> None:
    wall = Wall(NOW + YEAR)
    ledger = Ledger(tmp_path, wall, epoch_seconds=3600)
    wall.now = NOW
    assert not ledger.rotate_if_due()
    wall.now += 3599 * SECOND
    assert not ledger.rotate_if_due()
    wall.now += 2 * SECOND
    assert ledger.rotate_if_due()
    ledger.close()
    again = Ledger(tmp_path, wall, epoch_seconds=3600)
    assert not again.rotate_if_due()
    wall.now += 3601 * SECOND
    assert again.rotate_if_due()
    assert [path.name for path in (tmp_path / "keys").glob("epoch-*")] == [
        epochs.key_path(tmp_path, 2).name
    ]
    again.close()
    Watch(tmp_path, deep=True)


def test_verify_says_whose_clock_was_ahead(tmp_path: Path) -> None:
    """A session of a gateway whose clock is a year ahead, in a ledger whose clock is right."""
    wall = Wall(time.time_ns() + YEAR + 60 * SECOND)
    (tmp_path / "evidence/inbox").mkdir(parents=True)
    for _ in range(2):  # the second recovers what the first left
        journal = Journal(
            tmp_path, gateway="g", clock=time.monotonic_ns, wall=wall, chance=bytes,
            sealer=False, ballast_bytes=1 << 16, low=0, critical=0,
        )  # fmt: skip
        if not journal.recovery.logs:
            journal.open({"session": "S1"}).end("closed", "done")
        journal.close()
    ledger = Ledger(tmp_path / "evidence", time.time_ns)
    assert ledger.take_inbox()[0] == 2
    ledger.close()
    judge = Judge(tmp_path, Trust())
    verdict = judge.judge(next(every_log(tmp_path)))
    assert verdict.status == "OK-UNANCHORED"
    assert "the gateway's clock was 365 days ahead when it began" in verdict.scope
    assert judge.doubts == []


def test_verify_says_that_a_ledger_is_of_the_future(tmp_path: Path) -> None:
    Ledger(tmp_path / "evidence", Wall(time.time_ns() + YEAR + 60 * SECOND)).close()
    assert Judge(tmp_path, Trust()).doubts == ["the gateway's clock was 365 days ahead of this one"]


def test_only_what_honest_clocks_do_not_do_is_told() -> None:
    assert ahead(NOW, NOW) == ahead(NOW + 599 * SECOND, NOW) == ahead(NOW, NOW + YEAR) == ""
    assert ahead(NOW + 3600 * SECOND, NOW) == "the gateway's clock was 60 minutes ahead"


def test_a_witness_that_saw_it_a_year_before_its_date(tmp_path: Path) -> None:
    wall = Wall(NOW + YEAR)
    ledger = Ledger(tmp_path, wall)
    key = Ed25519PrivateKey.generate()
    name, raw = cosign(ledger.note.text, "w.example/x", key, NOW // SECOND)
    lines = signature_line(name, raw).encode()
    trust = Trust(witness=verifier_key(name, key.public_key().public_bytes_raw(), COSIGNATURE))
    anchors, doubts = check_anchor(ledger.note, ledger.note.encoded(), lines, None, trust)
    assert [anchor.at for anchor in anchors] == [NOW], "the witness's time is what is shown"
    assert doubts == ["the gateway's clock was 365 days ahead, says witness w.example/x"]
    ledger.close()
