"""Programs that are killed in the middle of what they do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0


def killed(
    program: Path, *words: object, after: float, enough: Callable[[bytes], bool] | None = None
) -> bytes:
    """What ``program`` said, behind its line "ready", until it was killed: ``after`` so many
    seconds, which begin when it is ready and has said ``enough``."""
    child = subprocess.Popen(
        [sys.executable, str(program), *map(str, words)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    # The pipe is drained meanwhile, so that the victim never waits for us.
    os.set_blocking(child.stdout.fileno(), False)
    said = b""
    latest = time.monotonic() + PATIENCE
    while enough is not None and not enough(said):
        assert time.monotonic() < latest
        said += child.stdout.read() or b""
        time.sleep(0.001)
    until = time.monotonic() + after
    while time.monotonic() < until:
        said += child.stdout.read() or b""
        time.sleep(0.001)
    child.kill()
    child.wait()
    os.set_blocking(child.stdout.fileno(), True)
    said += child.stdout.read()
    child.stdout.close()
    return said
