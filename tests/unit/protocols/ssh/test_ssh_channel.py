"""What leaves in frames is what the lane said, and every byte is told of once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from protocols.outbox import Outbox
from protocols.ssh.channel import Channel
from protocols.ssh.frames import HEADER, LONGEST, Frames, Kind, frame
from protocols.wire import Mark, Move, Side, Span

CLIENT, UPSTREAM = Side.CLIENT, Side.UPSTREAM


class Scene:
    """A channel, the leg's bytes so far, and what its spans say."""

    def __init__(self) -> None:
        self.outbox = Outbox()
        self.channel = Channel(self.outbox)
        self.inner = Outbox()
        self.arrived = b""
        self.left = b""

    def frame(self, body: bytes) -> None:
        """``body`` arrives from the client, the inner outbox says what came of it."""
        raw = frame(Kind.DATA, body)
        self.arrived += raw
        spans = self.inner.drain()
        if self.channel.passes(CLIENT, body, spans):
            self.outbox.pass_on(CLIENT, raw)
        else:
            self.channel.arrived(CLIENT, raw, spans)
        self.look()

    def later(self) -> None:
        self.channel.left(self.inner.drain())
        self.look()

    def look(self) -> None:
        for move, side, _mark, raw, offset in self.outbox.drain():
            if move is Move.SEND:
                assert side is UPSTREAM
                self.left += raw
                continue
            assert side is CLIENT
            assert self.arrived[offset : offset + len(raw)] == raw, "a wrong place"
            if move is not Move.TAKE:
                self.left += raw

    @property
    def out(self) -> bytes:
        """What leaves, without frames."""
        return b"".join(f.body for f in Frames(CLIENT).feed(self.left))


def test_a_body_that_passes_whole_is_the_frame_itself() -> None:
    scene = Scene()
    scene.inner.pass_on(CLIENT, b"abc")
    scene.inner.pass_on(CLIENT, b"def")
    scene.frame(b"abcdef")
    assert scene.left == scene.arrived


def test_a_part_that_passes_leaves_in_a_frame_of_ours() -> None:
    scene = Scene()
    scene.inner.pass_on(CLIENT, b"abc")
    scene.inner.take(CLIENT, b"def")
    scene.frame(b"abcdef")
    assert scene.out == b"abc"
    scene.inner.forward(CLIENT, b"def", 3)
    scene.later()
    assert scene.out == b"abcdef"


def test_marks_are_kept() -> None:
    outbox, inner = Outbox(), Outbox()
    inner.take(CLIENT, b"secret", Mark.EDITED)
    inner.send(UPSTREAM, b"******", Mark.EDITED)
    Channel(outbox).arrived(CLIENT, frame(Kind.DATA, b"secret"), inner.drain())
    spans = outbox.drain()
    assert Span(Move.TAKE, CLIENT, Mark.EDITED, b"secret", HEADER) in spans
    assert spans[-1] == Span(Move.SEND, UPSTREAM, Mark.EDITED, frame(Kind.DATA, b"******"), -1)


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=8), st.data())
def test_what_was_taken_leaves_later_by_its_place(
    bodies: list[bytes], draws: st.DataObject
) -> None:
    scene = Scene()
    for body in bodies:
        scene.inner.take(CLIENT, body)
        scene.frame(body)
    stream = b"".join(bodies)
    at = 0
    while at < len(stream):
        size = draws.draw(st.integers(1, len(stream) - at))
        scene.inner.forward(CLIENT, stream[at : at + size], at)
        scene.later()
        at += size
    assert scene.out == stream


def test_more_than_a_frame_holds_leaves_in_several() -> None:
    scene = Scene()
    piece = bytes(range(256)) * (LONGEST // 256)
    for _ in range(3):
        scene.inner.take(CLIENT, piece)
        scene.frame(piece)
    scene.inner.forward(CLIENT, (piece * 3)[100:-100], 100)
    scene.later()
    assert scene.out == (piece * 3)[100:-100]
