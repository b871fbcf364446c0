"""What a scenario is, and how its entrants take turns."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol as Interface
from typing import TypeAlias

import psycopg

from bench.contenders import Contender
from bench.figures import BenchFault, Case, Check, Metric, Outcome
from bench.lab import Lab, Settings

Measure: TypeAlias = Callable[[str, str, bool], Mapping[str, float]]
"""``measure(case, entrant, warm)``: the metrics of one turn. ``warm`` turns
are dropped and may be shorter. Raises BenchFault when the work went wrong."""


class Scenario(Interface):
    """Something to measure. ``entrants``: contenders, or variants of what runs
    in this process. ``most_rounds``: more tell nothing new; 0 for no limit."""

    @property
    def name(self) -> str: ...
    @property
    def about(self) -> str: ...
    @property
    def metrics(self) -> tuple[Metric, ...]: ...
    @property
    def entrants(self) -> tuple[str, ...]: ...
    @property
    def most_rounds(self) -> int: ...
    @property
    def warm_up(self) -> bool: ...
    def cases(self, settings: Settings) -> Sequence[str]:
        """The cases, in the order in which they run."""

    def stage(
        self, lab: Lab, checks: list[Check], skipped: dict[str, str]
    ) -> AbstractContextManager[Measure]:
        """Set up, give what measures, take down and check."""


class Contest:
    """A scenario between contenders; ``turn`` measures one of them."""

    name = ""
    about = ""
    metrics: tuple[Metric, ...] = ()
    entrants: tuple[str, ...] = ("direct", "bare relay", "pgbouncer", "gateway os", "gateway disk")
    most_rounds = 0
    warm_up = True

    def cases(self, settings: Settings) -> Sequence[str]:
        raise NotImplementedError

    def prepare(self, lab: Lab) -> None:
        """The data."""

    def turn(self, lab: Lab, contender: Contender, case: str, warm: bool) -> Mapping[str, float]:
        raise NotImplementedError

    def checks(self) -> list[Check]:
        """What the turns showed."""
        return []

    @contextlib.contextmanager
    def stage(self, lab: Lab, checks: list[Check], skipped: dict[str, str]) -> Iterator[Measure]:
        self.prepare(lab)
        with lab.contest(self.entrants, checks, skipped) as running:
            yield lambda case, entrant, warm: self.turn(lab, running[entrant], case, warm)
            checks += self.checks()


def play(scenario: Scenario, lab: Lab) -> Outcome:
    """Run a scenario: every case, in each round every entrant once. What goes
    wrong is in the outcome's ``fault`` and ``checks``."""
    settings = lab.settings
    outcome = Outcome(scenario.name, scenario.about, scenario.metrics)
    rounds = min(settings.rounds, scenario.most_rounds or settings.rounds)
    skipped: dict[str, str] = {}
    start = time.monotonic()
    try:
        with scenario.stage(lab, outcome.checks, skipped) as measure:
            entrants = [name for name in scenario.entrants if name not in skipped]
            for name in scenario.cases(settings):
                case = Case(name, skipped=skipped)
                outcome.cases.append(case)
                if scenario.warm_up and not settings.smoke:
                    for entrant in entrants:
                        measure(name, entrant, True)
                for number in range(rounds):
                    for entrant in entrants:
                        case.add(entrant, measure(name, entrant, False))
                    lab.say(f"{scenario.name}, {name}: round {number + 1} of {rounds}")
    except (BenchFault, OSError, psycopg.Error, subprocess.SubprocessError) as fault:
        outcome.fault = f"{type(fault).__name__}: {fault}"
    outcome.seconds = time.monotonic() - start
    return outcome
