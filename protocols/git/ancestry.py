"""Is a ref's old tip an ancestor of its new one? The pack knows, or the upstream is asked.

What is asked (protocol v2): ``want old``, ``have`` what the push is built on.  If no
commit comes, ``old`` was among it: a fast-forward, for certain.  Commits that come
are those that would be lost; but git finds them by their dates, and where clocks were
wrong it may send too many (limit_list's slop).  So it is asked the other way too:
``want`` what the push is built on, ``have`` the parents of what came.  The old tip
comes with that if, and only if, it is an ancestor.  Without an answer the
guess errs to forced.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field

from protocols.git.graph import Graph
from protocols.git.looking import Bounds, Came, Exhausted, Fetch, Listed, Store
from protocols.git.objects import read_commit, read_tag
from protocols.git.survey import RefUpdate


@dataclass(slots=True)
class Line:
    """What is known of one update. ``came`` are commits that the upstream sent as
    reachable from the old tip."""

    update: RefUpdate
    old: bytes
    new: bytes
    forced: bool | None
    came: dict[bytes, None] = field(default_factory=dict)
    why: list[str] = field(default_factory=list)
    whole: bool = True
    counted: bool = True
    """False when there may be more lost commits than are known."""

    def doubt(self, why: str, counted: bool = True) -> None:
        self.whole = False
        self.counted = self.counted and counted
        if why not in self.why:
            self.why.append(why)


class Ancestry:
    """Commits of the push and those that were fetched, and what follows from them."""

    def __init__(
        self, updates: Iterable[RefUpdate], store: Store, length: int, bounds: Bounds
    ) -> None:
        self._store = store
        self._length = length
        self.graph = Graph(bounds.steps)
        self._bounds = bounds
        self.trees: dict[bytes, bytes] = {}
        """The root tree of every commit in the graph."""
        self.kinds: dict[bytes, str] = {}
        """Of all commits and tags, and of other objects that were wanted."""
        self._targets: dict[bytes, bytes] = {}
        self.lines = [
            Line(
                each,
                bytes.fromhex(each.old),
                bytes.fromhex(each.new),
                # To delete is to drop the old tip, whoever else may have it.
                each.deletes if each.creates or each.deletes else None,
            )
            for each in updates
        ]

    def add(self, listing: Iterable[Listed]) -> list[bytes]:
        """Take in the commits and tags among ``listing``; gives the commits."""
        commits = []
        for oid, kind, _ in listing:
            if kind == "commit":
                commits.append(oid)
                if oid not in self.graph.parents:
                    commit = read_commit(self._store.read(oid)[1], self._length)
                    self.graph.parents[oid] = commit.parents
                    self.trees[oid] = commit.tree
            elif kind == "tag":
                self._targets[oid] = read_tag(self._store.read(oid)[1], self._length).target
            self.kinds[oid] = kind
        return commits

    def peel(self, oid: bytes) -> bytes:
        """Through all tags that are known."""
        while oid in self._targets:
            oid = self._targets[oid]
        return oid

    def is_other(self, oid: bytes) -> bool:
        """Known not to be a commit."""
        return self.kinds.get(self.peel(oid), "commit") != "commit"

    def built_on(self, line: Line) -> tuple[dict[bytes, None], dict[bytes, None]]:
        """The new tip's known history, and what is known to be beneath it."""
        return self.graph.reach([self.peel(line.new)])

    def settled(self, line: Line) -> bool:
        """Whether what is known already shows a fast-forward, or that there can be none."""
        if self.is_other(line.old) or self.is_other(line.new):
            line.forced = True
            line.doubt("it is not about commits")
            return True
        inside, outside = self.built_on(line)
        for old in (line.old, self.peel(line.old)):
            if old in inside or old in outside:
                line.forced = False
                return True
        return False

    def lost(self, line: Line) -> list[bytes]:
        """Commits that the update takes away from its ref, or from all refs
        when it deletes; nearest to the old tip first."""
        if not line.forced:
            return []
        inside, _ = self.graph.reach([self.peel(line.old)])
        keepers = [line] if not line.update.deletes else self.lines
        kept, beneath = self.graph.reach(
            self.peel(each.new) for each in keepers if not each.update.deletes
        )
        return [o for o in inside if o in line.came and o not in kept and o not in beneath]

    def added(self, line: Line, pushed: Iterable[bytes]) -> list[bytes]:
        """Commits that the update brings to its ref, nearest first: those of the
        pack (``pushed``), and for a ref that was there before those that the upstream
        has elsewhere."""
        if line.update.deletes:
            return []
        inside, _ = self.built_on(line)
        if line.update.creates:
            mine = pushed if isinstance(pushed, (set, dict, frozenset)) else set(pushed)
            return [oid for oid in inside if oid in mine]
        before, _ = self.graph.reach([self.peel(line.old)])
        return [oid for oid in inside if oid not in before]

    # -- what the upstream is asked

    def ask(
        self, others: Iterable[bytes], shown: set[bytes], filters: bool
    ) -> Generator[Fetch, Came, None]:
        """Fetches, until all is known that can be. ``others`` are tips upstream that
        the push does not touch, ``shown`` all tips that the upstream shows."""
        left = self._bounds.queries
        tips = list(others)
        for step in (self._ask_lost, self._ask_added):
            for line in self.lines:
                if line.update.creates:
                    continue
                try:
                    asking = step(line, tips, shown, filters)
                    came: Came | None = None
                    while True:
                        fetch = next(asking) if came is None else asking.send(came)
                        left -= 1
                        if left < 0:
                            line.doubt("the push has more updates than are asked about", False)
                            break
                        came = yield fetch
                except StopIteration:
                    continue
                except Exhausted as error:
                    line.doubt(str(error), counted=False)

    def _ask_lost(
        self, line: Line, others: list[bytes], shown: set[bytes], filters: bool
    ) -> Generator[Fetch, Came, None]:
        bounds = self._bounds
        if not line.update.deletes and self.settled(line):
            return
        if line.old not in shown:
            line.doubt("the upstream does not show its old tip", counted=False)
            return
        deepen = 0
        if line.update.deletes:
            haves = others
            news = [self.peel(each.new) for each in self.lines if not each.update.deletes]
            inside, outside = self.graph.reach(news)
            haves = [*haves, *outside]
        else:
            inside, outside = self.built_on(line)
            # Commits of the pack may be upstream too, when the client did not know.
            haves = [*outside, *inside]
        if not outside and not others:
            deepen = bounds.deepen
        if line.old in haves:
            return
        came = yield Fetch(
            f"lost by {line.update.ref}",
            (line.old.hex(),),
            tuple(oid.hex() for oid in haves[: bounds.haves]),
            "tree:0" if filters else "",
            deepen,
        )
        commits = self.add(came.listing)
        line.came.update(dict.fromkeys(commits))
        if came.cut:
            line.doubt("more of its history is lost than was looked at", counted=False)
        if came.failed:
            line.doubt(came.failed, counted=False)
            if came.begun and not line.update.deletes:
                line.forced = True
        elif not line.update.deletes:
            line.forced = bool(commits) or self.is_other(line.old)
            if self.is_other(line.old):
                line.doubt("it is not about commits")

    def _ask_added(
        self, line: Line, others: list[bytes], shown: set[bytes], filters: bool
    ) -> Generator[Fetch, Came, None]:
        """What the upstream has of the new tip's history, beyond the old tip's."""
        bounds = self._bounds
        if line.update.deletes or line.forced is None:
            return
        if self.is_other(line.old) or self.is_other(line.new):
            return
        _, outside = self.built_on(line)
        old = self.peel(line.old)
        before, beneath = self.graph.reach([old])
        wants = [
            o for o in outside if o not in before and o not in beneath and o not in (old, line.old)
        ]
        if not wants:
            return
        haves = list(beneath) if line.forced else [line.old, *beneath]
        came = yield Fetch(
            f"added to {line.update.ref}",
            tuple(oid.hex() for oid in wants[: bounds.haves]),
            tuple(oid.hex() for oid in haves[: bounds.haves]),
            "blob:none" if filters else "",
        )
        self.add(came.listing)
        if came.failed or len(wants) > bounds.haves:
            line.doubt(came.failed or "the push is built on more commits than are asked about")
        elif line.forced:
            inside, outside = self.built_on(line)
            old = self.peel(line.old)
            line.forced = not (old in inside or old in outside)
