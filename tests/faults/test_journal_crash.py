"""kill -9 at any moment: whatever was acknowledged is in a Log."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from journal_victim import expected, name
from victims import killed

from protocols.wire import Side
from recorder import verify
from recorder.evidence.facts import facts_of
from recorder.evidence.inbox import inbox_directory, read_items, waiting
from recorder.evidence.leaves import Kind, unpack_fields
from recorder.journal import Journal
from recorder.parted import files_of
from recorder.reader import every_log, open_recording
from recorder.recovery import recover
from recorder.segment import BALLAST, segment_numbers
from recorder.streams import Hop, Streams

VICTIM = Path(__file__).with_name("journal_victim.py")


def one_life(state: Path, first: int, seconds: float, *mode: str) -> dict[int, tuple[int, ...]]:
    """Run the victim, kill it, and return what it acknowledged."""
    said = killed(VICTIM, state, first, *mode, after=seconds)
    acked: dict[int, tuple[int, ...]] = {}
    for line in said.split(b"\n")[:-1]:
        session, *rest = (int(word) for word in line.split())
        acked[session] = tuple(rest)
    return acked


def reopened(state: Path) -> Journal:
    journal = Journal(
        state, gateway="g", clock=time.monotonic_ns, wall=time.time_ns, chance=os.urandom,
        ballast_bytes=1 << 16, sealer=False, low=0, critical=0,
    )  # fmt: skip
    journal.close()
    return journal


def check(state: Path, acked: dict[int, tuple[int, ...]]) -> None:
    for session, (from_client, from_upstream, ended) in acked.items():
        log = open_recording(state, name(session))
        assert not log.live
        verdict = verify.verify(log)
        wanted = (verify.OK,) if ended else (verify.OK, verify.INCOMPLETE)
        assert verdict.status in wanted, (session, verdict)
        assert log.end is not None
        assert ended == (log.end.status == "closed") or log.end.status == "closed"
        for side, least in ((0, from_client), (1, from_upstream)):
            raw = b""
            for piece in Streams(log).pieces(Hop(Side(side), True)):
                # The victim draws a span's bytes from where the span starts.
                assert piece.raw == expected(session, side, piece.offset, piece.length)
                raw += piece.raw
            assert len(raw) >= least, (session, side)
            out = b"".join(p.raw or b"" for p in Streams(log).pieces(Hop(Side(1 - side), False)))
            assert out == raw
        log.close()


def rounds(tmp_path: Path, count: int, mode: str) -> None:
    rng = random.Random(count)
    torn = total = 0
    for turn in range(count):
        acked = one_life(tmp_path, turn * 100_000, rng.uniform(0.02, 0.25), mode)
        journal = reopened(tmp_path)
        assert journal.recovery.corrupt == [], journal.recovery.notices
        torn += len(journal.recovery.torn)
        total += len(acked)
        check(tmp_path, acked)
        if turn % 5 == 0:
            before = {p: p.stat().st_mtime_ns for p in every_log(tmp_path)}
            again = reopened(tmp_path)
            assert again.recovery.logs == []
            assert {p: p.stat().st_mtime_ns for p in every_log(tmp_path)} == before
        for path in every_log(tmp_path):
            path.unlink()
    assert total > count
    assert not list(tmp_path.rglob("*.tmp"))
    assert (tmp_path / "journal" / "0" / BALLAST).exists()
    print(f"{count} rounds, {total} sessions acknowledged, {torn} torn tails")


@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    rounds(tmp_path, 12, "os")


def test_nothing_acknowledged_is_lost_in_disk_mode(tmp_path: Path) -> None:
    rounds(tmp_path, 5, "disk")


@pytest.mark.deep
@pytest.mark.timeout(1200)
def test_nothing_acknowledged_is_lost_in_200_rounds(tmp_path: Path) -> None:
    rounds(tmp_path, 200, "os")


def leaves_hold(state: Path) -> int:
    """What was handed to the ledger is what the files say; how many PARTs that were."""
    roots: dict[tuple[str, int], bytes] = {}
    for log in every_log(state):
        for path in files_of(log):
            facts = facts_of(path)
            roots[facts.session, facts.part] = facts.root
    parts = 0
    for path in waiting(inbox_directory(state)):
        for kind, fields in read_items(path):
            said = unpack_fields(kind, fields)
            if kind is Kind.PART:
                parts += 1
                assert roots[str(said["session"]), int(said["part"])] == said["root"]
            elif kind is Kind.END:
                assert roots[str(said["session"]), int(said["parts"]) - 1] == said["root"]
        path.unlink()
    return parts


def rounds_in_parts(tmp_path: Path, count: int, size: int = 50_000) -> None:
    """Killed between cutting a part, making it durable, its leaf and the segments' end."""
    rng = random.Random(count)
    inbox_directory(tmp_path).mkdir(parents=True)
    total = parts = freed = 0
    for turn in range(count):
        acked = one_life(tmp_path, turn * 100_000, rng.uniform(0.05, 0.25), "os", str(size))
        freed += 1 not in segment_numbers(tmp_path / "journal" / "0")
        if turn % 3 == 0:
            # Recovery is killed too, after some of its work.
            shutil.copytree(tmp_path, tmp_path.with_name("twice"), dirs_exist_ok=True)
            cut_short(tmp_path.with_name("twice"), rng)
            check(tmp_path.with_name("twice"), acked)
            leaves_hold(tmp_path.with_name("twice"))
            shutil.rmtree(tmp_path.with_name("twice"))
        journal = reopened(tmp_path)
        assert journal.recovery.corrupt == [], journal.recovery.notices
        total += len(acked)
        check(tmp_path, acked)
        parts += leaves_hold(tmp_path)
        before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.agr")}
        assert reopened(tmp_path).recovery.logs == []
        assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.agr")} == before
        for path in before:
            path.unlink()
    assert total > count
    assert parts > count
    assert freed or count < 10
    assert not list((tmp_path / "sessions").rglob("*.tmp"))
    assert not list(tmp_path.rglob("*.damaged"))
    print(f"{count} rounds, {total} sessions acknowledged, {parts} parts, {freed} times freed")


def cut_short(state: Path, rng: random.Random) -> None:
    """Recover, but die at a change of the disk, chosen by chance; then recover."""

    class Died(BaseException):
        pass

    left = rng.randrange(40)

    def dying(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **more: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise Died
            return real(*args, **more)

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recorder.log_writer.os.rename", dying(os.rename))
        patch.setattr("recorder.recovery.Path.unlink", dying(Path.unlink))
        with contextlib.suppress(Died):
            recover(state / "journal" / "0", state / "sessions")
    reopened(state)


@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost_in_parts(tmp_path: Path) -> None:
    rounds_in_parts(tmp_path / "state", 2, 200_000)


@pytest.mark.deep
@pytest.mark.timeout(1200)
def test_nothing_acknowledged_is_lost_in_parts_in_150_rounds(tmp_path: Path) -> None:
    rounds_in_parts(tmp_path / "state", 150)
