"""What the numbers were measured on, and whether it was quiet."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bench.process import TICK, Meter

STEAL_PERCENT = 2.0
FOREIGN_PERCENT = 5.0
"""Of the machine's CPU time: what others may use before a run is called noisy."""
LOAD_PER_CORE = 0.3
"""Load average per core before the run that means that others work here."""
ROOT = Path(__file__).resolve().parent.parent


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
    """Cores, processor, memory, kernel, Python, and what a reader must know to
    compare: the disk under recordings, a CPU quota, how the hot path runs."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cores": len(os.sched_getaffinity(0)),
        "cpu_quota": _quota(),
        "processor": _first("/proc/cpuinfo", "model name"),
        "memory": _first("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "disk": _disk(Path(tempfile.gettempdir())),
        "python": platform.python_version(),
        "gateway": _said([sys.executable, "-m", "gateway.cli", "--version"]),
        "commit": _said(["git", "describe", "--always", "--dirty"]),
        "postgres": _said(["psql", "--version"]),
        "pgbouncer": _said(["pgbouncer", "--version"]),
        "haproxy": _said(["haproxy", "-v"]),
        "openssh": _said(["ssh", "-V"]),
        "git": _said(["git", "--version"]),
    }


def _said(command: Sequence[str]) -> str:
    """The first line that a program prints about itself; "" where it is missing."""
    path = shutil.which(command[0], path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if path is None:
        return ""
    try:
        done = subprocess.run(
            [path, *command[1:]], capture_output=True, text=True, timeout=20, check=False, cwd=ROOT
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    if done.returncode:
        return ""
    return (done.stdout or done.stderr).strip().partition("\n")[0]


def _disk(folder: Path) -> str:
    """The file system that ``folder`` is on, and its device."""
    best, found = -1, "?"
    for line in Path("/proc/mounts").read_text().splitlines():
        device, place, kind, *_ = line.split()
        if folder.is_relative_to(place) and len(place) > best:
            best, found = len(place), f"{kind} on {device}"
    return found


def _quota() -> str:
    """Cores that a container may use, "" without a limit (cgroup v2, cpu.max)."""
    try:
        most, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return ""
    return "" if most == "max" else f"{int(most) / int(period):g} cores"


def own_cpu() -> float:
    """Seconds of CPU of this process and all that it started, ended or not."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    mine = resource.getrusage(resource.RUSAGE_SELF)
    total = ended.ru_utime + ended.ru_stime + mine.ru_utime + mine.ru_stime
    for child in Meter(os.getpid()).children():
        total += Meter(child, ended=True).cpu()
    return total


@dataclass(slots=True)
class Watch:
    """Looks at the machine from its making to ``done`` or ``noise``."""

    before: tuple[float, float, float] = field(default_factory=load)
    _start: list[int] = field(default_factory=_jiffies)
    _own: float = field(default_factory=own_cpu)
    _since: float = field(default_factory=time.monotonic)

    def noise(self) -> dict[str, float]:
        """In percent of the machine's CPU time: what other guests of the host
        took (steal), what other programs here took (foreign: user and system time
        that is nobody's of ours), and what was left."""
        spent = [now - then for now, then in zip(_jiffies(), self._start, strict=True)]
        total = sum(spent) or 1
        busy = (spent[0] + spent[1] + spent[2]) / TICK
        foreign = max(0.0, busy - (own_cpu() - self._own)) * TICK
        return {
            "steal_percent": round(100 * spent[7] / total, 2),
            "foreign_percent": round(100 * foreign / total, 2),
            "idle_percent": round(100 * spent[3] / total, 2),
        }

    def done(self) -> dict[str, object]:
        """``noise``, and the load before and after."""
        return {
            "load_before": [round(x, 2) for x in self.before],
            "load_after": [round(x, 2) for x in load()],
            **self.noise(),
        }


def complaints(seen: dict[str, object]) -> list[str]:
    """Sentences on why the machine was too noisy to believe absolute numbers."""
    cores = len(os.sched_getaffinity(0))
    said = []
    steal, foreign, before = seen["steal_percent"], seen["foreign_percent"], seen["load_before"]
    assert isinstance(steal, float)
    assert isinstance(foreign, float)
    assert isinstance(before, list)
    if before[0] > LOAD_PER_CORE * cores:
        said.append(f"others were at work before the run: load {before[0]} on {cores} cores")
    if foreign > FOREIGN_PERCENT:
        said.append(f"other programs took {foreign} % of the CPU time during the run")
    built = str(seen.get("gateway", ""))
    if "pure" in built or "in Python" in built:
        said.append(f"the gateway ran without its compiled hot path: {built}")
    if steal > STEAL_PERCENT:
        said.append(f"the host took {steal} % of the CPU time for other guests")
    return said
