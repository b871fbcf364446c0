"""The paths that an update changes: between its tips, and commit by commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from protocols.git.looking import Bounds
from protocols.git.objects import GITLINK, KIND, ObjectError, text
from protocols.git.survey import PathChange
from protocols.git.treediff import Difference, Exhausted, Trees

Pair: TypeAlias = "tuple[bytes | None, bytes | None]"
"""Blob ids before and after, None for no file."""


class Comparison(NamedTuple):
    """A commit, and those whose trees it is compared with (none: it adds all)."""

    after: bytes
    before: tuple[bytes, ...]


class Changes:
    """Compared once, when made. ``doubts`` say why there may be other paths;
    ``missing`` that trees were not at hand. ``found`` is by path."""

    def __init__(
        self,
        comparisons: Sequence[Comparison],
        root: Callable[[bytes], bytes | None],
        trees: Trees,
        bounds: Bounds,
    ) -> None:
        self.found: dict[bytes, Difference] = {}
        self.doubts: list[str] = []
        self.missing = False
        self.numbers: Mapping[Pair, tuple[int, int] | None] = {}
        misses = trees.misses
        try:
            for after, before in comparisons:
                new = root(after)
                olds = [root(each) for each in before]
                if new is None or None in olds:
                    self.missing = True
                    continue
                for change in trees.differences(new, olds, bounds.visited):
                    if change.path not in self.found:
                        if len(self.found) >= bounds.paths:
                            raise Exhausted("it changes more paths than are told")
                        self.found[change.path] = change
        except Exhausted as error:
            self.doubts.append(str(error))
        except ObjectError:
            # The pack's own trees were read before: it is one of the upstream's.
            self.doubts.append("a tree upstream can't be read")
        self.missing = self.missing or trees.misses > misses
        if self.missing:
            self.doubts.append("not all trees to compare with are known")

    def pairs(self, most: int) -> Iterator[Pair]:
        """Blobs whose lines can be counted, of the first ``most`` paths."""
        for path in sorted(self.found)[:most]:
            yield _pair(self.found[path])

    def blobs(self, most: int) -> Iterator[bytes]:
        for pair in self.pairs(most):
            yield from (oid for oid in pair if oid is not None)

    def told(self, size: Callable[[bytes], int | None]) -> tuple[PathChange, ...]:
        return tuple(self._told(self.found[path], size) for path in sorted(self.found))

    def _told(self, change: Difference, size: Callable[[bytes], int | None]) -> PathChange:
        before, after = change.before, change.after
        if before is None:
            how = "A"
        elif after is None:
            how = "D"
        else:
            how = "M" if before[0] & KIND == after[0] & KIND else "T"
        pair = _pair(change)
        known = pair in self.numbers
        counted = self.numbers.get(pair)
        return PathChange(
            text(change.path),
            how,
            f"{after[0]:06o}" if after is not None else "",
            counted[0] if counted is not None else None,
            counted[1] if counted is not None else None,
            size(after[1]) if after is not None else None,
            known and counted is None,
        )


def _pair(change: Difference) -> Pair:
    """Submodules have no lines: they count as nothing."""
    before, after = (
        None if entry is None or entry[0] & KIND == GITLINK else entry[1]
        for entry in (change.before, change.after)
    )
    return before, after
