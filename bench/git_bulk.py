"""A repository of a given size, the same on every machine: random bytes that
don't compress, and text that does."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

BLOB = 1 << 18
TEXT_SHARE = 4
"""One blob in so many is text."""
BLOBS_PER_COMMIT = 8
WORDS = (
    b"gateway session record verdict approve lane frame carrier upstream client "
    b"policy mask hold block allow ref pack tree blob commit branch tag fetch push"
).split()
EPOCH = 1_700_000_000


def _text(rng: random.Random, size: int) -> bytes:
    lines = [b" ".join(rng.choices(WORDS, k=9)) for _ in range(200)]
    return b"\n".join(rng.choices(lines, k=size // 60))


def stream(megabytes: float, *, seed: int = 1, branch: str = "main") -> Iterator[bytes]:
    """A git-fast-import(1) stream whose pack has about ``megabytes`` (10^6
    bytes each): the random bytes alone make up that size."""
    rng = random.Random(seed)
    left = int(megabytes * 1e6)
    number = 0
    commits = 0
    changed: list[bytes] = []
    while left > 0 or changed:
        size = min(left, BLOB)
        if size > 0:
            number += 1
            text = number % TEXT_SHARE == 0
            body = _text(rng, size) if text else rng.randbytes(size)
            left -= 0 if text else size
            name = b"files/%02d/%05d.%s" % (number % 50, number, b"txt" if text else b"bin")
            changed.append(b"M 100644 :%d %s\n" % (number, name))
            yield b"blob\nmark :%d\ndata %d\n%b\n" % (number, len(body), body)
        if len(changed) == BLOBS_PER_COMMIT or left <= 0:
            commits += 1
            message = b"Change %d" % commits
            yield b"commit refs/heads/%s\ncommitter Bulk <bulk@example.com> %d +0000\n" % (
                branch.encode(),
                EPOCH + commits,
            )
            yield b"data %d\n%b\n%b\n" % (len(message), message, b"".join(changed))
            changed = []
    yield b"done\n"


def fill(
    repository: Path, megabytes: float, *, seed: int = 1, branch: str = "main", bare: bool = True
) -> int:
    """Put such a history into ``repository`` (made when it isn't there);
    the bytes of its packs. Raises CalledProcessError."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
    if not repository.exists():
        subprocess.run(
            ["git", "init", "-q", "-b", branch, *(["--bare"] if bare else []), repository],
            check=True,
            env=environment,
        )
    with subprocess.Popen(
        ["git", "-c", "core.fsync=none", "-c", "fastimport.unpackLimit=0",
         "fast-import", "--quiet", "--done", "--big-file-threshold=64k"],
        cwd=repository,
        env=environment,
        stdin=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        for piece in stream(megabytes, seed=seed, branch=branch):
            process.stdin.write(piece)
        process.stdin.close()
        code = process.wait()
    if code:
        raise subprocess.CalledProcessError(code, "git fast-import")
    return sum(path.stat().st_size for path in repository.glob("**/objects/pack/*.pack"))
