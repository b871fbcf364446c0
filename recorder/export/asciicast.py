"""What ``recorder play`` shows, as an asciicast v2 file (asciinema's format)."""

from __future__ import annotations

import json


def head(title: str, wall: int, width: int = 120, height: int = 40) -> str:
    """The first line. ``wall``: when it began, in Unix nanoseconds."""
    return json.dumps(
        {"version": 2, "width": width, "height": height, "timestamp": wall // 10**9, "title": title}
    )


def shown(at: int, text: str) -> str:
    """The line of a safe line that is shown ``at`` nanoseconds after the start."""
    return json.dumps([round(at / 1e9, 6), "o", text + "\r\n"])
