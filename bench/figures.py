"""What was measured: metrics, samples, medians with their spread, checks."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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


@dataclass(slots=True)
class Case:
    """One case of a scenario: each entrant's samples of each metric."""

    name: str
    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def add(self, entrant: str, measured: Mapping[str, float]) -> None:
        mine = self.samples.setdefault(entrant, {})
        for name, value in measured.items():
            mine.setdefault(name, []).append(value)

    def spread(self, entrant: str, metric: str) -> Spread | None:
        """None where it was not measured."""
        samples = self.samples.get(entrant, {}).get(metric)
        return Spread.of(samples) if samples else None

    def ratio(self, entrant: str, to: str, metric: Metric) -> float | None:
        """The median of the rounds' ratios: each round compares what ran side
        by side, so that what drifts from round to round cancels out."""
        mine = self.samples.get(entrant, {}).get(metric.name)
        theirs = self.samples.get(to, {}).get(metric.name)
        if not mine or not theirs or len(mine) != len(theirs) or not all(theirs):
            return None
        return statistics.median(a / b for a, b in zip(mine, theirs, strict=True))


@dataclass(slots=True)
class Outcome:
    """What a scenario gave. ``metrics``: the first is the one that ratios
    compare."""

    scenario: str
    about: str
    metrics: tuple[Metric, ...]
    cases: list[Case] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    seconds: float = 0.0
    fault: str = ""

    @property
    def good(self) -> bool:
        return not self.fault and all(check.good for check in self.checks)
