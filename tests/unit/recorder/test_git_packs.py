"""The objects of a pack, as git itself tells them; and packs that were made to hurt."""

from __future__ import annotations

import random
import shutil
import time
import tracemalloc
import zlib
from pathlib import Path

import pytest
from recorder_git_world import Repositories

from recorder.replay import git_packs
from recorder.replay.git_packs import PackError, contents, differing

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def packed(place: Path, objects: str, *how: str) -> tuple[bytes, set[str]]:
    world = Repositories(place, objects)
    for number in range(12):
        chosen = random.Random(number)
        lines = [f"line {n} {chosen.random() if n % 90 == number else ''}\n" for n in range(900)]
        world.commit("".join(lines))
        if number % 3 == 0:
            world.at("tag", "-a", "-m", "t", f"t{number}")
    world.at("repack", "-adfq", *how)
    pack = next((world.work / ".git/objects/pack").glob("*.pack"))
    listed = world.at("cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
    return pack.read_bytes(), set(listed.split())


@pytest.mark.parametrize("objects", ["sha1", "sha256"])
def test_the_objects_are_those_that_git_tells(tmp_path: Path, objects: str) -> None:
    pack, names = packed(tmp_path, objects, "--depth=50")
    found = contents(pack, objects)
    assert found.objects == names
    assert not found.deltas
    (tmp_path / "b").mkdir()
    again, _ = packed(tmp_path / "b", objects, "--window=0")
    assert again != pack
    assert not differing(found, contents(again, objects))


def head(count: int) -> bytes:
    return b"PACK" + (2).to_bytes(4, "big") + count.to_bytes(4, "big")


def entry(kind: int, size: int, body: bytes, base: bytes = b"") -> bytes:
    out = bytearray([kind << 4 | size & 15 | (0x80 if size > 15 else 0)])
    size >>= 4
    while size:
        out.append(size & 127 | (0x80 if size > 127 else 0))
        size >>= 7
    return bytes(out) + base + zlib.compress(body, 9)


def number(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 0x80)
        value >>= 7
    return bytes((*out, value))


def delta(source: int, target: int, steps: bytes) -> bytes:
    return number(source) + number(target) + steps


END = bytes(20)
BLOB = bytes(60_000)
COPY = b"\xb0\x60\xea"  # 60,000 bytes from the start
WHOLE = entry(3, len(BLOB), BLOB)
MANY = delta(60_000, 60_000 * 20_000, COPY * 20_000)
BOMBS = {
    "longer than it says": head(1) + entry(3, 10, bytes(1 << 26)) + END,
    "shorter than it says": head(1) + entry(3, 1 << 20, b"x") + END,
    "too much": head(1) + entry(3, 1 << 29, b"x") + END,
    "too many": head(git_packs.OBJECTS + 1) + END,
    "fewer than it says": head(3) + WHOLE + END,
    "a delta to a gigabyte": head(2) + WHOLE + entry(6, len(MANY), MANY, b"%c" % len(WHOLE)) + END,
    "a delta of its own": head(1) + entry(6, 3, b"\0\0\0", b"\0") + END,
    "nothing": b"",
    "only a head": head(0),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name: str) -> None:
    tracemalloc.start()
    begun = time.process_time()
    with pytest.raises(PackError):
        contents(BOMBS[name], "sha1")
    assert time.process_time() - begun < 2
    assert tracemalloc.get_traced_memory()[1] < 1 << 26
    tracemalloc.stop()


def test_deltas_of_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = delta(60_000, 20_000, b"\1x" * 20_000)
    pack = head(2) + WHOLE + entry(6, len(steps), steps, b"%c" % len(WHOLE)) + END
    assert contents(pack, "sha1").size == 2
    monkeypatch.setattr(git_packs, "STEPS", 10_000)
    with pytest.raises(PackError, match="too many"):
        contents(pack, "sha1")


def test_damaged_packs_are_told_or_refused(tmp_path: Path) -> None:
    pack, names = packed(tmp_path, "sha1")
    chosen = random.Random(1)
    refused = 0
    for _ in range(400):
        raw = bytearray(pack)
        for _ in range(chosen.randrange(1, 4)):
            raw[chosen.randrange(12, len(raw) - 20)] ^= 1 << chosen.randrange(8)
        try:
            found = contents(
                bytes(raw[: chosen.choice((len(raw), chosen.randrange(len(raw))))]), "sha1"
            )
        except PackError:
            refused += 1
        else:
            assert found.objects != names or found.deltas
    assert refused > 300
