"""Which paths differ between trees, read one tree at a time.

A tree that is not at hand is not an error: it is noted, and what is under it
stays unknown.  Trees are peers' work, and one of a kilobyte can stand for a
billion paths: the walk has a budget of entries and of paths.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from protocols.git.looking import Exhausted
from protocols.git.objects import KIND, TREE, Entries, Entry, read_tree

PATH_MOST: Final = 4096
"""Bytes of a path that are looked at (Linux's PATH_MAX)."""
_CACHED_ENTRIES: Final = 300_000


class Difference(NamedTuple):
    """``before`` is what the first parent has at ``path``, None for nothing."""

    path: bytes
    before: Entry | None
    after: Entry | None


class Trees:
    """Trees by object id, with the latest used kept. ``read`` gives a tree's raw bytes
    and raises KeyError where it is not at hand; such ids gather in ``missing``."""

    def __init__(self, read: Callable[[bytes], bytes], length: int) -> None:
        self._read = read
        self._length = length
        self._cache: OrderedDict[bytes, Entries] = OrderedDict()
        self._cached = 0
        self.missing: dict[bytes, None] = {}
        self.misses = 0
        """How often a missing tree was looked for."""
        self.visited = 0
        """Entries of all trees that were looked into."""

    def entries(self, oid: bytes) -> Entries | None:
        """None when it is missing. Raises ObjectError."""
        cached = self._cache.get(oid)
        if cached is not None:
            self._cache.move_to_end(oid)
            return cached
        try:
            raw = self._read(oid)
        except KeyError:
            self.missing[oid] = None
            self.misses += 1
            return None
        entries = read_tree(raw, self._length)
        self._cache[oid] = entries
        self._cached += len(entries) + 1
        while self._cached > _CACHED_ENTRIES and len(self._cache) > 1:
            _, dropped = self._cache.popitem(last=False)
            self._cached -= len(dropped) + 1
        return entries

    def differences(
        self, after: bytes | None, before: Sequence[bytes | None], most_visited: int
    ) -> Iterator[Difference]:
        """Paths at which the tree ``after`` differs from every tree of ``before``
        (git's combined diff; None and no tree at all are the empty tree).

        Paths under missing trees are left out. Raises Exhausted once all calls
        together have looked at ``most_visited`` entries, or for an overlong path.
        """
        stack: list[tuple[bytes, bytes | None, tuple[bytes | None, ...]]] = []
        olds = tuple(before) or (None,)
        if after not in olds:
            stack.append((b"", after, olds))
        nothing: Entries = {}
        while stack:
            prefix, new, old = stack.pop()
            if len(prefix) > PATH_MOST:
                raise Exhausted("a path is longer than what is looked at")
            trees = [nothing if oid is None else self.entries(oid) for oid in (new, *old)]
            self.visited += 1 + sum(len(tree) for tree in trees if tree is not None)
            if self.visited > most_visited:
                raise Exhausted("there are more tree entries than are looked at")
            if any(tree is None for tree in trees):
                continue
            mine, first, *others = [tree for tree in trees if tree is not None]
            for name in {name for name, _ in mine.items() ^ first.items()}:
                entry = mine.get(name)
                was = [first.get(name), *(other.get(name) for other in others)]
                leaf, leaves = _leaf(entry), [_leaf(each) for each in was]
                if leaf not in leaves:
                    yield Difference(prefix + name, leaves[0], leaf)
                tree, under = _tree(entry), tuple(_tree(each) for each in was)
                if tree not in under:
                    stack.append((prefix + name + b"/", tree, under))


def _leaf(entry: Entry | None) -> Entry | None:
    return None if entry is None or entry[0] & KIND == TREE else entry


def _tree(entry: Entry | None) -> bytes | None:
    return entry[1] if entry is not None and entry[0] & KIND == TREE else None
