"""Many sessions that do nothing."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from bench.contenders import Contender, Pgbouncer
from bench.figures import BenchFault, Metric
from bench.lab import Lab
from bench.process import Meter
from bench.scenario import Contest
from bench.settings import Settings

PROBES = 20
ROOM_SECONDS = 60.0
FEW = 50
BURSTS = 9
PACE = 0.004
"""Seconds from one transaction to the next where CPU is compared: who waits for a
server that many sessions slow down is woken more often for each of them."""
SERVER_PROCESS = 2_500_000
"""Bytes that a session takes in PostgreSQL, roughly."""


class Idle(Contest):
    """Opens sessions, runs one query on each, leaves them open. Beside them one
    client works, before they came and while they are there."""

    name = "idle"
    about = "sessions that stay open after one query, and one client that works beside them"
    metrics = (
        Metric("memory", "KB/session", "less"),
        Metric("connect", "ms", "less"),
        Metric("query", "ms", "less"),
        Metric("cpu idle", "%", "less"),
        Metric("cpu", "µs/tx", "less"),
        Metric("cpu ×alone", "", "less"),
        Metric("tps", "/s", "more"),
        Metric("tps ×alone", "", "more"),
    )
    contenders = ("direct", "bare relay", "haproxy", "gateway os", "pgbouncer")
    briefly = ("bare relay", "gateway os", "pgbouncer")
    most_rounds = 1  # memory that was freed is not given back: a second round would show less
    warm_up = False

    def cases(self, settings: Settings) -> Sequence[str]:
        return [f"{count:,} sessions" for count in settings.idle]

    def guess(self, settings: Settings) -> tuple[float, float]:
        return 4.0, 4.0 + sum(settings.idle) / len(settings.idle) / 100

    def prepare(self, lab: Lab) -> None:
        self._at_first: dict[str, int] = {}
        lab.accounts()
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        room, need = _available(), max(lab.settings.idle) * SERVER_PROCESS
        if room < need:
            raise BenchFault(
                f"{max(lab.settings.idle):,} sessions need {need / 1e9:.0f} GB of memory for the "
                f"server's processes, and {room / 1e9:.0f} GB are there (--idle takes less)"
            )

    def turn(self, lab: Lab, contender: Contender, case: str, warm: bool) -> Mapping[str, float]:
        count, meter = int(case.split(maxsplit=1)[0].replace(",", "")), contender.meter
        dsn = contender.door.dsn
        _await_room(lab)
        open_now: list[psycopg.Connection[Any]] = []
        try:
            # The first session loads what all share.
            open_now.append(_connected(dsn))
            alone = _work(lab, contender)
            # Memory that Python freed and kept after fewer sessions is theirs, too: all
            # cases count from what there was before the first.
            before = self._at_first.setdefault(contender.name, _resident(meter))
            start = time.perf_counter()
            for _ in range(count):
                open_now.append(_connected(dsn))
            took = time.perf_counter() - start
            memory = _resident(meter) - before
            busy, watched = meter.cpu() if meter else 0.0, time.monotonic()
            time.sleep(0.2 if lab.settings.smoke else 2.0)
            share = ((meter.cpu() if meter else 0.0) - busy) / (time.monotonic() - watched)
            probed = open_now[:: max(1, count // PROBES)]
            start = time.perf_counter()
            for connection in probed:
                _ask(connection)
            query = (time.perf_counter() - start) / len(probed)
            among = _work(lab, contender)
        finally:
            for connection in open_now:
                connection.close()
            if isinstance(contender, Pgbouncer):
                _end_pooled(lab)
        measured = {
            "connect": took / count * 1e3,
            "query": query * 1e3,
            "tps": among[0],
            "tps ×alone": among[0] / alone[0],
        }
        if meter is not None:
            meter.settle()
            measured["memory"] = memory / count / 1e3
            measured["cpu idle"] = share * 100
            measured["cpu"] = among[1] * 1e6
            if alone[2]:
                measured["cpu ×alone"] = among[2] / alone[2]
        return measured


def _work(lab: Lab, contender: Contender) -> tuple[float, float, float]:
    """One client of prepared -S: transactions a second, and the contender's seconds of CPU
    for each as fast as it goes, and at ``PACE``; medians of ``BURSTS``."""
    connection = _connected(contender.door.dsn)
    meter = contender.meter
    seconds = 0.05 if lab.settings.smoke else max(2.0, lab.settings.seconds)
    text = "SELECT abalance FROM pgbench_accounts WHERE aid = %s"
    rates, costs, paced = [], [], []
    bursts = 1 if lab.settings.smoke else BURSTS

    def burst(pace: float) -> tuple[float, float]:
        before, count = meter.cpu() if meter else 0.0, 0
        start = time.perf_counter()
        while time.perf_counter() - start < seconds / BURSTS:
            if pace:
                time.sleep(max(0.0, start + count * pace - time.perf_counter()))
            count += 1
            row = connection.execute(text, (count % 1000 + 1,), prepare=True).fetchone()
            if row is None:
                raise BenchFault(f"{contender.name}: a query beside idle sessions gave no row")
        took = time.perf_counter() - start
        return count / took, ((meter.cpu() if meter else 0.0) - before) / count

    try:
        for n in range(20):
            connection.execute(text, (n + 1,), prepare=True)
        # Half of the bursts may be disturbed.
        for _ in range(bursts):
            rate, cost = burst(0.0)
            rates.append(rate)
            costs.append(cost)
            paced.append(burst(PACE)[1])
    finally:
        connection.close()
    return median(rates), median(costs), median(paced)


def _resident(meter: Meter | None) -> int:
    if meter is None:
        return 0
    meter.settle()
    return meter.rss()


def _available() -> int:
    """Bytes of memory that can be had without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 1 << 62


def _await_room(lab: Lab) -> None:
    """Until the server has ended the sessions of whoever was here before."""
    end = time.monotonic() + ROOM_SECONDS
    with psycopg.connect(lab.door.dsn, autocommit=True) as connection:
        while time.monotonic() < end:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
            ).fetchone()
            if row is not None and row[0] < FEW:
                return
            time.sleep(0.1)
    raise BenchFault("the server still has the sessions of the turn before")


def _end_pooled(lab: Lab) -> None:
    """pgbouncer keeps its server connections, so that none would be left for others
    and for the next case: the server ends them, and pgbouncer takes that well."""
    lab.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )


def _connected(dsn: str) -> psycopg.Connection[Any]:
    connection = psycopg.connect(dsn, autocommit=True, connect_timeout=30)
    _ask(connection)
    return connection


def _ask(connection: psycopg.Connection) -> None:
    row = connection.execute("SELECT abalance FROM pgbench_accounts WHERE aid = 1").fetchone()
    if row is None:
        raise BenchFault("an idle session's query gave no row")


SCENARIOS = (Idle(),)
