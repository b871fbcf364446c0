"""The paths that an update changes: between its tips, and commit by commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from protocols.git.looking import Bounds, Exhausted
from protocols.git.objects import GITLINK, KIND, ObjectError, text
from protocols.git.survey import PathChange
from protocols.git.treediff import Difference, Trees

Pair: TypeAlias = "tuple[bytes | None, bytes | None]"
"""Blob ids before and after, None for no file."""


class Comparison(NamedTuple):
    """A commit, and those whose trees it is compared with (none: it adds all)."""

    after: bytes
    before: tuple[bytes, ...]


class Outcome(NamedTuple):
    """``doubt`` says why ``changes`` may not be all; ``missing``: trees were not at hand."""

    changes: list[Difference]
    doubt: str
    missing: bool


class Comparer:
    """Compares commits, each pair once. ``root`` gives a commit's tree, None where it
    is not known."""

    def __init__(self, root: Callable[[bytes], bytes | None], trees: Trees, bounds: Bounds) -> None:
        self._root = root
        self._trees = trees
        self._bounds = bounds
        self._known: dict[Comparison, Outcome] = {}

    def compare(self, comparison: Comparison) -> Outcome:
        known = self._known.get(comparison)
        if known is None:
            known = self._known[comparison] = self._compare(comparison)
        return known

    def _compare(self, comparison: Comparison) -> Outcome:
        new = self._root(comparison.after)
        olds = [self._root(each) for each in comparison.before]
        changes: list[Difference] = []
        if new is None or None in olds:
            return Outcome(changes, "", True)
        misses = self._trees.misses
        doubt = ""
        try:
            for change in self._trees.differences(new, olds, self._bounds.visited):
                if len(changes) > self._bounds.paths:
                    break
                changes.append(change)
        except Exhausted as error:
            doubt = str(error)
        except ObjectError:
            # The pack's own trees were read before: it is one of the upstream's.
            doubt = "a tree upstream can't be read"
        return Outcome(changes, doubt, self._trees.misses > misses)


class Changes:
    """All changes of one update. ``doubts`` say why there may be other paths;
    ``missing`` that trees were not at hand. ``found`` is by path."""

    def __init__(self, comparisons: Iterable[Comparison], comparer: Comparer, most: int) -> None:
        self.found: dict[bytes, Difference] = {}
        self.doubts: list[str] = []
        self.missing = False
        self.numbers: Mapping[Pair, tuple[int, int] | None] = {}
        found = self.found
        for comparison in comparisons:
            changes, doubt, missing = comparer.compare(comparison)
            self.missing = self.missing or missing
            for change in changes:
                if change.path not in found:
                    found[change.path] = change
            if doubt and doubt not in self.doubts:
                self.doubts.append(doubt)
            if len(found) > most:
                self.doubts.append("it changes more paths than are told")
                self.found = dict(list(found.items())[:most])
                break
        if self.missing:
            self.doubts.append("not all trees to compare with are known")

    def pairs(self, most: int) -> Iterator[Pair]:
        """Blobs whose lines can be counted, of the first ``most`` paths."""
        for path in sorted(self.found)[:most]:
            yield _pair(self.found[path])

    def blobs(self, most: int) -> Iterator[bytes]:
        for pair in self.pairs(most):
            yield from (oid for oid in pair if oid is not None)

    def told(
        self, size: Callable[[bytes], int | None], known: dict[Difference, PathChange]
    ) -> tuple[PathChange, ...]:
        """Sorted. ``known`` are those of other updates of the push, to be shared."""
        out = []
        for path in sorted(self.found):
            change = self.found[path]
            told = known.get(change)
            if told is None:
                told = known[change] = self._told(change, size)
            out.append(told)
        return tuple(out)

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
