"""The examination of a push: from objects to a Survey.

Pure but for the ``Store``.  ``take`` looks at the pack alone; ``ask`` says what to
fetch from the upstream, Fetch by Fetch, and is sent what Came; ``survey`` sums up,
at any time: what was not asked, or not answered, is unknown in it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence

from protocols.git.ancestry import Ancestry, Line, Tips
from protocols.git.contents import Contents, check_modules
from protocols.git.looking import Bounds, Came, Exhausted, Fetch, Listed, Store
from protocols.git.objects import (
    GITLINK,
    KIND,
    RAW_LENGTH,
    SYMLINK,
    ObjectError,
    read_commit,
    text,
)
from protocols.git.paths import Changes, Comparer, Comparison, Pair
from protocols.git.survey import CommitSeen, PathChange, RefUpdate, SecretSeen, Survey, UpdateSeen
from protocols.git.treediff import Difference, Trees


class Examination:
    """One push. Raises ObjectError from ``take`` only."""

    def __init__(
        self,
        updates: Iterable[RefUpdate],
        algorithm: str,
        store: Store,
        bounds: Bounds | None = None,
        cut: Iterable[str] = (),
    ) -> None:
        """``cut``: commits that the push calls shallow."""
        self._store = store
        self._bounds = bounds or Bounds()
        length = RAW_LENGTH[algorithm]
        self._length = length
        self._ancestry = Ancestry(updates, store, length, self._bounds, cut)
        self._contents = Contents((), store, length)
        self._pushed: dict[bytes, None] = {}
        self._refusal = ""
        self._missed: list[str] = []
        self._loose: frozenset[bytes] = frozenset()
        self._secrets: list[SecretSeen] = []
        self._trees = Trees(self._read_tree, length)
        self._bases: dict[bytes, bytes] = {}
        self._changes: list[Changes] | None = None
        self._added: dict[int, list[bytes]] = {}
        self._commits: dict[bytes, CommitSeen] = {}
        self._told: dict[Difference, PathChange] = {}

    @property
    def refusal(self) -> str:
        return self._refusal

    def refuse(self, why: str) -> None:
        """The push can't be looked into, or must not be let through."""
        self._refusal = why

    def take(self, listing: Sequence[Listed], loose_modules: Sequence[bytes] = ()) -> None:
        """Look at the push's pack. ``loose_modules`` are ids that its trees call
        ``.gitmodules`` and that are not in it."""
        self._contents = Contents(listing, self._store, self._length)
        self._loose = frozenset(loose_modules)
        try:
            self._pushed = dict.fromkeys(self._ancestry.add(listing))
            self._contents.reach(line.new for line in self._ancestry.lines)
            self._contents.check_modules()
        except (ObjectError, KeyError) as error:
            self._refusal = str(error)
            return
        self._refusal = self._contents.unreached()
        if self._refusal:
            return
        for oid, kinds in self._store.secrets(self._contents.blobs):
            path = text(self._contents.paths.get(oid, b""))
            self._secrets += [SecretSeen(kind, path, oid.hex()) for kind in kinds]
            if len(self._secrets) >= self._bounds.names:
                self._miss("more secrets were found than are told")
                break

    # -- what the upstream is asked

    def ask(
        self, others: Iterable[bytes], shown: set[bytes], filters: bool, shallow: bool, tips: Tips
    ) -> Generator[Fetch, Came, None]:
        """``others``: tips upstream of refs that the push leaves alone. ``shown``: tips of
        those that it does not. ``filters``, ``shallow``: what the upstream can do.
        ``tips``: of all its branches and tags, where the push creates any ref."""
        yield from self._ancestry.ask(others, shown, filters, tips)
        blobless = "blob:none" if filters else ""
        lines = [line for line in self._ancestry.lines if not line.update.deletes]
        wants = self._bases_wanted(lines)
        if wants and not shallow:
            self._doubt_all(lines, "the upstream gives no single commits to compare with")
        elif wants:
            if len(wants) > self._bounds.bases:
                self._doubt_all(lines, "the push is built on more commits than are compared")
            first = tuple(oid.hex() for oid in wants[: self._bounds.bases])
            came = yield Fetch("trees to compare with", first, (), blobless, 1)
            if came.failed:
                self._doubt_all(lines, came.failed)
            for oid, kind, _ in came.listing:
                if kind == "commit":
                    self._bases[oid] = read_commit(self._store.read(oid)[1], self._length).tree
        left = self._bounds.trees
        for _ in range(3):
            changes = self._compare()
            missing = [oid.hex() for oid in self._trees.missing][:left]
            if not missing or not any(each.missing for each in changes):
                break
            left -= len(missing)
            came = yield Fetch("single trees", tuple(missing), (), blobless)
            if came.failed:
                self._doubt_all(lines, came.failed)
                break
            self._changes = None
        yield from self._ask_blobs(blobless)

    def _ask_blobs(self, blobless: str) -> Generator[Fetch, Came, None]:
        wants: dict[str, None] = {}
        for pair in self._pairs(self._compare()):
            for oid in pair:
                if oid is not None and not self._store.has(oid):
                    wants[oid.hex()] = None
        loose = [oid.hex() for oid in self._loose_changed() if not self._store.has(oid)]
        wants.update(dict.fromkeys(loose))
        if wants:
            # Only numbers of lines hang on these; what doesn't come has none.
            yield Fetch("files to count lines of", tuple(wants))

    def _loose_changed(self) -> set[bytes]:
        """Submodule lists that changed, and are not in the pack to be checked."""
        return {
            entry.after[1]
            for changes in self._compare()
            for entry in changes.found.values()
            if entry.after is not None and entry.after[1] in self._loose
        }

    def _doubt_all(self, lines: Iterable[Line], why: str) -> None:
        for line in lines:
            if not line.update.creates or self._bases_wanted([line]):
                line.doubt(why)

    def _read_tree(self, oid: bytes) -> bytes:
        kind, raw = self._store.read(oid)
        if kind != "tree":
            raise ObjectError(f"{oid.hex()} stands for a tree and is a {kind}")
        return raw

    # -- trees

    def _root(self, commit: bytes) -> bytes | None:
        """The root tree of a commit, where it is known; it may not be at hand. A tree
        that a ref names itself is its own."""
        if self._ancestry.kinds.get(commit) == "tree":
            return commit
        return self._ancestry.trees.get(commit) or self._bases.get(commit)

    def _added_by(self, line: Line) -> list[bytes]:
        """To be called once nothing more is to be learnt of ancestry."""
        added = self._added.get(id(line))
        if added is None:
            try:
                added = self._ancestry.added(line, self._pushed)
            except Exhausted as error:
                line.doubt(str(error), counted=False)
                added = []
            self._added[id(line)] = added
        return added

    def _tips(self, line: Line) -> list[Comparison]:
        peel = self._ancestry.peel
        if line.update.creates and self._ancestry.kinds.get(peel(line.new)) == "tree":
            return [Comparison(peel(line.new), ())]
        if line.update.creates or line.update.deletes:
            return []
        return [Comparison(peel(line.new), (peel(line.old),))]

    def _comparisons(self, line: Line) -> Iterator[Comparison]:
        """The tips first, then each commit with its parents."""
        yield from self._tips(line)
        parents = self._ancestry.graph.parents
        for oid in self._added_by(line):
            yield Comparison(oid, parents[oid])

    def _bases_wanted(self, lines: Iterable[Line]) -> list[bytes]:
        named: dict[bytes, None] = {}
        for line in lines:
            if self._ancestry.is_other(line.old) or self._ancestry.is_other(line.new):
                continue
            for after, before in self._tips(line):
                named.update(dict.fromkeys((after, *before)))
            named.update(dict.fromkeys(self._added_by(line)))
        for oid in list(named):
            named.update(dict.fromkeys(self._ancestry.graph.parents.get(oid, ())))
        # The pack's commits are not upstream; a tree that the pack leaves out is, and
        # comes with another commit, or is fetched singly.
        return [oid for oid in named if oid not in self._pushed and not self._at_hand(oid)]

    def _at_hand(self, commit: bytes) -> bool:
        root = self._root(commit)
        return root is not None and self._store.has(root)

    def _compare(self) -> list[Changes]:
        if self._changes is None:
            self._trees.missing.clear()
            self._trees.visited = 0
            comparer = Comparer(self._root, self._trees, self._bounds)
            self._changes = []
            left = self._bounds.told
            for line in self._ancestry.lines:
                most = min(left, self._bounds.paths)
                self._changes.append(Changes(self._comparisons(line), comparer, most))
                left -= len(self._changes[-1].found)
        return self._changes

    # -- the sum of it

    def survey(self, failed: str = "") -> Survey:
        """``failed``: why the upstream could not be asked (all), "" when it was."""
        contents = self._contents
        if failed and not self._refusal:
            for line in self._ancestry.lines:
                if line.forced is None:
                    self._ancestry.settled(line)
                settled = line.forced is False
                if not settled or not (line.asked or self._self_contained(line)):
                    line.doubt(failed, counted=settled)
        if not self._refusal:
            self._ancestry.check_cuts()
            self._check_loose()
        if self._refusal:
            bare = tuple(
                UpdateSeen(line.update, line.forced, whole=False, why="the push is refused")
                for line in self._ancestry.lines
            )
            return Survey(bare, self._refusal, len(contents.objects), len(self._pushed))
        changes = self._compare()
        self._count_lines(changes)
        updates = tuple(
            self._update(line, each)
            for line, each in zip(self._ancestry.lines, changes, strict=True)
        )
        whole = all(each.whole for each in updates)
        authors, committers = self._people()
        return Survey(
            updates,
            objects=len(contents.objects),
            commits=len(self._pushed),
            authors=self._first(authors, "authors"),
            committers=self._first(committers, "committers"),
            secrets=tuple(self._secrets[: self._bounds.names]),
            largest=contents.largest,
            symlinks=self._paths_of(changes, SYMLINK, contents.links, whole),
            submodules=self._paths_of(changes, GITLINK, contents.gitlinks, whole),
            missed="; ".join(self._missed),
        )

    def _self_contained(self, line: Line) -> bool:
        """Whether the pack has all of the new tip's history."""
        _, outside = self._ancestry.built_on(line)
        return not outside

    def _check_loose(self) -> None:
        for oid in self._loose_changed():
            if not self._store.has(oid):
                self._miss("a list of submodules is not in the pack and was not looked into")
                continue
            try:
                check_modules(self._store.size(oid), self._store, oid)
            except ObjectError as error:
                self._refusal = str(error)
            self._refusal = self._refusal or self._store.modules(oid)

    def _miss(self, what: str) -> None:
        if what not in self._missed:
            self._missed.append(what)

    def _first(self, names: Iterable[str], of: str) -> tuple[str, ...]:
        listed = tuple(names)
        if len(listed) > self._bounds.names:
            self._miss(f"there are more {of} than are told")
        return listed[: self._bounds.names]

    def _paths_of(
        self, changes: Iterable[Changes], kind: int, seen: Iterable[bytes], whole: bool
    ) -> tuple[str, ...]:
        """Changed paths of one kind; where not all changes are known, also those
        ``seen`` in any tree of the pack, which may be too many."""
        found = {
            path
            for each in changes
            for path, change in each.found.items()
            if change.after is not None and change.after[0] & KIND == kind
        }
        if not whole:
            found.update(seen)
        of = "symbolic links" if kind == SYMLINK else "submodules"
        return self._first(map(text, sorted(found)), of)

    def _update(self, line: Line, changes: Changes) -> UpdateSeen:
        ancestry = self._ancestry
        for why in changes.doubts:
            line.doubt(why)
        added = self._added_by(line)
        try:
            lost = ancestry.lost(line)
        except Exhausted as error:
            line.doubt(str(error), counted=False)
            lost = []
        shown = self._bounds.commits_shown
        known = line.forced is not None
        return UpdateSeen(
            line.update,
            line.forced,
            added=tuple(map(self._commit, added[:shown])),
            added_count=len(added) if known and line.whole else None,
            lost=tuple(map(self._commit, lost[:shown])),
            lost_count=len(lost) if known and line.counted else None,
            paths=changes.told(self._size, self._told),
            whole=line.whole,
            why="; ".join(line.why),
        )

    def _people(self) -> tuple[dict[str, None], dict[str, None]]:
        authors: dict[str, None] = {}
        committers: dict[str, None] = {}
        commits: dict[bytes, None] = {}
        for line in self._ancestry.lines:
            commits.update(dict.fromkeys(self._added_by(line)))
        for oid in commits:
            it = read_commit(self._store.read(oid)[1], self._length)
            authors[it.author] = None
            committers[it.committer] = None
        return authors, committers

    def _commit(self, oid: bytes) -> CommitSeen:
        seen = self._commits.get(oid)
        if seen is None:
            it = read_commit(self._store.read(oid)[1], self._length)
            seen = CommitSeen(oid.hex(), it.author, it.committer, it.time, it.subject)
            self._commits[oid] = seen
        return seen

    def _size(self, oid: bytes) -> int | None:
        listed = self._contents.objects.get(oid)
        return listed.size if listed is not None else None

    def _count_lines(self, changes: Sequence[Changes]) -> None:
        asked = [
            pair
            for pair in self._pairs(changes)
            if all(oid is None or self._store.has(oid) for oid in pair)
        ]
        counted = self._store.lines(asked) if asked else []
        numbers = dict(zip(asked, counted, strict=True)) if counted else {}
        for each in changes:
            each.numbers = numbers

    def _pairs(self, changes: Iterable[Changes]) -> list[Pair]:
        """Whose lines are to be counted, of all updates together."""
        pairs: dict[Pair, None] = {}
        most = self._bounds.files
        for each in changes:
            pairs.update((pair, None) for pair in each.pairs(most) if any(pair))
            if len(pairs) >= most:
                break
        return list(pairs)[:most]
