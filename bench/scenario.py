"""What a scenario is, and how its entrants take turns."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol as Interface
from typing import TypeAlias

import psycopg

from bench.contenders import Contender
from bench.figures import BenchFault, Case, Check, Metric, Outcome
from bench.lab import Lab
from bench.machine import Watch
from bench.settings import Settings
from bench.wirewarden import owed_by
from gateway.demo.postgres import NoServer

Measure: TypeAlias = Callable[[str, str, bool], Mapping[str, float]]
"""``measure(case, entrant, warm)``: the metrics of one turn. ``warm`` turns
are dropped and may be shorter. Raises BenchFault when the work went wrong."""

FAULTS = (BenchFault, NoServer, OSError, psycopg.Error, subprocess.SubprocessError)
BASES = ("direct", "bare relay", "haproxy", "pgbouncer", "proxyjump", "gateway unrecorded")
"""Whom ratios are to, where they ran."""
BRIEFLY = ("direct", "haproxy", "pgbouncer", "proxyjump", "gateway os")
POSTGRES = ("direct", "bare relay", "haproxy", "pgbouncer", "gateway os", "gateway disk")


class Scenario(Interface):
    """Something to measure. ``entrants``: contenders, or variants of what runs
    in this process; ``bases``: those of them whom ratios are to. ``most_rounds``: more
    tell nothing new; 0 for no limit."""

    @property
    def name(self) -> str: ...
    @property
    def about(self) -> str: ...
    @property
    def metrics(self) -> tuple[Metric, ...]: ...
    @property
    def bases(self) -> tuple[str, ...]: ...
    @property
    def most_rounds(self) -> int: ...
    @property
    def warm_up(self) -> bool: ...
    @property
    def in_quick(self) -> bool:
        """Whether it is one of those that run where none is named and time is short."""

    def entrants(self, settings: Settings) -> Sequence[str]:
        """Who takes turns, in that order."""

    def cases(self, settings: Settings) -> Sequence[str]:
        """The cases, in the order in which they run."""

    def owed(self, entrants: Sequence[str]) -> Sequence[str]:
        """Names of the checks that must be among its results when these ran."""

    def guess(self, settings: Settings) -> tuple[float, float]:
        """Seconds of setup, and of one turn, on a machine like those that
        developers have."""

    def stage(
        self, lab: Lab, names: Sequence[str], checks: list[Check], skipped: dict[str, str]
    ) -> AbstractContextManager[Measure]:
        """Set up for ``names``, give what measures, take down and check."""


class Contest:
    """A scenario between contenders; ``turn`` measures one of them."""

    name = ""
    about = ""
    metrics: tuple[Metric, ...] = ()
    bases: tuple[str, ...] = BASES
    contenders: tuple[str, ...] = POSTGRES
    most_rounds = 0
    warm_up = True
    briefly: tuple[str, ...] = BRIEFLY
    """Who runs where time is short; nobody named: all, in a smoke test too."""
    in_quick = True

    def entrants(self, settings: Settings) -> Sequence[str]:
        return settings.among(self.contenders, self.briefly)

    def cases(self, settings: Settings) -> Sequence[str]:
        raise NotImplementedError

    def owed(self, entrants: Sequence[str]) -> Sequence[str]:
        return owed_by(entrants)

    def guess(self, settings: Settings) -> tuple[float, float]:
        return 2.0 + 0.4 * len(self.entrants(settings)), settings.seconds + 0.4

    def prepare(self, lab: Lab) -> None:
        """The data."""

    def turn(self, lab: Lab, contender: Contender, case: str, warm: bool) -> Mapping[str, float]:
        raise NotImplementedError

    def checks(self) -> list[Check]:
        """What the turns showed."""
        return []

    @contextlib.contextmanager
    def stage(
        self, lab: Lab, names: Sequence[str], checks: list[Check], skipped: dict[str, str]
    ) -> Iterator[Measure]:
        self.prepare(lab)
        with lab.contest(names, checks, skipped) as running:
            yield lambda case, entrant, warm: self.turn(lab, running[entrant], case, warm)
            checks += self.checks()


def plan_of(scenario: Scenario, settings: Settings) -> tuple[float, float]:
    """Its guess of the seconds of setup and of one round over all cases."""
    setup, turn = scenario.guess(settings)
    turns = len(scenario.cases(settings)) * len(scenario.entrants(settings))
    if scenario.most_rounds == 1:
        return setup + turn * turns, 0.0
    return setup, turn * turns


def play(scenario: Scenario, lab: Lab, rounds: int) -> Outcome:
    """Run a scenario: every case, in each round every entrant once. What goes
    wrong is in the outcome: ``checks``, a case's ``failed``, ``fault``. An entrant that
    fails leaves the case, and the others go on. On Ctrl-C the outcome has what was
    measured so far."""
    outcome = Outcome(scenario.name, scenario.about, scenario.metrics, bases=scenario.bases)
    outcome.rounds = rounds = min(rounds, scenario.most_rounds or rounds)
    watch = Watch()
    start = time.monotonic()
    names = scenario.entrants(lab.settings)
    try:
        with scenario.stage(lab, names, outcome.checks, outcome.skipped) as measure:
            for name in scenario.cases(lab.settings):
                case = Case(name, skipped=outcome.skipped)
                outcome.cases.append(case)
                entrants = [each for each in names if each not in outcome.skipped]
                _rounds(scenario, lab, case, entrants, measure, rounds)
    except FAULTS as fault:
        outcome.fault = _told(fault)
    except KeyboardInterrupt:
        outcome.interrupted = True
    outcome.seconds = time.monotonic() - start
    outcome.noise = watch.noise()
    return outcome


def _rounds(  # noqa: PLR0917
    scenario: Scenario,
    lab: Lab,
    case: Case,
    entrants: Sequence[str],
    measure: Measure,
    rounds: int,
) -> None:
    warm_up = scenario.warm_up and not lab.settings.smoke
    for number in range(-1 if warm_up else 0, rounds):
        for entrant in entrants:
            if entrant in case.failed:
                continue
            spent = _Spent(lab, entrant)
            try:
                measured = measure(case.name, entrant, number < 0)
            except FAULTS as fault:
                case.failed[entrant] = _told(fault)
                continue
            if number >= 0 and measured:
                case.add(entrant, measured)
                case.spent(entrant, spent.told())
        if number >= 0:
            lab.say(f"{scenario.name}, {case.name}: round {number + 1} of {rounds}")


def _told(fault: BaseException) -> str:
    return str(fault) if isinstance(fault, BenchFault) else f"{type(fault).__name__}: {fault}"


class _Spent:
    """CPU time of one turn, by process: the contender's, the server's, and the
    client's (this process and what it started and has ended)."""

    def __init__(self, lab: Lab, entrant: str) -> None:
        running = lab.running.get(entrant)
        self._meters = {
            "contender": running.meter if running is not None else None,
            "server": lab.server_meter,
        }
        self._before = self._now()

    def _now(self) -> dict[str, float]:
        found = {role: meter.cpu() for role, meter in self._meters.items() if meter is not None}
        mine = resource.getrusage(resource.RUSAGE_SELF)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = (mine, ended)
        found["client"] = sum(each.ru_utime + each.ru_stime for each in own)
        return found

    def told(self) -> dict[str, float]:
        """Seconds since the start, by role."""
        now = self._now()
        return {role: max(0.0, now[role] - before) for role, before in self._before.items()}
