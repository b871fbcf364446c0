"""Connecting, and the first answer."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence

import psycopg

from bench.contenders import Contender
from bench.figures import BenchFault, Measured, Metric
from bench.lab import Lab
from bench.latency import METRICS as PERCENTILES
from bench.latency import Latency
from bench.scenario import Contest
from bench.settings import Settings


class Connect(Contest):
    """One client that connects, asks, and leaves, again and again."""

    name = "connect"
    about = "connect, prove who you are, first query, leave"
    metrics = (
        Metric("latency", "ms", "less"),
        *PERCENTILES,
        Metric("cpu", "ms/connection", "less"),
        Metric("peak", "MB", "less"),
    )

    def cases(self, settings: Settings) -> Sequence[str]:
        return ["one at a time"]

    def prepare(self, lab: Lab) -> None:
        lab.accounts()

    def turn(self, lab: Lab, contender: Contender, case: str, warm: bool) -> Mapping[str, float]:
        meter = contender.meter
        if meter is not None:
            meter.forget_peak()
        before = meter.cpu() if meter else 0.0
        took: list[float] = []
        dsn = contender.door.dsn
        smoke = lab.settings.smoke
        end = time.monotonic() + (0.1 if smoke else 0.3 if warm else lab.settings.seconds)
        while time.monotonic() < end or not took:
            start = time.perf_counter()
            with psycopg.connect(dsn, autocommit=True, connect_timeout=30) as connection:
                row = connection.execute(
                    "SELECT abalance FROM pgbench_accounts WHERE aid = 1"
                ).fetchone()
                took.append(time.perf_counter() - start)
            if row is None:
                raise BenchFault(f"{contender.name}: the first query gave no row")
        measured = Measured({"latency": statistics.median(took) * 1e3})
        measured.latency = Latency.of(each * 1e6 for each in took)
        measured.update(measured.latency.metrics())
        if meter is not None:
            meter.settle()
            measured["cpu"] = (meter.cpu() - before) / len(took) * 1e3
            measured["peak"] = meter.peak() / 1e6
        return measured


SCENARIOS = (Connect(),)
