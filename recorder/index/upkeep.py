"""Takes new Logs into an index. Folders of a day that have not changed since they were
read aren't looked into, and of the others only names and inodes are: a Log that was
changed in its place is noticed when it is shown, and by ``reindex``."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from recorder.away import SUFFIX as AWAY
from recorder.away import stat_of
from recorder.index.content import Content
from recorder.index.tables import Index
from recorder.live import live_sessions
from recorder.parted import unfinished
from recorder.state import LOG_SUFFIX, session_of, sessions_directory

_YOUNG = 2_000_000_000
"""Nanoseconds within which a folder can change without showing it: clocks of file
systems are coarse."""
_BATCH = 200


@dataclass
class Caught:
    """What a catch-up did."""

    added: int = 0
    dropped: int = 0


def catch_up(index: Index, state: Path, told: Callable[[int], None] | None = None) -> Caught:
    """Make ``index`` hold the Logs below ``state``, and no others. ``told`` hears how many
    were added so far. Raises ``DatabaseTrouble``, ``DamagedIndex`` and ``OSError``."""
    done = Caught()
    root = sessions_directory(state)
    known = index.days()
    changed = []
    for folder in day_folders(root):
        day = folder.relative_to(root).as_posix()
        try:
            mtime = folder.stat().st_mtime_ns
        except FileNotFoundError:
            continue
        if known.pop(day, None) != mtime:
            changed.append(folder)
    if not changed and not known:
        return done
    with _only_one(state):
        for folder in changed:
            for _ in _day(index, state, folder, done):
                if told is not None:
                    told(done.added)
        for day in known:
            with index.database.transaction():
                for place in index.places(day):
                    index.drop(place)
                    done.dropped += 1
                index.drop_day(day)
    return done


def day_folders(root: Path) -> Iterator[Path]:
    """The folders that Logs lie in, oldest first."""
    yield from sorted(root.glob("[0-9]*/[0-9]*/[0-9]*"))


def _day(index: Index, state: Path, folder: Path, done: Caught) -> Iterator[None]:
    """Read one folder; yields after each batch."""
    day = folder.relative_to(sessions_directory(state)).as_posix()
    mtime = folder.stat().st_mtime_ns
    if time.time_ns() - mtime < _YOUNG:
        mtime = 0
    held = index.places(day)
    new, gone = [], []
    prefix = folder.relative_to(state).as_posix() + "/"
    logs = _inodes(folder)
    last = ""
    sessions: dict[str, int] = {}
    live: set[str] | None = None
    for name, inode in sorted(logs.items()):
        # A session in parts goes by the name of the first, and changes when one is added.
        if name.partition(".")[0] != last.partition(".")[0]:
            last = name
        sessions[last] = inode
    for name, inode in sessions.items():
        place = prefix + name
        known = held.pop(place, None)
        if known == inode:
            continue
        if unfinished(state / place):
            if live is None:
                live = {str(s.header["session"]) for s in live_sessions(state / "journal")}
            if session_of(state / place) in live and unfinished(state / place):
                mtime = 0  # more of it is in a journal: it is taken in when it is over
                if known is not None:
                    held[place] = known
                continue
        new.append((place, known is not None))
    gone = [*held]
    new.sort()
    for start in range(0, max(1, len(new)), _BATCH):
        with index.database.transaction():
            for place in gone:
                index.drop(place)
                done.dropped += 1
            gone = []
            for place, there in new[start : start + _BATCH]:
                try:
                    content = Content(state / place)
                except FileNotFoundError:
                    continue
                except OSError:
                    mtime = 0  # of this one, the next catch-up may know more
                    continue
                if there:
                    index.drop(place)
                index.add(place, day, content)
                done.added += 1
            if start + _BATCH >= len(new):
                index.note_day(day, mtime)
        yield


def _inodes(folder: Path) -> dict[str, int]:
    """The names of Logs in a folder, also of those that are away, with what they are known by."""
    logs: dict[str, int] = {}
    away = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.name.endswith(LOG_SUFFIX):
                logs[entry.name] = entry.inode()
            elif entry.name.endswith(LOG_SUFFIX + AWAY):
                away.append(entry.name.removesuffix(AWAY))
    for name in away:
        if name not in logs:
            logs[name] = stat_of(folder / name).inode
    return logs


def again(index: Index, state: Path, place: str) -> None:
    """A Log is not the one that was read, or is gone."""
    with _only_one(state), index.database.transaction():
        index.drop(place)
        try:
            content = Content(state / place)
        except FileNotFoundError:
            return
        day = Path(place).parent.relative_to(sessions_directory(Path())).as_posix()
        index.add(place, day, content)


@contextmanager
def _only_one(state: Path) -> Iterator[None]:
    """Two that catch up at once would add the same Logs."""
    lock = os.open(state / "index.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
