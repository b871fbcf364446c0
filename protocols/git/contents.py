"""What is in the pack of a push, seen from the tips that the push names.

Reads every commit, tag and tree of the pack once.  A blob's path is the first
at which a tree of the pack has it, from the tips on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from protocols.git.looking import Listed, Store
from protocols.git.objects import (
    GITLINK,
    KIND,
    SYMLINK,
    TREE,
    ObjectError,
    read_commit,
    read_tag,
    read_tree,
)
from protocols.git.treediff import PATH_MOST

_MODULES = b".gitmodules"
_MODULES_MOST = 1 << 20
_SHORT = re.compile(rb"(?i:\.?git~[0-9]+)")
"""Short names that NTFS may give to ``.git``; git's fsck knows the first one only."""
_CONTROL = bytes(range(0x20)) + b"\x7f"


class Contents:
    """The objects of one pack. ``modules`` are blobs that some tree of the pack
    calls ``.gitmodules``, ``links`` paths of symbolic links whose blob is in the pack,
    ``gitlinks`` paths of submodules in any tree of the pack."""

    def __init__(self, listing: Sequence[Listed], store: Store, length: int) -> None:
        self._store = store
        self._length = length
        self.objects = {each.oid: each for each in listing}
        self.paths: dict[bytes, bytes] = {}
        self.modules: dict[bytes, bytes] = {}
        self.links: dict[bytes, None] = {}
        self.gitlinks: dict[bytes, None] = {}
        self.reached: set[bytes] = set()

    def __contains__(self, oid: bytes) -> bool:
        return oid in self.objects

    @property
    def blobs(self) -> list[bytes]:
        """In the order of the pack, which is how they are read fast."""
        return [each.oid for each in self.objects.values() if each.kind == "blob"]

    @property
    def largest(self) -> int:
        return max((e.size for e in self.objects.values() if e.kind == "blob"), default=0)

    def reach(self, tips: Iterable[bytes]) -> None:
        """Go from ``tips`` to all that they reach within the pack. Raises ObjectError
        for what no push may contain."""
        roots: list[bytes] = []
        wave = list(tips)
        while wave:
            following: list[bytes] = []
            for oid in wave:
                if oid in self.reached or oid not in self.objects:
                    continue
                kind, raw = self._read(oid)
                if kind == "commit":
                    self.reached.add(oid)
                    commit = read_commit(raw, self._length)
                    for parent in commit.parents:
                        self._is(parent, "commit", "a commit")
                    following += commit.parents
                    roots.append(commit.tree)
                elif kind == "tag":
                    self.reached.add(oid)
                    tag = read_tag(raw, self._length)
                    self._is(tag.target, tag.kind, f"a {tag.kind}")
                    following.append(tag.target)
                elif kind == "tree":
                    roots.append(oid)
                else:
                    self.reached.add(oid)
            wave = following
        for root in roots:
            self._reach_tree(root)

    def _read(self, oid: bytes) -> tuple[str, bytes]:
        kind = self.objects[oid].kind
        return (kind, b"") if kind == "blob" else self._store.read(oid)

    def _is(self, oid: bytes, kind: str, stands_for: str) -> bool:
        """Whether it is in the pack. Git's fsck does not look at what a link leads to."""
        listed = self.objects.get(oid)
        if listed is not None and listed.kind != kind:
            raise ObjectError(f"{oid.hex()} stands for {stands_for} and is a {listed.kind}")
        return listed is not None

    def _reach_tree(self, root: bytes) -> None:
        # Each tree is entered once: a pack's trees bound the walk, not their paths.
        stack = [(b"", root)]
        while stack:
            prefix, oid = stack.pop()
            if not self._is(oid, "tree", "a directory") or oid in self.reached:
                continue
            self.reached.add(oid)
            for name, (mode, child) in read_tree(self._store.read(oid)[1], self._length).items():
                kind = mode & KIND
                path = prefix + name
                if _SHORT.fullmatch(name):
                    raise ObjectError("a tree has a name in it that some systems take for .git")
                if kind == GITLINK:
                    if name.translate(None, _CONTROL) != name:
                        raise ObjectError("a submodule's path has control characters in it")
                    self.gitlinks[path] = None
                elif kind == TREE:
                    # Deeper than any path may be: still reached, its path cut.
                    stack.append((path[:PATH_MOST] + b"/", child))
                elif self._is(child, "blob", "a file"):
                    self.reached.add(child)
                    self.paths.setdefault(child, path)
                    if kind == SYMLINK:
                        self.links[path] = None
                    if name.lower() == _MODULES:
                        self.modules[child] = path

    def unreached(self) -> str:
        """Names what no tip reaches, "" for nothing."""
        left = [each for oid, each in self.objects.items() if oid not in self.reached]
        if not left:
            return ""
        named = ", ".join(f"{each.kind} {each.oid.hex()[:12]}" for each in left[:3])
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        objects = "an object" if len(left) == 1 else f"{len(left)} objects"
        return f"the pack has {objects} that no pushed ref reaches: {named}{more}"

    def check_modules(self) -> None:
        """Raises ObjectError, see ``check_modules``."""
        for oid in self.modules:
            check_modules(self.objects[oid].size, self._store, oid)


def check_modules(size: int, store: Store, oid: bytes) -> None:
    """CVE-2025-48384: a carriage return in a ``.gitmodules`` is read by git in two
    ways, unless it ends a line. Raises ObjectError."""
    if size > _MODULES_MOST:
        raise ObjectError("a .gitmodules is larger than any list of submodules")
    if b"\r" in store.read(oid)[1].replace(b"\r\n", b"\n"):
        raise ObjectError("a .gitmodules has a carriage return within a line")
