"""Statements that wait for people, and how fast they wake."""

from __future__ import annotations

import contextlib
import selectors
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg.pq import ExecStatus

from bench.contenders import Contender
from bench.figures import BenchFault, Check, Measured, Metric
from bench.lab import Lab
from bench.latency import METRICS as PERCENTILES
from bench.latency import Latency
from bench.scenario import Contest, Measure
from bench.settings import Settings
from bench.wirewarden import Wirewarden
from gateway.approvals import Approvals, ApprovalState
from gateway.policy.principal import Principal

PATIENCE = 120.0
RAN_ONCE = "each held statement ran once, after its approval"
SINGLY = 20
"""So many are approved one by one, each alone; the rest at once."""
LEAD = Principal("lead", "bench", "person", frozenset({"leads"}))
POLICY = """
version = 1
default = "deny"

[[rule]]
id = "all"
on = "sql.*"
who = { kind = "agent" }
verdict = "allow"

[[rule]]
id = "changes-are-held"
on = "sql.update"
verdict = "hold"
approve = { groups = ["leads"], count = 1, ttl = "30m" }
"""


class Holds(Contest):
    """Each session sends an UPDATE that is held. When all wait, people approve."""

    name = "held"
    about = "statements that wait for approval: from the approval until the client has its answer"
    metrics = (
        Metric("wake", "ms", "less"),
        *PERCENTILES,
        Metric("all at once", "ms", "less"),
        Metric("asking", "ms/statement", "less"),
        Metric("memory", "KB/hold", "less"),
        Metric("cpu waiting", "%", "less"),
    )
    contenders = ("gateway os",)
    bases = ()
    most_rounds = 1
    warm_up = False

    def entrants(self, settings: Settings) -> Sequence[str]:
        return self.contenders

    def cases(self, settings: Settings) -> Sequence[str]:
        return [f"{settings.held:,} statements"]

    def owed(self, entrants: Sequence[str]) -> Sequence[str]:
        return [*super().owed(entrants), RAN_ONCE]

    def guess(self, settings: Settings) -> tuple[float, float]:
        return 3.0, 4.0 + settings.held / 40

    @contextlib.contextmanager
    def stage(
        self, lab: Lab, names: Sequence[str], checks: list[Check], skipped: dict[str, str]
    ) -> Iterator[Measure]:
        gateway = Wirewarden(lab.server, "os", policy=POLICY)
        with lab.started([gateway], checks, skipped) as running:
            yield lambda case, entrant, warm: self.turn(lab, running[entrant], case, warm)
            checks += self.checks()

    def turn(self, lab: Lab, contender: Contender, case: str, warm: bool) -> Mapping[str, float]:
        count = lab.settings.held
        assert isinstance(contender, Wirewarden)
        meter = contender.meter
        assert meter is not None
        lab.execute(
            "DROP TABLE IF EXISTS held",
            "CREATE TABLE held AS SELECT n AS id, 0 AS changed FROM "
            f"generate_series(0, {count - 1}) n",
        )
        store = Approvals(contender.folder / "state" / "approvals.db", time.time)
        sessions: list[psycopg.Connection[Any]] = []
        try:
            sessions += [psycopg.connect(contender.door.dsn, autocommit=True) for _ in range(count)]
            meter.settle()
            before = meter.rss()
            start = time.perf_counter()
            for number, session in enumerate(sessions):
                text = f"UPDATE held SET changed = changed + 1 WHERE id = {number}"
                session.pgconn.send_query(text.encode())
            pending = _pending(store, count)
            asking = (time.perf_counter() - start) / count
            meter.settle()
            memory = meter.rss() - before
            busy, watched = meter.cpu(), time.monotonic()
            time.sleep(0.2 if lab.settings.smoke else 2.0)
            waiting = (meter.cpu() - busy) / (time.monotonic() - watched)
            answers = _Answers(sessions)
            singly = min(SINGLY, count // 2)
            woke = []
            for at, approval in enumerate(pending):
                # A store is asked now and then: not always at the same point between.
                if at < singly:
                    time.sleep(0.013 * (at % 7))
                    began = time.perf_counter()
                    store.decide(approval, LEAD, True, "")
                    woke.append(answers.wait(1)[0] - began)
            began = time.perf_counter()
            for approval in pending[singly:]:
                store.decide(approval, LEAD, True, "")
            last = max(answers.wait(count - singly))
        finally:
            store.close()
            for session in sessions:
                session.close()
        with psycopg.connect(lab.door.dsn) as connection:
            row = connection.execute("SELECT count(*), sum(changed) FROM held").fetchone()
        if row != (count, count):
            raise BenchFault(f"of {count} approved statements, each once, this was done: {row}")
        self._held = count
        measured = Measured(
            {
                "wake": sum(woke) / len(woke) * 1e3,
                "all at once": (last - began) * 1e3,
                "asking": asking * 1e3,
                "memory": memory / count / 1e3,
                "cpu waiting": waiting * 100,
            }
        )
        measured.latency = Latency.of(each * 1e6 for each in woke)
        measured.update(measured.latency.metrics())
        return measured

    def checks(self) -> list[Check]:
        return [Check(RAN_ONCE, True, f"{self._held:,}")]


def _pending(store: Approvals, count: int) -> list[str]:
    """The approvals that wait, once all do."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = store.list(state=ApprovalState.PENDING, limit=count + 1)
        if len(found) >= count:
            return [each.id for each in found]
        time.sleep(0.05)
    raise BenchFault(f"{len(found)} of {count} statements wait for approval")


class _Answers:
    """Takes in what sessions say (notices while they wait), and notes when a
    statement is done."""

    def __init__(self, sessions: Sequence[psycopg.Connection[Any]]) -> None:
        self._selector = selectors.DefaultSelector()
        for session in sessions:
            self._selector.register(session.pgconn.socket, selectors.EVENT_READ, session.pgconn)

    def wait(self, count: int) -> list[float]:
        """When each of the next ``count`` was done (perf_counter)."""
        done: list[float] = []
        end = time.monotonic() + PATIENCE
        while len(done) < count:
            if time.monotonic() > end:
                raise BenchFault(f"{len(done)} of {count} approved statements were answered")
            for key, _ in self._selector.select(1.0):
                key.data.consume_input()
                if key.data.is_busy():
                    continue
                now = time.perf_counter()
                result = key.data.get_result()
                if result is None or result.status != ExecStatus.COMMAND_OK:
                    said = "" if result is None else result.error_message
                    raise BenchFault(f"an approved statement was not run: {said}")
                self._selector.unregister(key.fileobj)
                done.append(now)
        return done


SCENARIOS = (Holds(),)
