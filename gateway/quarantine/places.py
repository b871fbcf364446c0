"""Throw-away directories, and those that a killed gateway left behind.

A lock (flock) on a file within says that the owner lives. Unlike a process id, it can't
be another process's.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_PREFIX = "examine-"
_LOCK = "owner"


class Place:
    """A directory of one's own, mode 0700, until ``remove``."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
        # Close-on-exec, as all of Python's: the lock is not inherited.
        self._lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def remove(self) -> None:
        """Idempotent."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


def sweep(folder: Path) -> int:
    """Remove what dead owners left in ``folder``; how many places it were. Not to be
    run while another process of the gateway may be making a place: at its start."""
    removed = 0
    for path in folder.glob(_PREFIX + "*"):
        try:
            lock = os.open(path / _LOCK, os.O_RDWR)
        except FileNotFoundError:
            # Killed before it was locked, or half removed.
            shutil.rmtree(path, ignore_errors=True)
            removed += 1
            continue
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
            removed += 1
        except OSError:
            pass
        finally:
            os.close(lock)
    return removed
