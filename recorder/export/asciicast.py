"""What ``recorder play`` shows, as an asciicast v2 file (asciinema's format)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator


def asciicast(
    title: str, wall: int, lines: Iterable[tuple[int, str]], width: int = 120, height: int = 40
) -> Iterator[str]:
    """``lines``: nanoseconds since the start, and a safe line. ``wall`` in Unix nanoseconds."""
    yield json.dumps(
        {"version": 2, "width": width, "height": height, "timestamp": wall // 10**9, "title": title}
    )
    for at, text in lines:
        yield json.dumps([round(at / 1e9, 6), "o", text + "\r\n"])
