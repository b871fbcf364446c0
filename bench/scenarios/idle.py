"""Many sessions that do nothing."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from bench.contenders import Contender
from bench.figures import BenchFault, Metric
from bench.lab import Lab, Settings
from bench.scenario import Contest

PROBES = 20
ROOM_SECONDS = 60.0
FEW = 50


class Idle(Contest):
    """Opens sessions, runs one query on each, leaves them open."""

    name = "idle"
    about = "sessions that stay open after one query"
    metrics = (
        Metric("memory", "KB/session", "less"),
        Metric("connect", "ms", "less"),
        Metric("query", "ms", "less"),
        Metric("cpu idle", "%", "less"),
    )
    # pgbouncer keeps its server connections, so that none would be left for others.
    entrants = ("bare relay", "gateway os", "pgbouncer")
    most_rounds = 1  # memory that was freed is not given back: a second round would show less
    warm_up = False

    def cases(self, settings: Settings) -> Sequence[str]:
        return [f"{settings.sessions:,} sessions"]

    def prepare(self, lab: Lab) -> None:
        lab.accounts()
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def turn(self, lab: Lab, contender: Contender, case: str, warm: bool) -> Mapping[str, float]:
        count, meter = lab.settings.sessions, contender.meter
        assert meter is not None
        dsn = contender.door.dsn
        _await_room(lab)
        open_now: list[psycopg.Connection[Any]] = []
        try:
            # The first session loads what all share.
            open_now.append(_connected(dsn))
            meter.settle()
            before = meter.rss()
            start = time.perf_counter()
            for _ in range(count):
                open_now.append(_connected(dsn))
            took = time.perf_counter() - start
            meter.settle()
            memory = meter.rss() - before
            busy, watched = meter.cpu(), time.monotonic()
            time.sleep(0.2 if lab.settings.smoke else 2.0)
            share = (meter.cpu() - busy) / (time.monotonic() - watched)
            step = max(1, count // PROBES)
            start = time.perf_counter()
            probed = open_now[::step]
            for connection in probed:
                _ask(connection)
            query = (time.perf_counter() - start) / len(probed)
        finally:
            for connection in open_now:
                connection.close()
        meter.settle()
        return {
            "memory": memory / count / 1e3,
            "connect": took / count * 1e3,
            "query": query * 1e3,
            "cpu idle": share * 100,
        }


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


def _connected(dsn: str) -> psycopg.Connection[Any]:
    connection = psycopg.connect(dsn, autocommit=True, connect_timeout=30)
    _ask(connection)
    return connection


def _ask(connection: psycopg.Connection) -> None:
    row = connection.execute("SELECT abalance FROM pgbench_accounts WHERE aid = 1").fetchone()
    if row is None:
        raise BenchFault("an idle session's query gave no row")


SCENARIOS = (Idle(),)
