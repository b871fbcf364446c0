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
from bench.lab import Lab
from bench.settings import Settings
from gateway.world import World
from protocols.wire import Mark, Move, Side, Span
from recorder.catalog import catalog
from recorder.journal import Journal
from recorder.verify import OK, verify_file

SIZES = {"300 B": 300, "16 KiB": 16384}
SESSIONS = 32
MOST_BYTES = 256 << 20
SHARED_MEMORY = Path("/dev/shm")


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
    variants = ("one at a time", "32 per write", "32 per write, in memory", "32 per write, on disk")

    def cases(self, settings: Settings) -> Sequence[str]:
        return list(SIZES)

    def turn(self, lab: Lab, entrant: str, case: str, seconds: float) -> Mapping[str, float]:
        # In memory there is no disk to wait for: what the journal itself can do.
        memory = entrant.endswith("memory") and SHARED_MEMORY.is_dir()
        folder = Path(
            tempfile.mkdtemp(prefix="bench-recorder-", dir=SHARED_MEMORY if memory else lab.folder)
        )
        try:
            return self._record(folder, SIZES[case], entrant, seconds)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _record(self, folder: Path, size: int, entrant: str, seconds: float) -> Mapping[str, float]:
        world = World()
        journal = journal_in(folder, world)
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
        journal_in(folder, world).close()  # cuts the Logs of what ended before
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


class Commands(Alone):
    """What the relay writes per small command: the command with its verdict, the
    bytes that ask, a flush; the bytes that answer, a flush."""

    name = "recorder-commands"
    about = "append small commands of 32 sessions as the relay does, durability os; verified"
    metrics = (Metric("commands", "k/s", "more"), Metric("bytes", "/command", "less"))
    variants = ("one at a time", "32 per write")

    def cases(self, settings: Settings) -> Sequence[str]:
        return ["small commands"]

    def turn(self, lab: Lab, entrant: str, case: str, seconds: float) -> Mapping[str, float]:
        folder = Path(tempfile.mkdtemp(prefix="recorder-", dir=lab.folder))
        try:
            return self._record(folder, entrant.startswith("one"), seconds)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _record(self, folder: Path, each: bool, seconds: float) -> Mapping[str, float]:
        world = World()
        journal = journal_in(folder, world)
        logs = [
            journal.open({"session": world.ulid(), "started": world.wall_ns(), "protocol": "bench"})
            for _ in range(SESSIONS)
        ]
        journal.flush()
        text = "SELECT abalance FROM pgbench_accounts WHERE aid = $1;"
        asked, answered = secrets.token_bytes(63), secrets.token_bytes(71)
        at = 0
        start = time.perf_counter()
        end = start + seconds
        while time.perf_counter() < end:
            for log in logs:
                log.command(at, "run", text, 0, ("accounts-read",), "", "p", None, (str(at),))
                log.spans([Span(Move.PASS, Side.CLIENT, Mark.PLAIN, asked, at * 63)])
                if each:
                    journal.flush()
            journal.flush()
            for log in logs:
                log.spans([Span(Move.PASS, Side.UPSTREAM, Mark.PLAIN, answered, at * 71)])
                if each:
                    journal.flush()
            journal.flush()
            at += 1
        took = time.perf_counter() - start
        written, count = journal.written, at * SESSIONS
        for log in logs:
            log.end("closed", "the bench is over")
        journal.flush()
        journal.close()
        journal_in(folder, world).close()  # cuts the Logs
        found = list(catalog(folder))
        recorded = sum(line.allowed for line in found)
        bad = [line.path for line in found if verify_file(Path(line.path)).status != OK]
        if recorded != count or bad:
            raise BenchFault(f"{recorded} of {count} commands are on record; not OK: {bad[:1]}")
        return {"commands": count / took / 1e3, "bytes": written / count}


def journal_in(folder: Path, world: World) -> Journal:
    """A journal that cuts Logs when it is opened, not meanwhile."""
    return Journal(
        folder,
        gateway=world.instance,
        clock=world.mono_ns,
        wall=world.wall_ns,
        chance=world.chance,
        sealer=False,
        low=1 << 20,
        critical=1 << 20,
    )


SCENARIOS = (Recording(), Commands())
