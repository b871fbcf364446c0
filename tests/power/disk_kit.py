"""Starts the disk of ``lossy_disk.py`` for a test, and goes through what it may leave."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from crash_states import WAYS, CrashDisk, log_entries

SERVER = Path(__file__).with_name("lossy_disk.py")
_MEMORY = Path("/dev/shm")


class LossyDisk:
    """``path`` is where it is mounted, ``log`` what it wrote down."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "disk"
        self.path.mkdir()
        self.log = folder / "disk.log"
        self.process = subprocess.Popen(
            [sys.executable, str(SERVER), str(self.path), str(self.log)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            assert self.process.stderr is not None
            pytest.skip(f"no FUSE here: {self.process.stderr.read().strip()}")

    def fault(self, op: str, **more: Any) -> None:
        """See ``lossy_disk.Fault``."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"op": op, **more}) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "ok\n"

    def heal(self) -> None:
        """No faults any more."""
        self.fault("none")

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self.path)], check=False)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def lossy_disk(folder: Path) -> Iterator[LossyDisk]:
    """A fresh disk below ``folder``; the test is skipped where none can be had."""
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        pytest.skip("needs root and /dev/fuse, for a disk that loses what was not synced")
    disk = LossyDisk(folder)
    try:
        yield disk
    finally:
        disk.close()


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder in memory."""
    import tempfile

    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as name:
        yield Path(name)


Check = Callable[[Path, int, str], None]


def each_cut(log: Path, count: int, seed: int, check: Check, *, first: int = 0) -> int:
    """Cut the power at ``count`` moments of a log (the last is its end), and call
    ``check(what was left, the moment, how)``. Returns how many states were looked at."""
    rng = random.Random(seed)
    entries = list(log_entries(log))
    places = range(min(first, len(entries) - 1), len(entries))
    cuts = {*rng.sample(places, min(count - 1, len(places))), len(entries) - 1}
    disk = CrashDisk()
    looked = 0
    with scratch() as folder:
        for at, entry in enumerate(entries):
            disk.take(entry)
            if at not in cuts:
                continue
            how = WAYS[looked % len(WAYS)] if looked < len(WAYS) else rng.choice(WAYS)
            target = folder / f"cut{looked}"
            disk.after_cut(rng, how, target)
            # Until the next change nothing else could have been on the disk.
            until = entries[at + 1][0] if at + 1 < len(entries) else entry[0] + 50_000_000
            try:
                check(target, until, how)
            except BaseException as error:
                kept = _MEMORY / "kept-cut"
                if os.environ.get("KEEP_CUT"):
                    shutil.rmtree(kept, ignore_errors=True)
                    shutil.copytree(target, kept)
                error.add_note(f"cut after entry {at} of {len(entries)} ({entry[1]}), {how}")
                raise
            shutil.rmtree(target)
            looked += 1
    return looked
