"""What is in the pack of a push, seen from the tips that the push names.

Reads every commit, tag and tree of the pack once.  A blob's path is the first
at which a tree of the pack has it, from the tips on.
"""

from __future__ import annotations

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
    text,
)
from protocols.git.treediff import PATH_MOST

_MODULES = b".gitmodules"
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
                    following += commit.parents
                    roots.append(commit.tree)
                elif kind == "tag":
                    self.reached.add(oid)
                    following.append(read_tag(raw, self._length).target)
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

    def _reach_tree(self, root: bytes) -> None:
        # Each tree is entered once: a pack's trees bound the walk, not their paths.
        stack = [(b"", root)]
        while stack:
            prefix, oid = stack.pop()
            listed = self.objects.get(oid)
            if listed is None or oid in self.reached:
                continue
            if listed.kind != "tree":
                raise ObjectError(f"{oid.hex()} stands for a tree and is a {listed.kind}")
            self.reached.add(oid)
            for name, (mode, child) in read_tree(self._store.read(oid)[1], self._length).items():
                kind = mode & KIND
                path = prefix + name
                if kind == GITLINK:
                    if name.translate(None, _CONTROL) != name:
                        raise ObjectError("a submodule's path has control characters in it")
                    self.gitlinks[path] = None
                elif kind == TREE:
                    # Deeper than any path may be: still reached, its path cut.
                    stack.append((path[:PATH_MOST] + b"/", child))
                elif (blob := self.objects.get(child)) is not None:
                    if blob.kind != "blob":
                        raise ObjectError(f"{child.hex()} stands for a file and is a {blob.kind}")
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
        """CVE-2025-48384: a carriage return in a ``.gitmodules`` is read by git in two
        ways, unless it ends a line. Raises ObjectError."""
        for oid, path in self.modules.items():
            if self.objects[oid].size > 1 << 20:
                raise ObjectError(f"{text(path)!r} is larger than any list of submodules")
            raw = self._store.read(oid)[1]
            if b"\r" in raw.replace(b"\r\n", b"\n"):
                raise ObjectError(f"{text(path)!r} has a carriage return within a line")
