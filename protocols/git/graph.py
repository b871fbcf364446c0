"""Commits and their parents, as far as they are known."""

from __future__ import annotations

from collections.abc import Iterable


class Graph:
    """What is known of a history: for some commits, their parents."""

    __slots__ = ("parents",)

    def __init__(self) -> None:
        self.parents: dict[bytes, tuple[bytes, ...]] = {}

    def reach(self, start: Iterable[bytes]) -> tuple[dict[bytes, None], dict[bytes, None]]:
        """The known commits that ``start`` reaches (itself included), nearest
        first, and those reached whose own parents are not known."""
        inside: dict[bytes, None] = {}
        outside: dict[bytes, None] = {}
        parents = self.parents
        wave = list(start)
        while wave:
            following: list[bytes] = []
            for oid in wave:
                if oid in inside or oid in outside:
                    continue
                known = parents.get(oid)
                if known is None:
                    outside[oid] = None
                else:
                    inside[oid] = None
                    following += known
            wave = following
        return inside, outside
