"""What a process has used, read from /proc."""

from __future__ import annotations

import os
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
"""CPU time in /proc is counted in these parts of a second (10 ms on Linux)."""
EXACT = 2
"""With ``~pid << 3``: the clock of all CPU that a process has used, in nanoseconds (what
clock_getcpuclockid(3) gives on Linux)."""
QUIET_SECONDS = 0.1


def children(pid: int) -> list[int]:
    """Of every thread of ``pid``; none where it ended, which it may do at any time."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        try:
            found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
        except OSError:
            continue  # the thread ended
    return found


class Meter:
    """A process and its descendants. CPU of descendants that ended is lost, but
    with ``ended`` where their parents have waited for them; CPU is exact without it, and
    counted in ticks with it."""

    def __init__(self, pid: int, *, ended: bool = False) -> None:
        self.pid = pid
        self._ended = ended

    def _tree(self) -> list[int]:
        found, waiting = [], [self.pid]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            waiting += children(pid)
        return found

    def children(self) -> list[int]:
        """The processes that it started and that have not ended."""
        return children(self.pid)

    def cpu(self) -> float:
        """Seconds of CPU, user and system, since the start."""
        total = 0.0
        for pid in self._tree():
            try:
                if self._ended:
                    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                    total += sum(map(int, fields[11:15])) / TICK
                else:
                    total += time.clock_gettime(~pid << 3 | EXACT)
            except OSError:
                continue
        return total

    def _status(self, key: str) -> int:
        total = 0
        for pid in self._tree():
            try:
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            except OSError:
                continue
            for line in lines:
                if line.startswith(key):
                    total += int(line.split()[1]) * 1024
        return total

    def rss(self) -> int:
        """Resident bytes now."""
        return self._status("VmRSS:")

    def peak(self) -> int:
        """Resident bytes at most, since the start or ``forget_peak``."""
        return self._status("VmHWM:")

    def forget_peak(self) -> None:
        """Let the peak be counted from now on (proc(5), clear_refs)."""
        for pid in self._tree():
            try:
                Path(f"/proc/{pid}/clear_refs").write_text("5")
            except OSError:
                continue  # errs towards a peak that is too high

    def settle(self, most: float = 20.0) -> None:
        """Wait until it rests (the gateway closes and seals what has ended),
        at most ``most`` seconds."""
        end = time.monotonic() + most
        before = self.cpu()
        while time.monotonic() < end:
            time.sleep(QUIET_SECONDS)
            now = self.cpu()
            if now - before < 2 / TICK:
                return
            before = now
