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
from typing import Final, NamedTuple

from protocols.git.graph import Graph
from protocols.git.looking import Bounds, Came, Exhausted, Fetch, Listed, Store
from protocols.git.objects import read_commit, read_tag
from protocols.git.survey import RefUpdate

BRANCHES: Final = "refs/heads/"


class Tips(NamedTuple):
    """Object ids of the branches and of the tags that the upstream shows."""

    branches: dict[bytes, None]
    tags: dict[bytes, None]


@dataclass(slots=True)
class Line:
    """What is known of one update. ``came`` are commits that the upstream sent as
    reachable from the old tip, or for a creation as reachable from no branch."""

    update: RefUpdate
    old: bytes
    new: bytes
    forced: bool | None
    came: dict[bytes, None] = field(default_factory=dict)
    why: list[str] = field(default_factory=list)
    whole: bool = True
    counted: bool = True
    """False when there may be more lost commits than are known."""
    asked: bool = False
    """All that there was to ask of ancestry was answered, or refused."""

    def doubt(self, why: str, counted: bool = True) -> None:
        self.whole = False
        self.counted = self.counted and counted
        if why not in self.why:
            self.why.append(why)


class Ancestry:
    """Commits of the push and those that were fetched, and what follows from them."""

    def __init__(
        self,
        updates: Iterable[RefUpdate],
        store: Store,
        length: int,
        bounds: Bounds,
        cut: Iterable[str] = (),
    ) -> None:
        """``cut``: commits that the push calls shallow."""
        self._store = store
        self._cut = frozenset(map(bytes.fromhex, cut))
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
                tag = read_tag(self._store.read(oid)[1], self._length)
                self._targets[oid] = tag.target
                self.kinds.setdefault(tag.target, tag.kind)
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
        pack (``pushed``), and those that the upstream has elsewhere; for a creation, that it
        has on no branch."""
        if line.update.deletes:
            return []
        inside, _ = self.built_on(line)
        if line.update.creates:
            mine = pushed if isinstance(pushed, (set, dict, frozenset)) else set(pushed)
            return [oid for oid in inside if oid in mine or oid in line.came]
        before, _ = self.graph.reach([self.peel(line.old)])
        return [oid for oid in inside if oid not in before]

    # -- what the upstream is asked

    def check_cuts(self) -> None:
        """A server that takes a shallow push forgets the parents of the commits that it
        names: what is behind them is then no longer in the ref's history."""
        for line in self.lines if self._cut else ():
            if line.forced is False and not line.update.creates:
                inside, outside = self.graph.reach([self.peel(line.new)], self._cut)
                if not any(o in inside or o in outside for o in (line.old, self.peel(line.old))):
                    line.forced = None
                    line.doubt("it may cut history off above the old tip", counted=False)

    def ask(
        self, others: Iterable[bytes], shown: set[bytes], filters: bool, tips: Tips
    ) -> Generator[Fetch, Came, None]:
        """Fetches, until all is known that can be. ``others`` are tips upstream that
        the push does not touch, ``shown`` all tips that the upstream shows; ``tips`` are
        needed for creations."""
        yield from self._ask_created(tips, filters)
        left = self._bounds.queries
        kept = list(others)
        for step in (self._ask_lost, self._ask_added):
            for line in self.lines:
                if line.update.creates:
                    continue
                try:
                    asking = step(line, kept, shown, filters)
                    came: Came | None = None
                    while True:
                        line.asked = step == self._ask_added
                        fetch = next(asking) if came is None else asking.send(came)
                        line.asked = False
                        left -= 1
                        if left < 0:
                            line.doubt("the push has more updates than are asked about", False)
                            break
                        came = yield fetch
                except StopIteration:
                    continue
                except Exhausted as error:
                    line.doubt(str(error), counted=False)

    def _ask_created(self, tips: Tips, filters: bool) -> Generator[Fetch, Came, None]:
        """What creations bring to branches without a pack, as the upstream has it on
        no branch (on no branch or tag, for what is none itself): pushed elsewhere before,
        left over from a ref that is gone, or of another repository that shares objects."""
        created = [line for line in self.lines if line.update.creates]
        for branches in (True, False):
            known = tips.branches if branches else {**tips.branches, **tips.tags}
            wants: dict[bytes, None] = {}
            unsure: list[Line] = []
            for line in created:
                if line.update.ref.startswith(BRANCHES) is not branches:
                    continue
                try:
                    _, outside = self.built_on(line)
                except Exhausted as error:
                    line.doubt(str(error), counted=False)
                    continue
                strange = [oid for oid in outside if oid not in known]
                line.asked = not strange
                if strange:
                    unsure.append(line)
                    wants.update(dict.fromkeys(strange))
            if not unsure:
                continue
            failed = "" if known else "the upstream shows no branches to compare with"
            if len(wants) > self._bounds.tips:
                failed = "the push is built on more commits than are asked about"
            if not failed:
                came = yield Fetch(
                    "new to branches",
                    tuple(oid.hex() for oid in wants),
                    tuple(oid.hex() for oid in list(known)[: self._bounds.tips]),
                    "blob:none" if filters else "",
                )
                failed = came.failed
                commits = dict.fromkeys(self.add(came.listing))
            for line in unsure:
                line.asked = True
                if failed:
                    line.doubt(failed)
                else:
                    line.came = commits

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
        if not outside and not (line.update.deletes and others):
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
