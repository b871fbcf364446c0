"""Hostile clients of git over SSH: the machine's ssh with any command line and any
bytes, hand-made packs, and a witness of what the real server was told to run."""

from __future__ import annotations

import hashlib
import re
import struct
import subprocess
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from git_stack import GitStack, Route, Work

from gateway.demo.git_client import GitClient

ZERO = "0" * 40
FLUSH = b"0000"
COMMIT, TREE, BLOB, TAG, OFS, REF = 1, 2, 3, 4, 6, 7
NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}
PERSON = b"Mallory <m@example.com> 1700000000 +0000"


def pkt(body: bytes) -> bytes:
    return b"%04x%b" % (len(body) + 4, body)


def header(kind: int, size: int) -> bytes:
    """Of an object in a pack."""
    first = kind << 4 | size & 15
    size >>= 4
    out = bytearray()
    while size:
        out.append(first | 128)
        first = size & 127
        size >>= 7
    out.append(first)
    return bytes(out)


def entry(kind: int, body: bytes) -> bytes:
    return header(kind, len(body)) + zlib.compress(body)


def pack(entries: Sequence[bytes], *, count: int | None = None, trailer: bytes = b"") -> bytes:
    """A pack of entries; ``count`` and ``trailer`` may lie."""
    number = len(entries) if count is None else count
    body = b"PACK" + struct.pack(">II", 2, number) + b"".join(entries)
    return body + (trailer or hashlib.sha1(body).digest())


def oid(kind: int, body: bytes) -> str:
    return hashlib.sha1(b"%b %d\0%b" % (NAMES[kind], len(body), body)).hexdigest()


@dataclass
class History:
    """Objects made by hand; ``tip`` is the newest commit."""

    objects: list[tuple[int, bytes]]
    tip: str

    def pack(self, *more: tuple[int, bytes], **lies: Any) -> bytes:
        return pack([entry(kind, body) for kind, body in (*self.objects, *more)], **lies)


def tree_of(files: Mapping[bytes, tuple[bytes, str]] | Sequence[tuple[bytes, bytes, str]]) -> bytes:
    """A tree: (mode, name, id) in the order given, or by name."""
    rows = (
        [(mode, name, at) for name, (mode, at) in sorted(files.items())]
        if isinstance(files, Mapping)
        else files
    )
    return b"".join(b"%b %b\0%b" % (mode, name, bytes.fromhex(at)) for mode, name, at in rows)


def commit_of(tree: str, *parents: str, message: bytes = b"By hand\n") -> bytes:
    lines = [b"tree %b" % tree.encode(), *(b"parent %b" % p.encode() for p in parents)]
    return b"\n".join([*lines, b"author " + PERSON, b"committer " + PERSON, b"", message])


def history(*parents: str, name: bytes = b"file", content: bytes = b"content\n") -> History:
    """One commit with one file."""
    blob = content
    tree = tree_of({name: (b"100644", oid(BLOB, blob))})
    commit = commit_of(oid(TREE, tree), *parents)
    return History([(BLOB, blob), (TREE, tree), (COMMIT, commit)], oid(COMMIT, commit))


def request(
    *commands: tuple[str, str, str | bytes],
    caps: bytes = b"report-status side-band-64k object-format=sha1",
    pack: bytes = b"",
    options: Sequence[bytes] | None = None,
) -> bytes:
    """What a client sends to receive-pack: (old, new, ref)."""
    out = []
    for number, (old, new, ref) in enumerate(commands):
        name = ref if isinstance(ref, bytes) else ref.encode()
        line = old.encode() + b" " + new.encode() + b" " + name
        out.append(pkt(line + (b"\0" + caps if not number else b"")))
    out.append(FLUSH)
    if options is not None:
        out += [*map(pkt, options), FLUSH]
    return b"".join(out) + pack


@dataclass
class Said:
    """How a raw exchange ended."""

    code: int
    out: bytes
    err: bytes
    seconds: float

    @property
    def words(self) -> str:
        return (self.out + self.err).decode("utf-8", "replace")


def advertised(stream: IO[bytes]) -> bytes:
    """What a service says first, up to and with its flush; all there is where
    it says something else."""
    out = b""
    while True:
        length = stream.read(4)
        out += length
        if re.fullmatch(rb"[0-9a-f]{4}", length) is None or length == FLUSH:
            return out
        out += stream.read(int(length, 16) - 4)


class Attack:
    """A client, a gateway, and the real server behind it."""

    def __init__(self, route: Route, witness: Path) -> None:
        assert route.stack is not None
        self.route = route
        self.stack: GitStack = route.stack
        self.server = route.server
        self.witness = witness
        self.client: GitClient = route.client

    def execute(
        self,
        line: str | bytes,
        stdin: bytes = b"",
        *,
        protocol: str = "",
        piece: int = 0,
        seconds: float = 30,
        polite: bool = False,
        client: GitClient | None = None,
    ) -> Said:
        """Run a command line over SSH, with ``stdin`` whole or in pieces of
        ``piece`` bytes; ``polite``: once the advertisement is there, as git does."""
        client = client or self.client
        more = ["-o", f'SetEnv=GIT_PROTOCOL="{protocol}"'] if protocol else []
        began = time.monotonic()
        process = subprocess.Popen(
            ["ssh", "-F", str(client.ssh_config), *more, client.host, line],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=client.environment,
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        head = advertised(process.stdout) if polite else b""
        try:
            try:
                for at in range(0, len(stdin), piece or len(stdin) or 1):
                    process.stdin.write(stdin[at : at + piece] if piece else stdin)
                    process.stdin.flush()
                    time.sleep(0.001 if piece else 0)
            except BrokenPipeError:
                pass
            out, err = process.communicate(timeout=seconds)
            out = head + out
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise AssertionError(f"{line!r}: no end within {seconds} s") from None
        return Said(process.returncode, out, err, time.monotonic() - began)

    def push(self, repository: str, stdin: bytes, **more: Any) -> Said:
        more.setdefault("polite", True)
        return self.execute(f"git-receive-pack '{repository}.git'", stdin, **more)

    def ran(self) -> list[bytes]:
        """The command lines that the real server was given so far."""
        return self.witness.read_bytes().split(b"\0\n")[:-1] if self.witness.exists() else []

    def untouched(self, repository: str) -> Callable[[], None]:
        """Call the result later: the repository must be as it is now."""
        before = self.route.refs(repository)

        def check() -> None:
            assert self.route.refs(repository) == before
            self.route.sound(repository)

        return check

    def seeded(self, commits: int = 2) -> tuple[str, Work]:
        return self.route.seeded(commits)

    def commands(self) -> list[dict[str, Any]]:
        """The events of the newest session that has any."""
        newest = self.stack.sessions()[-1]["session"]
        return self.stack.events(newest)


SCRIPT = """\
#!/bin/sh
printf '%s\\0\\n' "$SSH_ORIGINAL_COMMAND" >> '{witness}'
exec git-shell -c "$SSH_ORIGINAL_COMMAND"
"""


def witness_script(folder: Path) -> tuple[Path, Path]:
    """A forced command for the server that writes down what it was asked to
    run; (script, what it writes)."""
    witness, script = folder / "ran", folder / "force"
    script.write_text(SCRIPT.format(witness=witness))
    script.chmod(0o755)
    return script, witness
