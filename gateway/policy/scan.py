"""Where triggers end: one pass of hyperscan, or of ``re`` where it is absent.

A trigger is a short pattern of which every start has at most one end, so that
both engines report the same set.  A hit is one integer, ``end << 8 | trigger``
(a tuple per hit costs twice as much where hits are dense).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

try:
    import hyperscan

    engine: Any = hyperscan
except ImportError:  # wheels exist for few platforms; the results are equal
    engine = None

Scan: TypeAlias = Callable[[bytes], list[int]]

TRIGGERS_MAX: Final = 255


def scanner(triggers: Sequence[bytes], plain: bool = False) -> Scan:
    """A function from data to its hits, sorted. ``plain`` insists on ``re``.

    A scanner owns one hyperscan scratch space: use it from one thread at a
    time (two at once raise ``hyperscan.ScratchInUseError``).
    """
    if len(triggers) > TRIGGERS_MAX:
        raise ValueError("too many triggers")
    if plain or engine is None:
        return _plain(triggers)
    return _fast(triggers)


def _fast(triggers: Sequence[bytes]) -> Scan:
    database = engine.Database(mode=engine.HS_MODE_BLOCK)
    # DOTALL as in the twin below: a negated class must take newlines too.
    database.compile(
        expressions=list(triggers),
        ids=list(range(len(triggers))),
        flags=[engine.HS_FLAG_DOTALL] * len(triggers),
    )
    scan = database.scan

    def on_match(number: int, start: int, end: int, flags: int, hits: list[int]) -> None:
        hits.append(end << 8 | number)

    def find(data: bytes) -> list[int]:
        hits: list[int] = []
        scan(data, match_event_handler=on_match, context=hits)
        # Order is only promised within one pattern.
        hits.sort()
        return hits

    return find


def _plain(triggers: Sequence[bytes]) -> Scan:
    # The lookahead finds matches that overlap, as hyperscan does.
    patterns = [re.compile(b"(?=(%b))" % trigger, re.DOTALL) for trigger in triggers]

    def find(data: bytes) -> list[int]:
        hits = {
            match.end(1) << 8 | number
            for number, pattern in enumerate(patterns)
            for match in pattern.finditer(data)
        }
        return sorted(hits)

    return find


def merge(found: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """``found`` sorted, with what overlaps or touches joined. Sorts in place."""
    found.sort()
    merged: list[tuple[int, int]] = []
    low, high = -1, -1
    for start, end in found:
        if start > high:
            if high >= 0:
                merged.append((low, high))
            low, high = start, end
        elif end > high:
            high = end
    if high >= 0:
        merged.append((low, high))
    return merged
