"""COPY of much data, out and in, with psql."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.contenders import Contender
from bench.figures import BenchFault, Metric
from bench.lab import Lab
from bench.scenario import Contest
from bench.settings import Settings

ROW = 250
"""Bytes of a row in COPY's text format, roughly."""
WARM_ROWS = 20_000


class Copying(Contest):
    """``direction`` is ``out`` or ``in``."""

    metrics = (
        Metric("speed", "MB/s", "more"),
        Metric("cpu", "ms/MB", "less"),
        Metric("peak", "MB", "less"),
        Metric("growth", "MB", "less"),
        Metric("cpu after", "ms/MB", "less"),
    )

    def __init__(self, direction: str) -> None:
        self.name = f"copy-{direction}"
        self.about = f"COPY {direction}, rows of about {ROW} bytes, psql"
        self._direction = direction
        self._file = Path()
        self._short = Path()

    def cases(self, settings: Settings) -> Sequence[str]:
        return [f"{settings.size} MB"]

    def guess(self, settings: Settings) -> tuple[float, float]:
        return 8.0 + settings.size / 50, 0.5 + settings.size / 80

    def prepare(self, lab: Lab) -> None:
        self._rows = max(1000, lab.settings.size * 1_000_000 // ROW)
        self._file, self._short = lab.folder / "bulk", lab.folder / "bulk-short"

        def make() -> None:
            lab.execute(
                "CREATE UNLOGGED TABLE bulk (id integer, body text)",
                "INSERT INTO bulk SELECT n, repeat(md5(n::text), 7) || 'xxxxxxxxxxxxxxx' "
                f"FROM generate_series(1, {self._rows}) n",
                "CREATE UNLOGGED TABLE sink (id integer, body text)",
                "VACUUM ANALYZE bulk",
            )
            self._psql(lab, lab.door.environment, f"\\copy bulk to '{self._file}'")
            short = f"\\copy (SELECT * FROM bulk LIMIT {WARM_ROWS}) to '{self._short}'"
            self._psql(lab, lab.door.environment, short)

        lab.once(f"{lab.settings.size} MB to copy", make)
        self._size = self._file.stat().st_size

    def turn(self, lab: Lab, contender: Contender, case: str, warm: bool) -> Mapping[str, float]:
        rows, meter = self._rows, contender.meter
        if self._direction == "out":
            what = f"\\copy bulk to '{lab.folder / 'out'}'"
            if warm:
                rows = min(rows, WARM_ROWS)
                what = f"\\copy (SELECT * FROM bulk LIMIT {WARM_ROWS}) to '/dev/null'"
            elif not lab.settings.smoke:
                what = "\\copy bulk to '/dev/null'"
        else:
            rows = min(rows, WARM_ROWS) if warm else rows
            lab.execute("TRUNCATE sink")
            what = f"\\copy sink from '{self._short if warm else self._file}'"
        before, held = (meter.cpu(), meter.rss()) if meter else (0.0, 0)
        if meter is not None:
            meter.forget_peak()
        start = time.perf_counter()
        said = self._psql(lab, contender.door.environment, what)
        took = time.perf_counter() - start
        spent, peak = (meter.cpu() - before, meter.peak()) if meter else (0.0, 0)
        if said != f"COPY {rows}":
            raise BenchFault(f"{contender.name}: {said!r} for {rows} rows")
        exact = lab.settings.smoke and self._direction == "out"
        if exact and (lab.folder / "out").read_bytes() != self._file.read_bytes():
            raise BenchFault(f"{contender.name}: COPY out gave other bytes")
        if self._direction == "in":
            self._arrived(lab, contender.name, rows)
        megabytes = self._size / 1e6
        measured = {"speed": megabytes / took}
        if meter is not None:
            ended = meter.cpu()
            meter.settle(60)
            measured["cpu"] = spent / megabytes * 1e3
            measured["cpu after"] = (meter.cpu() - ended) / megabytes * 1e3
            measured["peak"] = peak / 1e6
            measured["growth"] = max(0, peak - held) / 1e6
        return measured

    def _arrived(self, lab: Lab, name: str, rows: int) -> None:
        """Nothing is missing and nothing changed on the way in."""
        text = "SELECT count(*), sum(hashtext(body)::bigint * id) FROM "
        sums = [
            self._psql(lab, lab.door.environment, text + table)
            for table in ("sink", f"(SELECT * FROM bulk WHERE id <= {rows}) part")
        ]
        if sums[0] != sums[1]:
            raise BenchFault(f"{name}: COPY in stored something else: {sums}")

    def _psql(self, lab: Lab, environment: dict[str, str], command: str) -> str:
        done = subprocess.run(
            [lab.tool("psql"), "-X", "-A", "-t", "-c", command],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )
        if done.returncode:
            raise BenchFault(f"psql failed: {done.stderr.strip()[-400:]}")
        return done.stdout.strip()


SCENARIOS = (Copying("out"), Copying("in"))
