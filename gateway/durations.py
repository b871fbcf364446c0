"""Durations as people write them."""

from __future__ import annotations

import re

_FORM = re.compile(r"([0-9]{1,9})(s|m|h|d)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def duration(text: str) -> float:
    """Seconds of ``30s``, ``15m``, ``2h``, ``7d``; ValueError otherwise."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text}" is no duration such as "30s", "15m", "2h" or "7d"')
    return int(match[1]) * _SECONDS[match[2]]
