"""Where things lie in the state directory."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

LOG_SUFFIX = ".agr"
KEYS_SUFFIX = ".keys"


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


def keys_path(log: Path) -> Path:
    """Where the wrapped keys of a session's originals lie: beside its Log, whichever part."""
    return log.with_name(log.name.partition(".")[0] + KEYS_SUFFIX)
