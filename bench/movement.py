"""Whether a ratio moved between two runs, or only its noise did.

The samples are logarithms of ratios within a round, so that what both contenders
felt (a warm machine, a busy host) is out of them already. Three things must hold
for a move:

- **An exact rank test** (Mann-Whitney, one-sided, all ways to deal the ranks, ties
  shared) gives p ≤ 0.05. With three rounds each that is: no round of the one run is
  among those of the other. It assumes nothing about how the noise is distributed.
- **The shift is above three standard errors**, from the larger of two guesses of the
  noise: the spread of these rounds, and what is usual in this case (the median over its
  contenders). Three rounds alone are a bad guess of their own noise, and some of
  hundreds of comparisons are separate by chance.
- **The shift matters**: 5 % or what ``--least`` says.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

ALPHA = 0.05
ERRORS = 3.0
LEAST_ROUNDS = 3
DEALS_MAX = 200_000


def shift(old: Sequence[float], new: Sequence[float]) -> float:
    """How far ``new`` lies above ``old``: the median of all differences
    (Hodges-Lehmann), which one bad round does not move much."""
    return statistics.median(b - a for a in old for b in new)


def variance(samples: Sequence[float]) -> float:
    return statistics.variance(samples) if len(samples) > 1 else 0.0


def rank_test(low: Sequence[float], high: Sequence[float]) -> float:
    """The chance that ranks dealt out at random favour ``high`` as much as they
    do, if nothing moved. Exact up to some ten rounds each, else by the normal
    approximation."""
    joined = [*low, *high]
    ranks = _ranks(joined)
    got, count = sum(ranks[len(low) :]), len(high)
    if math.comb(len(joined), count) <= DEALS_MAX:
        deals = [sum(deal) for deal in combinations(ranks, count)]
        return sum(each >= got - 1e-9 for each in deals) / len(deals)
    mean = count * (len(joined) + 1) / 2
    spread = math.sqrt(len(low) * count * (len(joined) + 1) / 12)
    return 0.5 * math.erfc((got - 0.5 - mean) / spread / math.sqrt(2))


def _ranks(values: Sequence[float]) -> list[float]:
    """From 1; equal ones share theirs."""
    ordered = sorted(values)
    first = {value: ordered.index(value) for value in set(values)}
    return [first[value] + (ordered.count(value) + 1) / 2 for value in values]


@dataclass(frozen=True, slots=True)
class Move:
    """``factor``: new as a multiple of old. ``verdict``: ``better``, ``worse``,
    ``same`` (nothing that stands out of the noise), or ``unknown``: too few rounds.
    ``noise``: the factor from which this case could tell a move."""

    factor: float
    p: float
    noise: float
    verdict: str


def judge(
    old: Sequence[float], new: Sequence[float], better: str, *, usual: float, least: float
) -> Move:
    """Compare ratios of the rounds of two runs. ``usual``: the variance of a
    logarithm that is usual in this case; ``least``: the part that matters."""
    a, b = [math.log(x) for x in old], [math.log(x) for x in new]
    moved = shift(a, b)
    if min(len(a), len(b)) < LEAST_ROUNDS:
        return Move(math.exp(moved), 1.0, 1.0, "unknown")
    p = rank_test(a, b) if moved > 0 else rank_test(b, a)
    freedom = len(a) + len(b) - 2
    own = (variance(a) * (len(a) - 1) + variance(b) * (len(b) - 1)) / freedom
    error = math.sqrt(max(own, usual) * (1 / len(a) + 1 / len(b)))
    needed = max(ERRORS * error, math.log1p(least))
    verdict = "same"
    if p <= ALPHA + 1e-9 and abs(moved) >= needed:
        verdict = "better" if (moved > 0) == (better == "more") else "worse"
    return Move(math.exp(moved), p, math.exp(needed), verdict)
