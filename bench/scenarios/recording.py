"""The recorder, apart from everything else."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.alone import Alone
from bench.figures import BenchFault, Metric
from bench.lab import Lab, Settings
from gateway.world import World
from protocols.wire import Mark, Move, Side, Span
from recorder.journal import Journal
from recorder.verify import OK, verify_file

SIZES = {"300 B": 300, "16 KiB": 16384}
SESSIONS = 32
MOST_BYTES = 256 << 20


class Recording(Alone):
    """Appends spans of 32 sessions in turns, seals them, verifies the Logs."""

    name = "recorder"
    about = "append spans of 32 sessions in turns, seal, verify"
    metrics = (
        Metric("append", "k records/s", "more"),
        Metric("append speed", "MB/s", "more"),
        Metric("seal speed", "MB/s", "more"),
        Metric("verify speed", "MB/s", "more"),
    )
    entrants = ("one at a time", "32 per write", "32 per write, on disk")

    def cases(self, settings: Settings) -> Sequence[str]:
        return list(SIZES)

    def turn(self, lab: Lab, entrant: str, case: str, seconds: float) -> Mapping[str, float]:
        folder = Path(tempfile.mkdtemp(prefix="recorder-", dir=lab.folder))
        try:
            return self._record(folder, SIZES[case], entrant, seconds)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _record(self, folder: Path, size: int, entrant: str, seconds: float) -> Mapping[str, float]:
        world = World()
        journal = Journal(
            folder,
            gateway=world.instance,
            clock=world.mono_ns,
            wall=world.wall_ns,
            chance=world.chance,
            sealer=False,
            low=1 << 20,
            critical=1 << 20,
        )
        logs = [
            journal.open({"session": world.ulid(), "started": world.wall_ns(), "protocol": "bench"})
            for _ in range(SESSIONS)
        ]
        journal.flush()
        raw = secrets.token_bytes(size)
        each, disk = entrant.startswith("one"), entrant.endswith("disk")
        at = count = 0
        start = time.perf_counter()
        end = start + seconds
        # Sides alternate, as questions and answers do.
        while time.perf_counter() < end and count * size < MOST_BYTES:
            for log in logs:
                log.spans([Span(Move.PASS, Side(at & 1), Mark.PLAIN, raw, (at >> 1) * size)])
                if each:
                    journal.flush()
            if not each:
                journal.flush()
            if disk:
                journal.sync()
            at += 1
            count += SESSIONS
        took = time.perf_counter() - start
        for log in logs:
            log.end("closed", "the bench is over")
        journal.flush()
        journal.close()
        start = time.perf_counter()
        Journal(  # cuts the Logs of what ended before
            folder,
            gateway=world.instance,
            clock=world.mono_ns,
            wall=world.wall_ns,
            chance=world.chance,
            sealer=False,
            low=1 << 20,
            critical=1 << 20,
        ).close()
        sealed = time.perf_counter() - start
        found = [path for path in (folder / "sessions").rglob("*") if path.is_file()]
        stored = sum(path.stat().st_size for path in found)
        start = time.perf_counter()
        verdicts = [verify_file(path) for path in found]
        checked = time.perf_counter() - start
        if len(found) != SESSIONS or any(verdict.status != OK for verdict in verdicts):
            raise BenchFault(f"{len(found)} Logs, {[v for v in verdicts if v.status != OK][:1]}")
        if stored < min(count * size // 100, 1000):
            raise BenchFault(f"{stored} bytes stored of {count * size}")
        moved = count * size / 1e6
        return {
            "append": count / took / 1e3,
            "append speed": moved / took,
            "seal speed": moved / sealed,
            "verify speed": moved / checked,
        }


SCENARIOS = (Recording(),)
