"""Finds values by their shape: addresses, numbers, tokens, keys.

``screen(kinds)`` builds a ``Screen``.  One pass of hyperscan finds short
triggers, and an anchored ``re`` around each confirms it.

For callers that join values: put ``SEPARATOR`` (one NUL byte) between them
and one behind the last.  No match crosses it, so a key block that begins in
one value and never ends is masked to the end of that value only.  The last
separator says that the last value is whole; without it, what is still open
where the data ends (``eyJhbGciOi``, ``-----BEGIN PRIV``) is masked to the
end.  Joining with a newline is safe too: only private keys cross a newline,
but one that never ends then takes all that follows with it.

What is found: the kind as written, also with ``\\u00xx`` escapes of ASCII (JSON),
with ``%40`` or ``&#64;`` for the at sign, and private keys within base64.  What is not: UTF-16,
compressed or otherwise encoded text, phone and social security numbers
without separators, and values that a query has taken apart.  Patterns are the last line:
column origins and own secrets come first.

Dense triggers: more than 32 within 192 bytes is a shape that no table of real values has,
and confirming each would let an adversary slow a session to 1 MB/s.  Such a
stretch is masked whole, with 640 bytes to either side or up to the next
separator: such a span alone may cover several values and the separators
between them.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import Final

from gateway.policy.keyblocks import KEYBLOCKS, SEPARATOR
from gateway.policy.kinds import KINDS, Memo, Trigger
from gateway.policy.scan import merge, scanner
from gateway.policy.tokens import TOKENS
from protocols.contract import Screen

__all__ = ["DETECTORS", "SEPARATOR", "screen"]

_ALL: Final = {**KINDS, **TOKENS, **KEYBLOCKS}

DETECTORS: Final[frozenset[str]] = frozenset(_ALL)
"""The kinds that rules may name."""

_CROWD: Final = 32
_CROWD_BYTES: Final = 192
_CROWD_EDGE: Final = 640

_ESCAPE: Final = re.compile(rb"\\u00([2-7][0-9A-Fa-f])")
_ESCAPE_LENGTH: Final = 6


def screen(kinds: Iterable[str], plain: bool = False) -> Screen:
    """A screen for the detectors named by ``kinds``.

    ``ValueError`` on an unknown kind or none.  ``plain`` does without
    hyperscan (equal results at 0.6 MB/s).  A screen keeps
    scratch memory: use it from one thread at a time.
    """
    wanted = sorted(set(kinds))
    if not wanted:
        raise ValueError("no detector named")
    for kind in wanted:
        if kind not in _ALL:
            raise ValueError(f"unknown detector {kind!r}; known: {', '.join(sorted(_ALL))}")
    triggers = [trigger for kind in wanted for trigger in _ALL[kind]]
    reach = max(trigger.reach for trigger in triggers)
    # An escape is six bytes for one.
    reach = reach * _ESCAPE_LENGTH if reach < 1024 else reach
    return Screen(_Finder(triggers, plain).spans, reach)


class _Finder:
    """The triggers of one screen, compiled."""

    __slots__ = ("_confirms", "_escape", "_scan")

    def __init__(self, triggers: list[Trigger], plain: bool) -> None:
        self._confirms = [(t.confirm, t.length, t.always) for t in triggers]
        self._escape = len(triggers)
        self._scan = scanner([*(t.pattern for t in triggers), rb"\\u00[2-7][0-9A-Fa-f]"], plain)

    def spans(self, data: bytes) -> list[tuple[int, int]]:
        hits = self._scan(data)
        if not hits:
            return []
        found, escaped = self._confirm(data, hits)
        if escaped:
            found += self._unescaped(data)
        return merge(found)

    def _confirm(self, data: bytes, hits: list[int]) -> tuple[list[tuple[int, int]], bool]:
        found: list[tuple[int, int]] = []
        memo: Memo = {}
        confirms = self._confirms
        escape = self._escape
        escaped = False
        crowds = _crowds(hits)
        for at in range(0, len(crowds), 2):
            found.append(_surroundings(data, crowds[at], crowds[at + 1]))
        for hit in hits:
            end = hit >> 8
            number = hit & 255
            if number == escape:
                escaped = True
                continue
            confirm, length, always = confirms[number]
            # An odd number of bounds up to it: it stands within a crowd.
            if crowds and not always and bisect_right(crowds, end) & 1:
                continue
            place = confirm(data, end - length, end, memo)
            if place is not None:
                found.append(place)
        return found, escaped

    def _unescaped(self, data: bytes) -> list[tuple[int, int]]:
        """What is found once JSON's escapes of ASCII are undone, at the
        places where it stands in ``data``."""
        at: list[int] = []
        parts: list[bytes] = []
        done = 0
        size = 0
        for match in _ESCAPE.finditer(data):
            start = match.start()
            parts.append(data[done:start])
            size += start - done
            at.append(size)
            parts.append(bytes((int(match[1], 16),)))
            size += 1
            done = match.end()
        parts.append(data[done:])
        text = b"".join(parts)
        found, _ = self._confirm(text, self._scan(text))
        grown = _ESCAPE_LENGTH - 1
        return [(s + grown * bisect_left(at, s), e + grown * bisect_left(at, e)) for s, e in found]


def _crowds(hits: list[int]) -> list[int]:
    """The stretches where triggers are too dense to confirm each: start, end,
    start, end, ... as offsets, sorted, not overlapping."""
    limit = _CROWD_BYTES << 8
    bounds: list[int] = []
    for first, last in zip(hits, hits[_CROWD:], strict=False):
        if last - first < limit:
            if bounds and first >> 8 < bounds[-1]:
                bounds[-1] = (last >> 8) + 1
            else:
                bounds += (first >> 8, (last >> 8) + 1)
    return bounds


def _surroundings(data: bytes, first: int, last: int) -> tuple[int, int]:
    """From ``first`` to ``last``, and as far around as a match of a trigger
    between them can reach."""
    low = max(0, first - _CROWD_EDGE)
    high = min(len(data), last + _CROWD_EDGE)
    cut = data.rfind(SEPARATOR, low, first)
    stop = data.find(SEPARATOR, last, high)
    return (cut + 1 if cut >= 0 else low), (stop if stop >= 0 else high)
