"""Commits and their parents, as far as they are known."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from protocols.git.looking import Exhausted


class Graph:
    """What is known of a history: for some commits, their parents."""

    __slots__ = ("_left", "parents")

    def __init__(self, most_steps: int) -> None:
        self.parents: dict[bytes, tuple[bytes, ...]] = {}
        self._left = most_steps

    def reach(
        self, start: Iterable[bytes], cut: Collection[bytes] = ()
    ) -> tuple[dict[bytes, None], dict[bytes, None]]:
        """The known commits that ``start`` reaches (itself included), nearest
        first, and those reached whose own parents are not known; not by way of the
        parents of ``cut``. Raises Exhausted when all calls together have passed too many."""
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
                    if oid not in cut:
                        following += known
            self._left -= len(wave)
            if self._left < 0:
                raise Exhausted("the push has more refs and commits than are looked at")
            wave = following
        return inside, outside
