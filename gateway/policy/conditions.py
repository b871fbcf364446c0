"""One condition of a rule: a closure over what is judged, in two readings.

``restrict`` is the reading of rules that block, hold or mask: what is unknown
matches.  ``permit`` is the reading of rules that allow (and of a mask rule's
permission): what is unknown doesn't match.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from gateway.policy.globs import covers
from gateway.policy.names import covers_wide
from gateway.policy.principal import Principal
from protocols.contract import Command, Part

Judged: TypeAlias = Callable[[Part, Command, Principal, "datetime | None"], bool]
Shown: TypeAlias = Callable[[Part, Command, Principal, "datetime | None"], object]


@dataclass(frozen=True, slots=True)
class Shape:
    """What a condition says, as a value, to compare conditions by.

    ``kind``: ``globs`` and ``names`` (any of ``items``, patterns), ``words``
    (any of ``items``), ``range`` (``items`` is low, high), or another word for
    what is comparable by equality only.
    """

    kind: str
    items: tuple[object, ...]

    def covers(self, other: Shape) -> bool:
        """Does whatever meets ``other`` meet this too, in the restricting
        reading of this? Provable cases only; False is "don't know"."""
        if self == other:
            return True
        if self.kind != other.kind:
            return False
        if self.kind in ("globs", "names"):
            broader = covers if self.kind == "globs" else covers_wide
            return all(
                any(broader(str(ours), str(theirs)) for ours in self.items)
                for theirs in other.items
            )
        if self.kind == "words":
            return set(other.items) <= set(self.items)
        if self.kind == "range":
            low, high, their_low, their_high = (*self.items, *other.items)
            return bool(low <= their_low and their_high <= high)  # type: ignore[operator]
        return False


@dataclass(frozen=True, slots=True)
class Condition:
    """``key`` is its place in the rule (``where.tables``). ``volatile``: it
    looks at more than text, principal and target.  ``index``: the fact, and
    the last segments of the names, one of which the fact must have for the
    condition to hold where the fact is known."""

    key: str
    shape: Shape
    restrict: Judged = field(repr=False)
    permit: Judged = field(repr=False)
    show: Shown = field(repr=False)
    volatile: bool = False
    index: tuple[str, frozenset[str]] | None = None
