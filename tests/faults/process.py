"""What the kernel says of a gateway's process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stack import Stack

_TICK = os.sysconf("SC_CLK_TCK")


def pid(stack: Stack) -> int:
    assert stack.process is not None
    return stack.process.pid


def children(number: int) -> list[int]:
    """The processes that ``number`` has started: workers of a supervisor."""
    text = Path(f"/proc/{number}/task/{number}/children").read_text()
    return [int(word) for word in text.split()]


def rss(number: int) -> int:
    """Resident bytes."""
    pages = Path(f"/proc/{number}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def cpu(number: int) -> float:
    """Seconds of CPU so far."""
    fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def descriptors(number: int) -> int:
    """How many sockets are open."""
    count = 0
    for link in Path(f"/proc/{number}/fd").iterdir():
        try:
            count += os.readlink(link).startswith("socket:")
        except FileNotFoundError:
            continue
    return count


def at_rest(number: int) -> int:
    """``descriptors`` of a process that has just started, once there are no more of them: what
    it opens for itself may come after it says that it is ready."""
    found = -1
    while found != (found := descriptors(number)):
        time.sleep(0.5)
    return found


def soon(condition: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    """Wait until ``condition()``."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(0.02)


def idle(number: int, seconds: float = 1.0) -> float:
    """The part of a CPU that it takes while nothing should happen."""
    before = cpu(number)
    time.sleep(seconds)
    return (cpu(number) - before) / seconds


class Peak:
    """``grown`` is how far resident memory went above its start, in bytes."""

    def __init__(self, number: int) -> None:
        self.start = rss(number)
        self.top = self.start

    @property
    def grown(self) -> int:
        return self.top - self.start


@contextmanager
def watched(number: int) -> Iterator[Peak]:
    """Sample the memory of ``number`` meanwhile."""
    peak = Peak(number)
    over = threading.Event()

    def sample() -> None:
        while not over.wait(0.01):
            peak.top = max(peak.top, rss(number))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()
        peak.top = max(peak.top, rss(number))
