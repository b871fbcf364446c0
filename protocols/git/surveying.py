"""The examination of a push: from objects to a Survey.

Pure but for the ``Store``.  ``take`` looks at the pack alone; ``ask`` says what to
fetch from the upstream, Fetch by Fetch, and is sent what Came; ``survey`` sums up,
at any time: what was not asked, or not answered, is unknown in it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence

from protocols.git.ancestry import Ancestry, Line
from protocols.git.contents import Contents, check_modules
from protocols.git.looking import Bounds, Came, Fetch, Listed, Store
from protocols.git.objects import (
    GITLINK,
    KIND,
    RAW_LENGTH,
    SYMLINK,
    ObjectError,
    read_commit,
    text,
)
from protocols.git.paths import Changes, Comparison
from protocols.git.survey import CommitSeen, RefUpdate, SecretSeen, Survey, UpdateSeen
from protocols.git.treediff import Trees


class Examination:
    """One push. Raises ObjectError from ``take`` only."""

    def __init__(
        self,
        updates: Iterable[RefUpdate],
        algorithm: str,
        store: Store,
        bounds: Bounds | None = None,
    ) -> None:
        self._store = store
        self._bounds = bounds or Bounds()
        length = RAW_LENGTH[algorithm]
        self._length = length
        self._ancestry = Ancestry(updates, store, length)
        self._contents = Contents((), store, length)
        self._pushed: dict[bytes, None] = {}
        self._refusal = ""
        self._missed: list[str] = []
        self._loose: frozenset[bytes] = frozenset()
        self._secrets: list[SecretSeen] = []
        self._trees = Trees(self._read_tree, length)
        self._bases: dict[bytes, bytes] = {}
        self._changes: list[Changes] | None = None
        self._compared: dict[int, list[Comparison]] = {}

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
        self, others: Iterable[bytes], shown: set[bytes], filters: bool, shallow: bool
    ) -> Generator[Fetch, Came, None]:
        """``others``: tips upstream of refs that the push leaves alone. ``shown``: all
        tips that the upstream shows. ``filters``, ``shallow``: what it can do."""
        yield from self._ancestry.ask(others, shown, filters, self._bounds)
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
        for changes in self._compare():
            for oid in changes.blobs(self._bounds.files):
                if not self._store.has(oid):
                    wants[oid.hex()] = None
        loose = [oid.hex() for oid in self._loose_changed() if not self._store.has(oid)]
        wants.update(dict.fromkeys(loose))
        if wants:
            # Only numbers of lines hang on these; what doesn't come has none.
            yield Fetch("files to count lines of", tuple(wants)[: 2 * self._bounds.files])

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
        """The root tree of a commit, where it is known; it may not be at hand."""
        return self._ancestry.trees.get(commit) or self._bases.get(commit)

    def _comparisons(self, line: Line) -> list[Comparison]:
        """New commit and the commits to compare it with: the tips first. To be
        called once nothing more is to be learnt of ancestry."""
        ancestry = self._ancestry
        pairs = self._compared.get(id(line))
        if pairs is not None:
            return pairs
        pairs = self._compared[id(line)] = []
        if not line.update.creates and not line.update.deletes:
            pairs.append(Comparison(ancestry.peel(line.new), (ancestry.peel(line.old),)))
        for oid in ancestry.added(line, self._pushed):
            pairs.append(Comparison(oid, ancestry.graph.parents[oid]))
        return pairs

    def _bases_wanted(self, lines: Iterable[Line]) -> list[bytes]:
        wanted: dict[bytes, None] = {}
        for line in lines:
            if line.forced and not line.whole and self._ancestry.is_other(line.old):
                continue
            for pair in self._comparisons(line):
                for commit in (pair.after, *pair.before):
                    # The pack's commits are not upstream; a tree that the pack leaves
                    # out is, and comes with another commit, or is fetched singly.
                    if commit in wanted or commit in self._pushed:
                        continue
                    root = self._root(commit)
                    if root is None or not self._store.has(root):
                        wanted[commit] = None
        return list(wanted)

    def _compare(self) -> list[Changes]:
        if self._changes is None:
            self._trees.missing.clear()
            self._trees.visited = 0
            self._changes = [
                Changes(self._comparisons(line), self._root, self._trees, self._bounds)
                for line in self._ancestry.lines
            ]
        return self._changes

    # -- the sum of it

    def survey(self, failed: str = "") -> Survey:
        """``failed``: why the upstream could not be asked (all), "" when it was."""
        contents = self._contents
        if failed and not self._refusal:
            for line in self._ancestry.lines:
                if line.forced is None:
                    self._ancestry.settled(line)
                if line.forced is not False:
                    line.doubt(failed, counted=False)
        if not self._refusal:
            self._check_loose()
        if self._refusal:
            bare = tuple(
                UpdateSeen(line.update, line.forced, whole=False, why="the push is refused")
                for line in self._ancestry.lines
            )
            return Survey(bare, self._refusal, len(contents.objects), len(self._pushed))
        changes = self._compare()
        self._count_lines(changes)
        people: tuple[dict[str, None], dict[str, None]] = ({}, {})
        updates = tuple(
            self._update(line, each, people)
            for line, each in zip(self._ancestry.lines, changes, strict=True)
        )
        whole = all(each.whole for each in updates)
        return Survey(
            updates,
            objects=len(contents.objects),
            commits=len(self._pushed),
            authors=self._first(people[0], "authors"),
            committers=self._first(people[1], "committers"),
            secrets=tuple(self._secrets[: self._bounds.names]),
            largest=contents.largest,
            symlinks=self._paths_of(changes, SYMLINK, contents.links, whole),
            submodules=self._paths_of(changes, GITLINK, contents.gitlinks, whole),
            missed="; ".join(self._missed),
        )

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

    def _update(
        self, line: Line, changes: Changes, people: tuple[dict[str, None], dict[str, None]]
    ) -> UpdateSeen:
        ancestry = self._ancestry
        for why in changes.doubts:
            line.doubt(why)
        added = ancestry.added(line, self._pushed)
        lost = ancestry.lost(line)
        for oid in added:
            commit = self._commit(oid)
            people[0][commit.author] = None
            people[1][commit.committer] = None
        shown = self._bounds.commits_shown
        known = line.forced is not None
        return UpdateSeen(
            line.update,
            line.forced,
            added=tuple(map(self._commit, added[:shown])),
            added_count=len(added) if known and line.whole else None,
            lost=tuple(map(self._commit, lost[:shown])),
            lost_count=len(lost) if known and line.counted else None,
            paths=changes.told(self._size),
            whole=line.whole,
            why="; ".join(line.why),
        )

    def _commit(self, oid: bytes) -> CommitSeen:
        it = read_commit(self._store.read(oid)[1], self._length)
        return CommitSeen(oid.hex(), it.author, it.committer, it.time, it.subject)

    def _size(self, oid: bytes) -> int | None:
        listed = self._contents.objects.get(oid)
        return listed.size if listed is not None else None

    def _count_lines(self, changes: Sequence[Changes]) -> None:
        pairs: dict[tuple[bytes | None, bytes | None], None] = {}
        for each in changes:
            for pair in each.pairs(self._bounds.files):
                if any(pair) and all(oid is None or self._store.has(oid) for oid in pair):
                    pairs[pair] = None
        asked = list(pairs)[: self._bounds.files]
        numbers = dict(zip(asked, self._store.lines(asked), strict=True)) if asked else {}
        for each in changes:
            each.numbers = numbers
