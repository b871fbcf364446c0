"""The throw-away repository: git's own programs, and objects read through them."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Final

from gateway.quarantine.ahead import Ahead
from gateway.quarantine.confine import no_children, surroundings
from gateway.quarantine.scanning import WINDOW, Scanner
from protocols.git.looking import Listed
from protocols.git.objects import RAW_LENGTH, ObjectError

_CONFIG: Final = (
    b"[core]\n\tbigFileThreshold = 64m\n\tpackedGitWindowSize = 32m\n\tpackedGitLimit = 512m\n"
    b"\tdeltaBaseCacheLimit = 64m\n[pack]\n\tthreads = 1\n\tdepth = 4096\n[gc]\n\tauto = 0\n"
)
_KEPT_MOST: Final = 256 << 20
"""Bytes of commits, tags and trees that are kept in memory as they are."""
_OBJECT_MOST: Final = 64 << 20
"""Bytes of a commit, tag or tree. Larger ones have no honest use."""
_DIFFED_MOST: Final = 4 << 20
"""Bytes of a blob whose lines are counted; a larger one counts as binary."""
_DIFF_SECONDS: Final = 15.0
_PRINTABLE: Final = re.compile(r"[^\x20-\x7e]")


class PackRefused(Exception):
    """Git does not take the pack. The text is fit for the client."""


class Repository:
    """A ``Store`` (protocols/git/looking.py) in ``folder``."""

    def __init__(self, folder: Path, algorithm: str, kinds: Iterable[str]) -> None:
        self._folder = folder
        self._git = folder / "objects.git"
        self._length = RAW_LENGTH[algorithm]
        self._algorithm = algorithm
        self._kinds = tuple(kinds)
        self._known: dict[bytes, Listed] = {}
        self._kept: dict[bytes, bytes] = {}
        self._kept_bytes = 0
        self._reader: subprocess.Popen[bytes] | None = None
        self._ahead: Ahead | None = None
        init = ["init", "-q", "--bare", "--template=", f"--object-format={algorithm}"]
        self._run([*init, str(self._git)], folder)
        with (self._git / "config").open("ab") as config:
            config.write(_CONFIG)

    # -- packs

    def begin(self, fd: int, offset: int) -> None:
        """Take in, strictly, the pack that begins at ``offset`` of a file which still
        grows, until ``finish``. Closes ``fd``."""
        own = _reopened(fd)

        def start() -> subprocess.Popen[bytes]:
            return self._start(_index_pack(True), subprocess.PIPE, subprocess.PIPE)

        self._ahead = Ahead(own, offset, start)

    def finish(self, fd: int, offset: int) -> tuple[list[Listed], list[bytes]]:
        """What ``add`` gives, of the pack that was begun; the file has all of it."""
        own = _reopened(fd)
        try:
            count = int.from_bytes(os.pread(own, 12, offset)[8:12])
            size = os.fstat(own).st_size - offset
        finally:
            os.close(own)
        assert self._ahead is not None
        code, done, said = self._ahead.finish()
        self._ahead = None
        if code:
            raise PackRefused(_reason("index-pack", code, said))
        if self._ahead_size() != size:
            # From a pipe git reads no further than the pack goes.
            raise PackRefused("git index-pack refuses the pack: pack has junk at the end")
        return self._taken(done, count)

    def _ahead_size(self) -> int:
        """Bytes of the one pack that is here so far."""
        packs = (self._git / "objects" / "pack").glob("*.pack")
        return sum(path.stat().st_size for path in packs)

    @property
    def begun(self) -> bool:
        return self._ahead is not None

    def add(self, fd: int, offset: int, strict: bool) -> tuple[list[Listed], list[bytes]]:
        """Take in the pack that begins at ``offset`` of a file and ends with it; closes
        ``fd``. Gives its objects in its order, and ids that its trees call
        ``.gitmodules`` and that it lacks. ``strict``: also refuse what git's fsck
        finds fault with. Raises PackRefused."""
        own = _reopened(fd)
        try:
            head = os.pread(own, 12, offset)
            count = int.from_bytes(head[8:12])
            if not count and len(head) == 12 and head[:4] == b"PACK":
                # Nothing in it; whoever forwards it lets the upstream check the rest.
                return [], []
            os.lseek(own, offset, os.SEEK_SET)
            done = self._run(_index_pack(strict), self._git, stdin=own)
        finally:
            os.close(own)
        return self._taken(done, count)

    def _taken(self, done: bytes, count: int) -> tuple[list[Listed], list[bytes]]:
        """``done``: what git said of a pack of ``count`` objects."""
        first, *rest = done.decode("ascii", "replace").split("\n")
        name = re.fullmatch(r"(?:pack|keep)\t([0-9a-f]{40}|[0-9a-f]{64})", first)
        if name is None:
            raise PackRefused("git could not index the pack")
        listing = self._listing(name[1])
        if len({each.oid for each in listing}) != count:
            raise PackRefused("the pack has an object in it twice")
        self._known.update((each.oid, each) for each in listing)
        self._keep([each for each in listing if each.kind != "blob"])
        loose = [bytes.fromhex(oid) for oid in rest if re.fullmatch(r"[0-9a-f]{40,64}", oid)]
        return listing, loose

    def _listing(self, name: str) -> list[Listed]:
        index = self._git / "objects" / "pack" / f"pack-{name}.idx"
        with index.open("rb") as file:
            shown = self._run(
                ["show-index", f"--object-format={self._algorithm}"], self._git, stdin=file.fileno()
            )
        rows = [line.split(b" ") for line in shown.splitlines()]
        rows.sort(key=lambda row: int(row[0]))
        oids = [row[1] for row in rows]
        check = self._run(
            ["cat-file", "--batch-check", "--buffer"], self._git, feed=b"\n".join(oids) + b"\n"
        )
        listing = []
        for line in check.splitlines():
            oid, kind, size = line.decode("ascii").split(" ")
            listing.append(Listed(bytes.fromhex(oid), kind, int(size)))
        return listing

    def _keep(self, listing: Sequence[Listed]) -> None:
        wanted = []
        for each in listing:
            if each.size > _OBJECT_MOST:
                raise PackRefused(f"the pack has a {each.kind} of {each.size >> 20} MB in it")
            if self._kept_bytes + each.size <= _KEPT_MOST and each.oid not in self._kept:
                self._kept_bytes += each.size + 64
                wanted.append(each)
        for each, stream in self._stream(wanted):
            self._kept[each.oid] = _exactly(stream, each.size)

    # -- Store

    def has(self, oid: bytes) -> bool:
        return oid in self._known

    def read(self, oid: bytes) -> tuple[str, bytes]:
        listed = self._known[oid]
        kept = self._kept.get(oid)
        if kept is not None:
            return listed.kind, kept
        if listed.size > _OBJECT_MOST:
            raise ObjectError(f"a {listed.kind} is too large to be read")
        if self._reader is None:
            self._reader = self._start(["cat-file", "--batch"], subprocess.PIPE)
        assert self._reader.stdin is not None
        assert self._reader.stdout is not None
        self._reader.stdin.write(oid.hex().encode() + b"\n")
        self._reader.stdin.flush()
        _head(self._reader.stdout, listed)
        raw = _exactly(self._reader.stdout, listed.size)
        _exactly(self._reader.stdout, 1)
        return listed.kind, raw

    def size(self, oid: bytes) -> int:
        return self._known[oid].size

    def modules(self, oid: bytes) -> str:
        entry = b"100644 blob %b\t.gitmodules\n" % oid.hex().encode()
        tree = self._run(["mktree"], self._git, feed=entry)
        asked = tree + oid.hex().encode() + b"\n"
        packed = self._run(["pack-objects", "--stdout", "-q"], self._git, feed=asked)
        try:
            self._run(["index-pack", "--stdin", "--fsck-objects"], self._git, feed=packed)
        except PackRefused as error:
            return str(error)
        return ""

    def secrets(self, oids: Sequence[bytes]) -> Iterator[tuple[bytes, tuple[str, ...]]]:
        if not oids or not self._kinds:
            return
        scanner = Scanner(self._kinds)
        for each, stream in self._stream([self._known[oid] for oid in oids]):
            found: set[str] = set()
            left = each.size
            tail = b""
            while left:
                size = min(left, WINDOW)
                data = tail + _exactly(stream, size)
                left -= size
                found |= scanner.kinds(data, last=not left)
                tail = data[-scanner.overlap :] if left else b""
            if found:
                yield each.oid, tuple(sorted(found))

    def lines(
        self, pairs: Sequence[tuple[bytes | None, bytes | None]]
    ) -> list[tuple[int, int] | None]:
        """As ``git diff --numstat``; an empty list when it takes too long."""
        trees: list[bytes] = []
        binary = set()
        for side in (0, 1):
            rows = []
            for at, pair in enumerate(pairs):
                oid = pair[side]
                if any(each is not None and self._too_large(each) for each in pair):
                    binary.add(at)
                elif oid is not None:
                    rows.append(b"100644 blob %b\t%08d\0" % (oid.hex().encode(), at))
            trees.append(self._run(["mktree", "-z"], self._git, feed=b"".join(rows)).strip())
        counted: list[tuple[int, int] | None] = [(0, 0)] * len(pairs)
        flags = ["-z", "--numstat", "--no-renames", "--no-ext-diff", "--no-textconv"]
        try:
            told = self._run(
                ["diff-tree", *flags, *(tree.decode("ascii") for tree in trees)],
                self._git,
                seconds=_DIFF_SECONDS,
            )
        except PackRefused:
            return []
        for row in told.split(b"\0")[:-1]:
            plus, minus, name = row.split(b"\t")
            counted[int(name)] = None if plus == b"-" else (int(plus), int(minus))
        return [None if at in binary else each for at, each in enumerate(counted)]

    def _too_large(self, oid: bytes) -> bool:
        listed = self._known.get(oid)
        return listed is None or listed.kind != "blob" or listed.size > _DIFFED_MOST

    # -- git

    def _stream(self, listing: Sequence[Listed]) -> Iterator[tuple[Listed, IO[bytes]]]:
        """Each object with a stream whose next ``size`` bytes, all to be read, are it."""
        if not listing:
            return
        with tempfile.TemporaryFile(dir=self._folder) as asked:
            asked.write(b"".join(b"%b\n" % each.oid.hex().encode() for each in listing))
            asked.seek(0)
            process = self._start(["cat-file", "--batch", "--buffer"], asked.fileno())
        assert process.stdout is not None
        with process:
            try:
                for each in listing:
                    _head(process.stdout, each)
                    yield each, process.stdout
                    _exactly(process.stdout, 1)
            finally:
                process.kill()

    def _start(
        self, command: Sequence[str], stdin: int, stderr: int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["git", *command],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=self._git,
            env=surroundings(self._folder) | {"GIT_DIR": str(self._git)},
            bufsize=1 << 18,
            preexec_fn=no_children,  # noqa: PLW1509 (one thread here)
        )

    def _run(
        self,
        command: Sequence[str],
        cwd: Path,
        stdin: int = subprocess.DEVNULL,
        feed: bytes | None = None,
        seconds: float | None = None,
    ) -> bytes:
        """Standard output. Raises PackRefused."""
        more = {} if command[0] == "init" else {"GIT_DIR": str(self._git)}
        try:
            done = subprocess.run(
                ["git", *command],
                stdin=None if feed is not None else stdin,
                input=feed,
                capture_output=True,
                cwd=cwd,
                env=surroundings(self._folder) | more,
                preexec_fn=no_children,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise PackRefused("git took too long") from error
        if done.returncode:
            raise PackRefused(_reason(command[0], done.returncode, done.stderr))
        return done.stdout


def _reopened(fd: int) -> int:
    """The same file with a position of our own, since the gateway's must not move;
    closes ``fd``."""
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
    finally:
        os.close(fd)


def _index_pack(strict: bool) -> list[str]:
    # No --fix-thin: what a delta is made against must be in the pack.
    return ["index-pack", "--stdin", "--threads=1", *(["--fsck-objects"] if strict else [])]


def _head(stream: IO[bytes], listed: Listed) -> None:
    head = stream.readline(200).decode("ascii", "replace")
    if head != f"{listed.oid.hex()} {listed.kind} {listed.size}\n":
        raise ObjectError(f"{listed.kind} {listed.oid.hex()} could not be read")


def _exactly(stream: IO[bytes], size: int) -> bytes:
    raw = stream.read(size)
    if len(raw) != size:
        raise ObjectError("an object could not be read whole")
    return raw


def _reason(command: str, code: int, stderr: bytes) -> str:
    """One printable sentence of what git said; its first error names the cause."""
    said = [
        _PRINTABLE.sub("?", line.partition(": ")[2])
        for line in stderr[-20_000:].decode("ascii", "replace").splitlines()
        if line.startswith(("error: ", "fatal: "))
    ]
    short = any("memory" in each or "mmap" in each or "write error" in each for each in said)
    if code < 0 or short:
        return "the pack takes more time, memory or disk than is allowed"
    named = "; ".join(dict.fromkeys(said[:2])) or f"exit status {code}"
    return f"git {command} refuses the pack: {named[:300]}"
