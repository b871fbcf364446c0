from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import LimitError, WireError
from protocols.ssh.frames import LONGEST, Frame, Frames, Kind, data, frame, texts, untexts
from protocols.wire import Side

FRAMES = st.lists(st.tuples(st.sampled_from(list(Kind)), st.binary(max_size=40)), max_size=12)


def test_a_frame_on_the_wire() -> None:
    assert frame(Kind.DATA, b"0000") == b"d\0\0\0\x040000"
    assert frame(Kind.EOF) == b"f\0\0\0\0"


@given(FRAMES, st.data())
def test_any_cut_gives_the_same_frames(
    frames: list[tuple[Kind, bytes]], draws: st.DataObject
) -> None:
    raw = b"".join(frame(kind, body) for kind, body in frames)
    cuts = sorted(draws.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    reader, got = Frames(Side.CLIENT), []
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        got += reader.feed(raw[start:end])
    assert got == [Frame(kind, body) for kind, body in frames]
    assert reader.waiting == 0


def test_single_bytes_of_a_long_frame_are_not_joined_again_and_again() -> None:
    raw = frame(Kind.DATA, bytes(LONGEST))
    reader = Frames(Side.UPSTREAM)
    for at in range(len(raw) - 1):
        assert reader.cut(raw[at : at + 1]) == (b"", []) or at < 5
    assert reader.waiting == len(raw) - 1
    assert reader.feed(raw[-1:]) == [Frame(Kind.DATA, bytes(LONGEST))]


def test_no_kind_is_the_side_s_fault() -> None:
    with pytest.raises(WireError) as caught:
        Frames(Side.UPSTREAM).feed(b"?\0\0\0\0")
    assert caught.value.side is Side.UPSTREAM


def test_a_body_over_the_limit_is_refused_by_its_header() -> None:
    with pytest.raises(LimitError):
        Frames(Side.CLIENT).feed(b"d" + (LONGEST + 1).to_bytes(4, "big"))
    with pytest.raises(ValueError, match="several frames"):
        frame(Kind.DATA, bytes(LONGEST + 1))


def test_what_an_error_left_is_told_once() -> None:
    reader = Frames(Side.CLIENT)
    reader.feed(b"d\0\0")
    with pytest.raises(WireError):
        reader.feed(b"\0\x01x?\0\0\0\0")
    assert reader.spill(b"\0\x01x?\0\0\0\0") == b"d\0\0\0\x01x?\0\0\0\0"
    assert reader.waiting == 0


def test_long_data_takes_several_frames() -> None:
    body = bytes(range(256)) * (LONGEST // 128)
    got = Frames(Side.CLIENT).feed(data(Kind.STDERR, body))
    assert [kind for kind, _ in got] == [Kind.STDERR, Kind.STDERR]
    assert b"".join(piece for _, piece in got) == body
    assert data(Kind.DATA, b"") == b""


@given(st.lists(st.binary(max_size=30), max_size=5))
def test_texts_come_back(bodies: list[bytes]) -> None:
    assert untexts(texts(*bodies)) == bodies


@pytest.mark.parametrize("cut", [b"\0", b"\0\0\0\x02a", texts(b"x") + b"\0\0\0\x01"])
def test_texts_cut_short_are_none(cut: bytes) -> None:
    with pytest.raises(ValueError, match="cut short"):
        untexts(cut)
