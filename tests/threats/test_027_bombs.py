"""Row 27: what a pack makes of itself is bounded in time, memory and disk. Goes red when
the examining process is started without its confines.
"""

from __future__ import annotations

import struct
import time
import zlib
from functools import cache
from pathlib import Path

import pytest
from git_kit import (
    BLOB,
    COMMIT,
    OFS,
    REF,
    TREE,
    ZERO,
    Attack,
    commit_of,
    entry,
    header,
    history,
    oid,
    pack,
    request,
    tree_of,
)  # fmt: skip

SECONDS = 60.0
MEMORY = 400 << 20


def varint(number: int) -> bytes:
    out = bytearray()
    while True:
        low, number = number & 127, number >> 7
        out.append(low | (128 if number else 0))
        if not number:
            return bytes(out)


def delta(base: int, result: int, body: bytes) -> bytes:
    return varint(base) + varint(result) + body


def offset(distance: int) -> bytes:
    """Of an ofs-delta, backwards."""
    out = bytearray([distance & 127])
    while distance := distance >> 7:
        distance -= 1
        out.insert(0, 128 | distance & 127)
    return bytes(out)


def ofs(distance: int, body: bytes) -> bytes:
    return header(OFS, len(body)) + offset(distance) + zlib.compress(body)


def ref(base: str, body: bytes) -> bytes:
    return header(REF, len(body)) + bytes.fromhex(base) + zlib.compress(body)


def zeros(size: int) -> bytes:
    """A blob of ``size`` zeros, made without having them: what a megabyte is packed to,
    again and again, and the checksum that all of it has (RFC 1950: of zeros, the first
    sum stays 1, and the second counts them)."""
    work = zlib.compressobj(9)
    piece = bytes(1 << 20)
    first = work.compress(piece) + work.flush(zlib.Z_FULL_FLUSH)
    again = work.compress(piece) + work.flush(zlib.Z_FULL_FLUSH)
    adler = (size % 65521 << 16 | 1).to_bytes(4, "big")
    return header(BLOB, size) + first + again * ((size >> 20) - 1) + work.flush()[:-4] + adler


def deep(count: int) -> list[bytes]:
    """Each a delta of the one before."""
    out = [entry(BLOB, b"x" * 100)]
    for number in range(count):
        step = delta(100 + number, 101 + number, b"\x90" + bytes([100 + number & 127]) + b"\x01y")
        out.append(ofs(len(out[-1]), step))
    return out


@cache
def packs() -> dict[str, bytes]:
    made = history()
    plain = [entry(kind, body) for kind, body in made.objects]
    far = header(OFS, 4) + offset(1 << 40) + zlib.compress(delta(1, 1, b"\x01y"))
    return {
        "2 GB of zeros": pack([*plain, zeros(2 << 30)]),
        "a size that is a lie": pack([*plain, header(BLOB, 10) + zlib.compress(bytes(1 << 24))]),
        "4,096 deltas deep": pack([*plain, *deep(4096)]),
        "a delta before the pack": pack([*plain, far]),
        "a delta of itself": pack([*plain, ofs(0, delta(1, 1, b"\x01y"))]),
        "a delta of nothing": pack([*plain, ref("ab" * 20, delta(1, 1, b"\x01y"))]),
        "two deltas of each other": pack(
            [*plain, ref("11" * 20, delta(9, 9, b"\x01y")), ref("22" * 20, delta(9, 9, b"\x01z"))]
        ),
        "4,294,967,295 objects": pack(plain, count=2**32 - 1),
        "no objects, they say": pack(plain, count=0),
        "a size of 2^63": pack([*plain, b"\xbf" + b"\xff" * 8 + b"\x01" + zlib.compress(b"")]),
        "an unending size": pack([*plain, b"\xbf" + b"\xff" * 100_000]),
        "a type that is none": pack([*plain, b"\x50" + zlib.compress(b"")]),
        "cut short": pack(plain)[:-25],
        "version 9": b"PACK" + struct.pack(">II", 9, 3) + pack(plain)[12:],
    }


def rss(attack: Attack) -> int:
    """Of the gateway's processes, most so far."""
    assert attack.stack.process is not None
    total, waiting = 0, [attack.stack.process.pid]
    while waiting:
        pid = waiting.pop()
        try:
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    total += int(line.split()[1]) << 10
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                waiting += map(int, task.read_text().split())
        except OSError:
            continue
    return total


@pytest.mark.parametrize("kind", list(packs()))
def test_a_bomb(attack: Attack, kind: str) -> None:
    name, _ = attack.seeded(1)
    unharmed = attack.untouched(name)
    tip = history().tip
    began = time.monotonic()
    raw = request((ZERO, tip, "refs/heads/bomb"), pack=packs()[kind])
    said = attack.push(name, raw, seconds=SECONDS)
    assert said.code or b"ng " in said.out, said
    assert time.monotonic() - began < SECONDS
    assert rss(attack) < MEMORY, rss(attack)
    unharmed()
    end = time.monotonic() + 10
    while list((attack.stack.state / "quarantine").glob("*/*")):
        assert time.monotonic() < end, "what was unpacked is left lying about"
        time.sleep(0.1)


def test_a_tree_of_trees(attack: Attack) -> None:
    """Ten levels of ten names each, all the same: ten objects, 10^10 files."""
    name, _ = attack.seeded(1)
    unharmed = attack.untouched(name)
    objects: list[tuple[int, bytes]] = [(BLOB, b"boom\n")]
    mode, below = b"100644", oid(BLOB, b"boom\n")
    for _ in range(10):
        tree = tree_of({b"%d" % n: (mode, below) for n in range(10)})
        objects.append((TREE, tree))
        mode, below = b"40000", oid(TREE, tree)
    commit = commit_of(below)
    objects.append((COMMIT, commit))
    raw = request(
        (ZERO, oid(COMMIT, commit), "refs/heads/bomb"),
        pack=pack([entry(kind, body) for kind, body in objects]),
    )
    said = attack.push(name, raw, seconds=SECONDS)
    assert rss(attack) < MEMORY
    if said.code or b"ng " in said.out:
        unharmed()
    else:
        assert said.seconds < SECONDS
