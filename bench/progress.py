"""How far a run is, and how long it may still take."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TextIO

SOFT = 20.0
"""Seconds of guessing that what was seen has to outweigh."""
LEAST_ROUNDS = 2
"""One that warms up, and one that counts."""


class Progress:
    """Guesses from what scenarios say of themselves, corrected by how wrong that
    was so far.

    ``plan``: of each scenario the seconds of its setup and of a round; ``rounds``:
    how many it should have, with the one that warms up; ``limit``: seconds that the
    run may take, 0 for any.
    """

    def __init__(
        self,
        plan: Sequence[tuple[float, float]],
        rounds: int,
        *,
        limit: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        out: TextIO | None = None,
    ) -> None:
        self._plan = list(plan)
        self._rounds = rounds
        self._limit = limit
        self._clock = clock
        self._out = out
        self._start = clock()
        self._at = -1
        self._guessed = self._spent = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start

    @property
    def pace(self) -> float:
        """Seconds that a guessed second takes, by the scenarios that are done."""
        return (self._spent + SOFT) / (self._guessed + SOFT)

    def _guess(self, first: int, rounds: int) -> float:
        """Seconds of the scenarios from ``first`` on."""
        return sum(setup + turn * rounds for setup, turn in self._plan[first:]) * self.pace

    def begin(self) -> int:
        """The next scenario begins: how many rounds it can have. Fewer, where the
        limit would be passed: better one than no last scenario."""
        if self._at >= 0:
            setup, turn = self._plan[self._at]
            self._guessed += setup + turn * self._rounds
            self._spent = self.elapsed
        self._at += 1
        while (
            self._limit
            and self._rounds > LEAST_ROUNDS
            and self.elapsed + self._guess(self._at, self._rounds) > self._limit
        ):
            self._rounds -= 1
        return self._rounds

    @property
    def left(self) -> float:
        """Seconds until the end, roughly."""
        if self._at < 0:
            return self._guess(0, self._rounds)
        setup, turn = self._plan[self._at]
        this = (setup + turn * self._rounds) * self.pace - (self.elapsed - self._spent)
        return max(0.0, this) + self._guess(self._at + 1, self._rounds)

    def say(self, text: str) -> None:
        """A line for people who wait, to stderr."""
        left = self.left
        about = f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s"
        out = self._out or sys.stderr
        print(f"[{self.elapsed:5.0f} s, about {about} left] {text}", file=out, flush=True)
