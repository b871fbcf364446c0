"""The end of a pack comes from its framing, whatever is in it and however it is cut."""

from __future__ import annotations

import itertools
import random
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from git_packs import BLOB, OFS_DELTA, REF_DELTA, back, closed, header, pack, packed
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import LimitError, WireError
from protocols.git.packstream import PackLimits, PackStream
from protocols.wire import Side

NOISE = random.Random(7).randbytes(200_000)


def feed(data: bytes, cuts: list[int] | None = None, limits: PackLimits | None = None) -> int:
    """Bytes of the pack; AssertionError when it isn't whole."""
    stream = PackStream("sha1", limits or PackLimits())
    used = 0
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts or []), len(data)]
    for start, end in itertools.pairwise(edges):
        took = stream.feed(data[start:end])
        used += took
        if took < end - start:
            break
    assert stream.done
    assert stream.size == used
    return used


def outcome(data: bytes, cuts: list[int], limits: PackLimits) -> str:
    try:
        return str(feed(data, cuts, limits))
    except WireError as error:
        return str(error)
    except AssertionError:
        return "not whole"


BODIES = st.lists(
    st.binary(max_size=60) | st.just(b"PACK0000") | st.just(NOISE[:70_000]), max_size=5
)


@settings(max_examples=60, deadline=None)
@given(BODIES, st.lists(st.integers(0, 1 << 20), max_size=8), st.binary(max_size=40))
def test_any_cut_finds_the_same_end(bodies: list[bytes], cuts: list[int], behind: bytes) -> None:
    whole = pack(*(packed(BLOB, body) for body in bodies))
    assert feed(whole + behind, cuts) == len(whole)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.binary(max_size=30), max_size=3),
    st.lists(st.integers(0, 300), max_size=6),
    st.integers(0, 300),
    st.integers(1, 255),
)
def test_a_flipped_byte_is_told_alike_at_any_cut(
    bodies: list[bytes], cuts: list[int], where: int, flip: int
) -> None:
    whole = bytearray(pack(*(packed(BLOB, body) for body in bodies)))
    whole[where % len(whole)] ^= flip
    limits = PackLimits(size=150, objects=10, object=100)
    told = outcome(bytes(whole), cuts, limits)
    assert told == outcome(bytes(whole), [], limits)
    assert told == outcome(bytes(whole), list(range(len(whole))), limits)
    assert not told.isdigit()


def test_byte_by_byte_with_deltas() -> None:
    first = packed(BLOB, NOISE[:1000])
    delta = packed(OFS_DELTA, b"\x01\x01\x91\x00\x01", base=back(len(first)))
    other = packed(REF_DELTA, b"\x01\x01\x91\x00\x01", base=NOISE[:20])
    whole = pack(first, delta, other, packed(BLOB, b""))
    assert feed(whole + b"0000", list(range(len(whole)))) == len(whole)


def test_sha256() -> None:
    whole = pack(packed(REF_DELTA, b"x", base=NOISE[:32]), algorithm="sha256")
    stream = PackStream("sha256", PackLimits())
    assert stream.feed(whole + b"more") == len(whole)
    assert (stream.done, stream.count, stream.trailer) == (True, 1, whole[-32:].hex())
    with pytest.raises(WireError):
        PackStream("sha1", PackLimits()).feed(whole)


@pytest.mark.parametrize(
    "broken",
    [
        b"PACX" + header(0)[4:],
        b"0000",
        closed(header(0, version=4)),
        pack(packed(BLOB, b"hello", size=4)),
        pack(packed(BLOB, b"hello", size=6)),
        pack(packed(BLOB, bytes(1 << 20), size=0)),
        pack(packed(0, b"hello")),
        pack(packed(5, b"hello")),
        pack(packed(OFS_DELTA, b"x", base=back(0)))[:-20],
        pack(packed(BLOB, b"x"), packed(OFS_DELTA, b"x", base=back(11))),
        pack(packed(BLOB, b"x"), packed(OFS_DELTA, b"x", base=b"\xff" * 10 + b"\x01")),
        pack(b"\xbf" + b"\xff" * 9 + b"\x01" + zlib.compress(b"")),
        pack(packed(BLOB, b"hello"))[:-1] + b"\0",
        pack(b"\x35" + zlib.compress(b"hello")[:-1] + b"\0"),
        pack(b"\x35" + zlib.compressobj(zdict=b"hello").compress(b"hello") + bytes(20)),
        pack(b"\x35hello, no zlib"),
    ],
)
def test_what_is_no_pack(broken: bytes) -> None:
    for cuts in ([], list(range(len(broken)))):
        with pytest.raises(WireError) as caught:
            feed(broken, cuts)
        assert caught.value.side is Side.CLIENT
        assert not isinstance(caught.value, LimitError)


def test_a_count_costs_nothing() -> None:
    with pytest.raises(LimitError):
        feed(header(0xFFFFFFFF))
    stream = PackStream("sha1", PackLimits(objects=0xFFFFFFFF))
    assert stream.feed(header(0xFFFFFFFF)) == 12
    assert stream.count == 0xFFFFFFFF


def test_a_bomb_dies_early() -> None:
    bomb = pack(packed(BLOB, bytes(64 << 20)))
    with pytest.raises(LimitError, match="50 times"):
        feed(bomb, limits=PackLimits(free=1 << 20))
    with pytest.raises(LimitError, match="an object of more"):
        feed(bomb[:20], limits=PackLimits(object=1 << 20))
    with pytest.raises(LimitError, match="inflated"):
        feed(bomb[:20], limits=PackLimits(inflated=1 << 20))
    lying = pack(packed(BLOB, bytes(64 << 20), size=10))
    stream = PackStream("sha1", PackLimits())
    with pytest.raises(WireError, match="declares"):
        stream.feed(lying)
    assert stream.inflated == 0


def test_a_bomb_dies_at_the_same_place_of_any_cut() -> None:
    bomb = pack(packed(BLOB, bytes(96 << 20) + NOISE))
    limits = PackLimits(free=1 << 20, ratio=900)
    for step in (1000, 32768, 65536, len(bomb)):
        stream = PackStream("sha1", limits)
        with pytest.raises(LimitError, match="900 times"):
            for at in range(0, len(bomb), step):
                stream.feed(bomb[at : at + step])


def test_sizes_are_capped_to_the_byte() -> None:
    whole = pack(packed(BLOB, b"hello"))
    assert feed(whole, limits=PackLimits(size=len(whole))) == len(whole)
    for cuts in ([], list(range(len(whole)))):
        with pytest.raises(LimitError):
            feed(whole, cuts, PackLimits(size=len(whole) - 1))


def test_what_git_packs(tmp_path: Path) -> None:
    def git(*words: str, data: bytes = b"") -> bytes:
        run = ["git", "-c", "user.name=n", "-c", "user.email=e", *words]
        return subprocess.run(run, cwd=tmp_path, input=data, capture_output=True, check=True).stdout

    git("init", "-q")
    for turn in range(5):
        text = "".join(f"{n} {n * n}\n" for n in range(turn, 3000))
        (tmp_path / "numbers").write_text(text)
        (tmp_path / "noise").write_bytes(NOISE[: 30_000 * turn])
        git("add", ".")
        git("commit", "-q", "-m", f"PACK 0000 {struct.pack('>I', turn)!r}")
    for words in (("--delta-base-offset",), (), ("--depth=0",)):
        whole = git("pack-objects", "--all", "--stdout", "-q", *words)
        cuts = [random.Random(seed).randrange(len(whole)) for seed in range(50)]
        assert feed(whole + b"PACK", cuts) == len(whole)
