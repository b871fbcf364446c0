"""Files of JSON lines that only grow, each line durable before the next is written.

A power cut in the middle of an append can leave a part of that last line, with zeros for
what is missing of it. Nobody was told that it was there: readers pass it over, and the
next append cuts it off.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from recorder.segment import fsync_directory, write_all


def whole_lines(path: Path) -> list[bytes]:
    """The lines with their ends, without one that was torn at the file's end. None of them where
    there is no file. Raises ``OSError``."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return []
    return raw[: _whole(raw)].splitlines(keepends=True)


def append_line(path: Path, told: dict[str, Any]) -> None:
    """One line more, durably. The caller sees to it that nobody else writes. Raises
    ``OSError``; then the line is not there."""
    line = json.dumps(told, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
    new = not path.exists()
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(fd).st_size
        whole = _whole(path.read_bytes()) if size else 0
        try:
            if whole < size:
                os.ftruncate(fd, whole)
            write_all(fd, line)
            os.fsync(fd)
        except OSError:
            # Also after an fsync that failed: what comes later must not lie behind a hole.
            os.ftruncate(fd, whole)
            raise
    finally:
        os.close(fd)
    if new:
        fsync_directory(path.parent)


def _whole(raw: bytes) -> int:
    """Where the last whole line ends. JSON of ours has neither zeros nor line feeds in it, so
    that zeros in the last line, or before the file's end, are sectors that were lost."""
    stop = raw.rfind(b"\n") + 1
    if b"\0" in raw[stop:]:
        return stop
    start = raw.rfind(b"\n", 0, max(stop - 1, 0)) + 1
    return start if b"\0" in raw[start:stop] else stop
