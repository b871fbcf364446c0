"""Many recordings: verify, list and search."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.alone import Alone
from bench.contenders import ROOT
from bench.figures import BenchFault, Check, Metric
from bench.index_speed import questions, write
from bench.lab import Lab
from bench.settings import Settings
from recorder.index.answer import Answer, rebuilt
from recorder.verify import OK, verify_file

AGREES = "grep agrees with the rules on record"
LISTS, SEARCHES = questions(1_000_000)
SPOKEN = {
    "recorder list --principal": ["list", "--principal", "repo-7@ci", "--json"],
    "recorder grep, rare": ["grep", "drop table", "--json"],
}
"""As people ask, with the start of Python."""


def logs(lab: Lab) -> Path:
    """A state directory with Logs of as many commands as the settings say."""
    state, count = lab.folder / "many", lab.settings.commands

    def make() -> None:
        write(state, count)

    lab.once(f"{count:,} commands on record", make)
    return state


class Index(Alone):
    """``recorder list`` and ``recorder grep``, within one process."""

    name = "index"
    about = "list and search recorded commands; what grep finds is checked by another way"
    metrics = (
        Metric("time", "ms", "less"),
        Metric("slowest", "ms", "less"),
        Metric("found", ""),
    )
    warm_up = False

    def entrants(self, settings: Settings) -> Sequence[str]:
        lists = [f"list {name}" for name in LISTS]
        return [*lists, *(f"grep {name}" for name in SEARCHES), *SPOKEN]

    def cases(self, settings: Settings) -> Sequence[str]:
        return [f"{settings.commands:,} commands"]

    def owed(self, entrants: Sequence[str]) -> Sequence[str]:
        return [AGREES]

    def guess(self, settings: Settings) -> tuple[float, float]:
        return 3.0 + settings.commands / 12_000, 0.25 * min(1.0, settings.seconds)

    def prepare(self, lab: Lab) -> None:
        self._state = logs(lab)
        count = lab.settings.commands
        self._lists, self._searches = questions(count)
        self._quiet: Callable[[str], None] = lambda text: None

        def build() -> None:
            made = rebuilt(self._state, self._quiet)
            if made is None or made[0] != count // 20:
                raise BenchFault(f"the index has {made} sessions of {count // 20}")

        lab.once("the index", build)
        self._agree()

    def _agree(self) -> None:
        """Text and rule find the same commands, and no filter finds too many."""
        by_text = self._ask("grep drop table")()
        sessions = self._ask("list --rule, rare")()
        if len(by_text) < len(sessions):
            raise BenchFault(f"grep finds {len(by_text)} commands in {len(sessions)} sessions")
        if self._ask("grep no such text")():
            raise BenchFault("grep finds what nobody said")
        self._found = len(by_text)

    def _ask(self, entrant: str) -> Callable[[], Sequence[object]]:
        what, _, name = entrant.partition(" ")
        state, quiet = self._state, self._quiet
        if entrant in SPOKEN:
            return lambda: self._spoken(SPOKEN[entrant])
        if what == "list":
            wanted, limit = self._lists[name]
            return lambda: list(Answer(state, wanted, quiet).lines(limit))
        wanted, limit = self._searches[name]
        return lambda: list(Answer(state, wanted, quiet).items(limit))

    def _spoken(self, words: Sequence[str]) -> Sequence[object]:
        done = subprocess.run(
            [sys.executable, "-m", "recorder.cli", *words],
            env=os.environ | {"WIREWARDEN_STATE": str(self._state)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode > 1 or done.stderr:
            raise BenchFault(f"recorder {words[0]}: {done.stderr.strip()[-300:]}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def turn(self, lab: Lab, entrant: str, case: str, seconds: float) -> Mapping[str, float]:
        ask, found = self._ask(entrant), 0
        took: list[float] = []
        end = time.perf_counter() + seconds / 2
        while not took or (time.perf_counter() < end and len(took) < 1000):
            began = time.perf_counter()
            found = len(ask())
            took.append(time.perf_counter() - began)
        took.sort()
        return {
            "time": took[len(took) // 2] * 1e3,
            "slowest": took[-1] * 1e3,
            "found": found,
        }

    def checks(self) -> list[Check]:
        return [Check(AGREES, True, f"{self._found:,} found")]


class Verify(Alone):
    """Logs verified one after the other, in one process."""

    name = "verify"
    about = "verify recordings of 20 commands each"
    metrics = (
        Metric("commands", "k/s", "more"),
        Metric("recordings", "/s", "more"),
        Metric("speed", "MB/s", "more"),
    )

    def cases(self, settings: Settings) -> Sequence[str]:
        return [f"{settings.commands:,} commands"]

    def guess(self, settings: Settings) -> tuple[float, float]:
        return 1.0, 1.5

    def prepare(self, lab: Lab) -> None:
        folder = logs(lab) / "sessions"
        self._paths = sorted(path for path in folder.rglob("*.agr"))
        if len(self._paths) != lab.settings.commands // 20:
            raise BenchFault(f"{len(self._paths)} recordings were written")
        self._at = 0

    def turn(self, lab: Lab, entrant: str, case: str, seconds: float) -> Mapping[str, float]:
        count = size = 0
        start = time.perf_counter()
        while time.perf_counter() - start < seconds:
            path = self._paths[self._at % len(self._paths)]
            self._at += 1
            verdict = verify_file(path)
            if verdict.status != OK:
                raise BenchFault(f"{path.name}: {verdict}")
            size += path.stat().st_size
            count += 1
        took = time.perf_counter() - start
        return {
            "commands": count * 20 / took / 1e3,
            "recordings": count / took,
            "speed": size / took / 1e6,
        }


SCENARIOS = (Index(), Verify())
