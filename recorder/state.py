"""Where things lie in the state directory."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

LOG_SUFFIX = ".agr"
KEYS_SUFFIX = ".keys"
_NAME = re.compile(r"([0-9A-Za-z]+)(?:\.p([0-9]{4,9}))?\.agr", re.ASCII)


def worker_directory(state: Path, worker: str) -> Path:
    """Where the journal of one worker process lies."""
    return state / "journal" / worker


def sessions_directory(state: Path) -> Path:
    """Where finished Logs lie."""
    return state / "sessions"


def log_path(sessions: Path, session: str, wall: int) -> Path:
    """The Log of a session that began at ``wall`` (Unix nanoseconds)."""
    day = datetime.fromtimestamp(wall // 1_000_000_000, UTC)
    return sessions / f"{day:%Y}" / f"{day:%m}" / f"{day:%d}" / (session + LOG_SUFFIX)


def part_path(log: Path, part: int) -> Path:
    """A part of the session whose Log, or any part of it, is ``log``: part 0 has the plain name."""
    session = session_of(log)
    return log.with_name(session + (f".p{part:04d}" if part else "") + LOG_SUFFIX)


def session_of(log: Path) -> str:
    """The session's id, as the name of a Log, or of a part of it, says."""
    return log.name.partition(".")[0]


def part_of(log: Path) -> int | None:
    """The number that the name of a part says; None if it is no such name."""
    found = _NAME.fullmatch(log.name)
    if found is None or (found[2] and log != part_path(log, int(found[2]))):
        return None
    return int(found[2] or 0)


def keys_path(log: Path) -> Path:
    """Where the wrapped keys of a session's originals lie: beside its Log, whichever part."""
    return log.with_name(log.name.partition(".")[0] + KEYS_SUFFIX)
