"""Finds secrets in blobs, and says of what kind."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.policy.detectors import SEPARATOR, screen
from gateway.policy.keyblocks import KEYBLOCKS
from gateway.policy.tokens import TOKENS

CREDENTIALS = frozenset((*TOKENS, *KEYBLOCKS))
"""The kinds of detectors that find credentials, rather than people's data."""
WINDOW = 16 << 20
"""Bytes of a blob that are scanned in one."""


class Scanner:
    """One pass finds all kinds together; only what it hits is asked for each kind."""

    def __init__(self, kinds: Iterable[str]) -> None:
        self._kinds = sorted(kinds)
        self._all = screen(self._kinds)
        self._each = {kind: self._all for kind in self._kinds[:1] if len(self._kinds) == 1}

    @property
    def overlap(self) -> int:
        """Bytes that a window should share with the one before it."""
        return self._all.reach

    def kinds(self, data: bytes, last: bool) -> set[str]:
        """What kinds of secrets are in ``data``; ``last``: the blob ends with it."""
        if last:
            data += SEPARATOR
        spans = self._all.spans(data)
        if not last:
            # What is open at the end of a window is the next one's.
            spans = [each for each in spans if each[1] < len(data)]
        if not spans:
            return set()
        found = set()
        for kind in self._kinds:
            if kind not in self._each:
                self._each[kind] = screen([kind])
            if any(last or end < len(data) for _, end in self._each[kind].spans(data)):
                found.add(kind)
        return found
