from __future__ import annotations

import itertools
import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import LimitError, WireError
from protocols.git.pktline import DELIM, END, FLUSH, LONGEST, V0, V2, Pkts, content, pkt
from protocols.wire import Side

LINES = st.lists(st.one_of(st.binary(max_size=40).map(pkt), st.sampled_from([FLUSH, DELIM])))


def cuts_of(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(at)]


@given(LINES, st.binary(max_size=3), st.lists(st.integers(0, 10_000)))
def test_any_cut_gives_the_same_lines(lines: list[bytes], tail: bytes, cuts: list[int]) -> None:
    # A tail that begins a line and is none.
    tail = b"00ff"[: len(tail)]
    pkts = Pkts(Side.CLIENT, V2)
    got, fed = [], 0
    for piece in cuts_of(b"".join(lines) + tail, cuts):
        got += pkts.lines(piece)
        fed += len(piece)
        assert sum(map(len, got)) + pkts.waiting == fed
    assert got == lines
    assert pkts.waiting == len(tail)
    assert pkts.rest() == tail


@given(LINES, st.integers(1, 5))
def test_lines_that_are_left_for_later(lines: list[bytes], step: int) -> None:
    """A lane stops in the middle of a read, and more comes."""
    pkts = Pkts(Side.CLIENT, V2)
    stream = b"".join(lines)
    got = []
    for at in range(0, len(stream), step):
        pkts.feed(stream[at : at + step])
        if at % 2:
            line = pkts.next()
            got += [line] if line is not None else []
    while (line := pkts.next()) is not None:
        got.append(line)
    assert got == lines


ODD = [
    b"0_0a",
    b"+00a",
    b" 00a",
    b"0x0a",
    b"00a\n",
    b"0003",
    b"0001",
    b"0002",
    b"000g",
    b"\xd9\xa30a",
]


@pytest.mark.parametrize("digits", ODD)
def test_what_is_no_length_is_refused(digits: bytes) -> None:
    with pytest.raises(WireError) as caught:
        list(Pkts(Side.CLIENT).lines(digits + b"x" * 20))
    assert caught.value.side is Side.CLIENT
    # The same when it comes in single bytes.
    pkts = Pkts(Side.UPSTREAM)
    with pytest.raises(WireError):
        for byte in digits + b"x" * 20:
            list(pkts.lines(bytes((byte,))))


@pytest.mark.parametrize("digits", [*ODD, b"0000", b"0004", b"000A", b"000a", b"fff0"])
def test_git_takes_no_line_that_is_not_taken_here(digits: bytes, tmp_path: object) -> None:
    """And takes what is taken here, but for a flush's content."""
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path)], check=True)
    told = subprocess.run(
        ["git", "upload-pack", "--stateless-rpc", str(tmp_path)],
        input=digits + b"x" * 65600,
        capture_output=True,
        check=False,
    ).stderr
    refused = b"bad line length" in told
    try:
        pkts = Pkts(Side.CLIENT)
        pkts.feed(digits + b"x" * 65600)
        pkts.next()
        taken = True
    except WireError:
        taken = False
    if digits in (b"0001", b"0002"):
        assert not taken  # git takes them for ends in every version
    else:
        assert taken is not refused


def test_special_lines_only_where_they_are_permitted() -> None:
    assert list(Pkts(Side.CLIENT, V2).lines(DELIM)) == [DELIM]
    assert list(Pkts(Side.CLIENT, (*V2, END)).lines(END)) == [END]
    for special in (DELIM, END):
        with pytest.raises(WireError):
            list(Pkts(Side.CLIENT, V0).lines(special))


def test_lengths() -> None:
    longest = pkt(b"x" * (LONGEST - 4))
    assert list(Pkts(Side.CLIENT).lines(longest)) == [longest]
    with pytest.raises(ValueError):
        pkt(b"x" * (LONGEST - 3))
    with pytest.raises(LimitError):
        list(Pkts(Side.CLIENT).lines(b"fff1"))
    # Both cases of digits, as git.
    assert list(Pkts(Side.CLIENT).lines(b"000Axxxxxx")) == [b"000Axxxxxx"]
    assert list(Pkts(Side.CLIENT).lines(b"0004")) == [b"0004"]


def test_content() -> None:
    assert content(pkt(b"have 1\n")) == b"have 1"
    assert content(pkt(b"have 1")) == b"have 1"
    assert content(pkt(b"a\n\n")) == b"a\n"


def test_single_bytes_cost_their_number() -> None:
    line = pkt(b"x" * (LONGEST - 4)) * 4
    pkts = Pkts(Side.CLIENT)
    begin = time.perf_counter()
    count = sum(len(list(pkts.lines(line[at : at + 1]))) for at in range(len(line)))
    assert count == 4
    assert time.perf_counter() - begin < 3
