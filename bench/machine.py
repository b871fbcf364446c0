"""What the numbers were measured on, and whether it was quiet."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from pathlib import Path

STEAL_PERCENT = 2.0
LOAD_PER_CORE = 0.3
"""Load average per core before the run that means that others work here."""


def load() -> tuple[float, float, float]:
    """The load averages of 1, 5 and 15 minutes."""
    return os.getloadavg()


def _jiffies() -> list[int]:
    line = Path("/proc/stat").read_text().partition("\n")[0]
    return [int(word) for word in line.split()[1:9]]


def _first(path: str, key: str) -> str:
    for line in Path(path).read_text().splitlines():
        if line.startswith(key):
            return line.partition(":")[2].strip()
    return "?"


def facts() -> dict[str, object]:
    """Cores, processor, memory, kernel, Python."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _first("/proc/cpuinfo", "model name"),
        "memory": _first("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


@dataclass(slots=True)
class Watch:
    """Looks at the machine from its making to ``done``."""

    before: tuple[float, float, float] = field(default_factory=load)
    _start: list[int] = field(default_factory=_jiffies)

    def done(self) -> dict[str, object]:
        """Load before and after, and what share of CPU time was stolen by
        other guests of the host, in percent."""
        spent = [now - then for now, then in zip(_jiffies(), self._start, strict=True)]
        total = sum(spent) or 1
        return {
            "load_before": [round(x, 2) for x in self.before],
            "load_after": [round(x, 2) for x in load()],
            "steal_percent": round(100 * spent[7] / total, 2),
            "idle_percent": round(100 * spent[3] / total, 2),
        }


def complaints(seen: dict[str, object]) -> list[str]:
    """Sentences on why the machine was too noisy to believe absolute numbers."""
    cores = len(os.sched_getaffinity(0))
    said = []
    steal, before = seen["steal_percent"], seen["load_before"]
    assert isinstance(steal, float)
    assert isinstance(before, list)
    if before[0] > LOAD_PER_CORE * cores:
        said.append(f"others were at work before the run: load {before[0]} on {cores} cores")
    if steal > STEAL_PERCENT:
        said.append(f"the host took {steal} % of the CPU time for other guests")
    return said
