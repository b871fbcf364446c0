"""What was measured: metrics, samples, medians with their spread, checks."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.latency import Latency

SCHEMA = "wirewarden-bench/1"


class BenchFault(Exception):
    """Something that was measured did not do what it should have done."""


@dataclass(frozen=True, slots=True)
class Metric:
    """``better``: ``more``, ``less``, or "" where neither is."""

    name: str
    unit: str
    better: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """Whether the work that was measured was done, and done right."""

    name: str
    good: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Spread:
    """Of the samples of all rounds."""

    median: float
    low: float
    high: float
    samples: tuple[float, ...]

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        return cls(statistics.median(samples), min(samples), max(samples), tuple(samples))

    @property
    def noise(self) -> float:
        """How far apart the samples are, as a part of the median."""
        return (self.high - self.low) / self.median if self.median else 0.0


class Measured(dict[str, float]):
    """The metrics of one turn, and the latencies where each piece of work was
    timed by itself."""

    latency: Latency | None = None


@dataclass(slots=True)
class Case:
    """One case of a scenario: each entrant's samples of each metric, one per
    round. ``failed``: who broke off in it, and why."""

    name: str
    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    latency: dict[str, Latency] = field(default_factory=dict)
    cpu: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """Seconds of CPU per turn, by entrant and by ``contender``, ``server`` and
    ``client``."""

    def add(self, entrant: str, measured: Mapping[str, float]) -> None:
        mine = self.samples.setdefault(entrant, {})
        for name, value in measured.items():
            mine.setdefault(name, []).append(value)
        latency = measured.latency if isinstance(measured, Measured) else None
        if latency is not None:
            if entrant in self.latency:
                self.latency[entrant].add(latency)
            else:
                self.latency[entrant] = latency

    def spent(self, entrant: str, seconds: Mapping[str, float]) -> None:
        """Who used how much CPU in one turn of ``entrant``."""
        mine = self.cpu.setdefault(entrant, {})
        for role, value in seconds.items():
            mine.setdefault(role, []).append(value)

    def spread(self, entrant: str, metric: str) -> Spread | None:
        """None where it was not measured."""
        samples = self.samples.get(entrant, {}).get(metric)
        return Spread.of(samples) if samples else None

    def ratios(self, entrant: str, to: str, metric: str) -> Spread | None:
        """Of each round: it compares what ran side by side, so that what drifts
        from round to round cancels out. A run that was broken off may have one
        round more of those who were first; that one is left out."""
        mine = self.samples.get(entrant, {}).get(metric)
        theirs = self.samples.get(to, {}).get(metric)
        if not mine or not theirs or abs(len(mine) - len(theirs)) > 1:
            return None
        pairs = list(zip(mine, theirs, strict=False))
        if not all(b > 0 for _, b in pairs):
            return None
        return Spread.of([a / b for a, b in pairs])

    def ratio(self, entrant: str, to: str, metric: Metric) -> float | None:
        """The median of ``ratios``."""
        found = self.ratios(entrant, to, metric.name)
        return None if found is None else found.median


@dataclass(slots=True)
class Outcome:
    """What a scenario gave. ``metrics``: the first is the one that ratios
    compare; ``bases``: whom ratios are to."""

    scenario: str
    about: str
    metrics: tuple[Metric, ...]
    cases: list[Case] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    seconds: float = 0.0
    fault: str = ""
    bases: tuple[str, ...] = ("direct", "pgbouncer", "proxyjump")
    interrupted: bool = False
    skipped: dict[str, str] = field(default_factory=dict)
    noise: dict[str, float] = field(default_factory=dict)
    rounds: int = 0

    @property
    def failures(self) -> list[str]:
        """Sentences on what went wrong."""
        said = [
            f"{case.name}: {who}: {why}" for case in self.cases for who, why in case.failed.items()
        ]
        said += [f"{check.name}: {check.detail}" for check in self.checks if not check.good]
        return [*said, self.fault] if self.fault else said

    @property
    def good(self) -> bool:
        return not self.failures
