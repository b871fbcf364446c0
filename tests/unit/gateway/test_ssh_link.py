"""A link between a loop that does as it is told and a real socketpair."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway.ssh_link import HIGH, Link
from protocols.errors import WireError
from protocols.ssh.frames import LONGEST, Frames, Kind, frame
from protocols.wire import Side


class Timer:
    def cancel(self) -> None:
        pass


class Loop:
    """Remembers what it was asked; ``turn`` does it once."""

    def __init__(self) -> None:
        self.readers: dict[Any, Callable[[], None]] = {}
        self.writers: dict[Any, Callable[[], None]] = {}
        self.soon: list[Callable[[], object]] = []
        self.later: list[Callable[[], object]] = []

    def add_reader(self, fd: Any, callback: Callable[[], None], /) -> None:
        self.readers[fd] = callback

    def remove_reader(self, fd: Any, /) -> bool:
        return self.readers.pop(fd, None) is not None

    def add_writer(self, fd: Any, callback: Callable[[], None], /) -> None:
        self.writers[fd] = callback

    def remove_writer(self, fd: Any, /) -> bool:
        return self.writers.pop(fd, None) is not None

    def call_soon(self, callback: Callable[[], object], /) -> Any:
        self.soon.append(callback)

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Any:
        self.later.append(callback)
        return Timer()

    def turn(self) -> None:
        soon, self.soon = self.soon, []
        for call in [*soon, *self.readers.values(), *self.writers.values()]:
            call()


class Speaker:
    def __init__(self) -> None:
        self.heard: list[tuple[Kind, bytes]] = []
        self.lost: list[str] = []
        self.flows: list[bool] = []

    def frame_received(self, kind: Kind, body: bytes) -> None:
        if kind is Kind.GOODBYE:
            raise WireError(Side.UPSTREAM, "out of turn")
        self.heard.append((kind, body))

    def link_lost(self, why: str) -> None:
        self.lost.append(why)

    def link_flows(self, flows: bool) -> None:
        self.flows.append(flows)


class Pair:
    def __init__(self) -> None:
        self.loop, self.speaker = Loop(), Speaker()
        self.far, near = socket.socketpair()
        for sock in (self.far, near):
            sock.setblocking(False)
        self.link = Link(self.loop, near, Side.CLIENT, self.speaker)
        self.frames = Frames(Side.CLIENT)

    def arrived(self) -> list[tuple[Kind, bytes]]:
        """All frames, the loop turning until there are no more; ``[]`` at the end."""
        out: list[tuple[Kind, bytes]] = []
        while True:
            self.loop.turn()
            try:
                raw = self.far.recv(1 << 20)
            except BlockingIOError:
                return out
            if not raw:
                return out
            out += [tuple(said) for said in self.frames.feed(raw)]


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.link.abort()
    made.far.close()


def test_data_that_pile_up_are_joined_and_the_rest_keeps_its_order(pair: Pair) -> None:
    for _ in range(1000):
        pair.link.send(Kind.DATA, b"x")
    pair.link.send(Kind.STDERR, b"e")
    pair.link.send(Kind.DATA, b"y")
    pair.link.send(Kind.EXIT, b"\0\0\0\0")
    assert pair.arrived() == [
        (Kind.DATA, b"x" * 1000), (Kind.STDERR, b"e"), (Kind.DATA, b"y"), (Kind.EXIT, b"\0\0\0\0"),
    ]  # fmt: skip


def test_what_is_long_takes_several_frames(pair: Pair) -> None:
    pair.link.send(Kind.DATA, bytes(LONGEST + 7))
    assert [len(body) for _, body in pair.arrived()] == [LONGEST, 7]


def test_a_full_link_says_so_and_again_when_it_flows(pair: Pair) -> None:
    sent = 0
    while not pair.speaker.flows:
        pair.link.send(Kind.DATA, bytes(1 << 15))
        sent += 1 << 15
        assert sent < 8 * HIGH
    assert sum(len(body) for _, body in pair.arrived()) == sent
    assert pair.speaker.flows == [False, True]


def test_it_closes_when_everything_was_sent(pair: Pair) -> None:
    sent = 40 << 15
    for _ in range(40):
        pair.link.send(Kind.DATA, bytes(1 << 15))
    pair.link.finish()
    pair.link.send(Kind.DATA, b"too late")
    assert pair.link.open
    assert sum(len(body) for _, body in pair.arrived()) == sent
    assert not pair.link.open


def test_nothing_is_read_while_it_is_held(pair: Pair) -> None:
    pair.link.hold("a")
    pair.link.hold("b")
    pair.far.send(frame(Kind.DATA, b"x"))
    pair.loop.turn()
    pair.link.release("a")
    pair.loop.turn()
    assert pair.speaker.heard == []
    pair.link.release("b")
    pair.loop.turn()
    assert pair.speaker.heard == [(Kind.DATA, b"x")]


def test_the_far_end_is_missed_even_while_it_is_held(pair: Pair) -> None:
    pair.link.hold("a")
    pair.far.send(frame(Kind.DATA, b"x"))
    pair.loop.later[-1]()
    assert pair.speaker.lost == []
    pair.far.close()
    pair.loop.later[-1]()
    assert pair.speaker.heard == [(Kind.DATA, b"x")]
    assert pair.speaker.lost == [""]


def test_a_frame_out_of_turn_loses_the_link(pair: Pair) -> None:
    pair.far.send(frame(Kind.GOODBYE, b"") + frame(Kind.DATA, b"x"))
    pair.loop.turn()
    assert pair.speaker.heard == []
    assert len(pair.speaker.lost) == 1
    assert "out of turn" in pair.speaker.lost[0]
    assert not pair.loop.readers


@pytest.mark.parametrize("finish", [False, True])
def test_last_words_are_heard_though_nothing_can_be_sent_any_more(pair: Pair, finish: bool) -> None:
    pair.far.send(frame(Kind.DATA, b"half"))
    pair.far.close()
    pair.link.send(Kind.EOF)
    if finish:
        pair.link.finish()
    for call in pair.loop.soon:  # the flush comes before the socket is looked at
        call()
    assert pair.speaker.heard == [(Kind.DATA, b"half")]
    assert pair.speaker.lost == [""]
    assert pair.link.open is not finish
    assert not pair.loop.readers
