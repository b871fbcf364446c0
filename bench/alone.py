"""Scenarios of one part alone, in this process: no sockets, no contenders."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from bench.figures import Check, Metric
from bench.lab import Lab
from bench.scenario import Measure
from bench.settings import Settings


class Alone:
    """``variants`` are those of the part. ``turn`` measures one of them."""

    name = ""
    about = ""
    metrics: tuple[Metric, ...] = ()
    bases: tuple[str, ...] = ()
    variants: tuple[str, ...] = ("alone",)
    most_rounds = 0
    warm_up = True
    in_quick = True
    longest = 1.0
    """Seconds of a turn, at most."""

    def entrants(self, settings: Settings) -> Sequence[str]:
        return self.variants

    def owed(self, entrants: Sequence[str]) -> Sequence[str]:
        return ()

    def guess(self, settings: Settings) -> tuple[float, float]:
        return 0.5, 0.02 + min(self.longest, settings.seconds / 2)

    def cases(self, settings: Settings) -> Sequence[str]:
        raise NotImplementedError

    def prepare(self, lab: Lab) -> None:
        """What is needed before the first turn."""

    def turn(self, lab: Lab, entrant: str, case: str, seconds: float) -> Mapping[str, float]:
        raise NotImplementedError

    def checks(self) -> list[Check]:
        """What the turns showed."""
        return []

    @contextlib.contextmanager
    def stage(
        self, lab: Lab, names: Sequence[str], checks: list[Check], skipped: dict[str, str]
    ) -> Iterator[Measure]:
        self.prepare(lab)
        usual = 0.01 if lab.settings.smoke else min(self.longest, lab.settings.seconds / 2)
        yield lambda case, entrant, warm: self.turn(lab, entrant, case, 0.05 if warm else usual)
        checks += self.checks()


def per_call(work: Callable[[], object], seconds: float) -> float:
    """Seconds that one call of ``work`` takes, over at least ``seconds``."""
    count, spent = 1, 0.0
    while True:
        start = time.perf_counter()
        for _ in range(count):
            work()
        spent = time.perf_counter() - start
        if spent >= seconds:
            return spent / count
        count = max(count * 2, int(count * seconds / max(spent, 1e-6)))
