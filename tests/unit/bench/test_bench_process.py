"""What is read of processes that may end at any moment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from bench.process import Meter, children

SLEEPS = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(100)"]


def test_one_that_ended_has_used_nothing_and_has_no_children() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    meter = Meter(ended.pid)
    assert children(ended.pid) == []
    assert (meter.cpu(), meter.rss(), meter.peak()) == (0.0, 0, 0)
    meter.forget_peak()
    meter.settle(0.3)


def test_one_that_ends_just_before_it_is_looked_into_does_not_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A scenario broke off at a server's process that was there a moment before."""
    with subprocess.Popen(SLEEPS, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        mine = Meter(os.getpid())
        assert child.pid in mine.children()
        assert mine.rss() > Meter(child.pid).rss() > 1_000_000
        real: Callable[..., Any] = os.listdir

        def ends_before(path: Any = ".") -> Any:
            if str(path).endswith(f"/{child.pid}/task"):
                child.kill()
                child.wait()
            return real(path)

        monkeypatch.setattr(os, "listdir", ends_before)
        assert mine.cpu() > 0
        assert child.poll() is not None


def test_little_cpu_is_seen() -> None:
    burns = "import sys\nfor _ in sys.stdin:\n    sum(range(20_000))\n    print(1, flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", burns], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        meter = Meter(child.pid)
        seen = []
        for _ in range(5):
            child.stdin.write(b"\n")
            child.stdin.flush()
            child.stdout.readline()
            seen.append(meter.cpu())
        child.stdin.close()
    assert seen == sorted(set(seen))
    assert 0 < seen[-1] - seen[-2] < 0.5
