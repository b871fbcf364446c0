"""Errands with an upstream that leaves before they are done."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, cast

import pytest
import trio

from gateway.errands import _converse
from gateway.leg import Leg, LegLost
from protocols.contract import Answer, Done, Examine, Question
from protocols.outbox import Outbox
from protocols.wire import Mark, Side, Span


class Asks:
    """A talk that has bytes looked into, and then says goodbye. ``at``: the bytes upon
    which it asks, empty ones for the end of the stream."""

    def __init__(self, at: bytes) -> None:
        self._outbox = Outbox()
        self._at = at
        self.heard: list[bytes] = []
        self.closing = False
        self.error = ""
        self.result: object = None

    def receive(self, side: Side, data: bytes) -> list[Question]:
        self.heard.append(data)
        return [Examine(1, "git", "survey", (), {})] if data == self._at else []

    def answer(self, number: int, answer: Answer) -> list[Question]:
        assert isinstance(answer, Done)
        self.result, self.closing = answer.result, True
        self._outbox.send(Side.UPSTREAM, b"bye", Mark.OURS)
        return []

    def moves(self) -> list[Span]:
        return self._outbox.drain()


class Looks:
    """Stands in for the relay."""

    def __init__(self, first: Callable[[], None]) -> None:
        self._first = first

    async def later(self, question: Question) -> Answer:
        self._first()
        return Done(result="seen")


def run(talk: Asks, up: socket.socket, leg: Leg, first: Callable[[], None]) -> None:
    async def main() -> None:
        with trio.fail_after(5):
            await _converse(cast(Any, Looks(first)), leg, cast(Any, talk), 1 << 20)

    try:
        trio.run(main)
    finally:
        leg.close()
        up.close()


def pair() -> tuple[socket.socket, Leg]:
    up, down = socket.socketpair()
    down.setblocking(False)
    return up, Leg(down)


def test_an_upstream_that_leaves_meanwhile_takes_no_result_away() -> None:
    up, leg = pair()
    talk = Asks(b"ask")
    up.send(b"ask")
    run(talk, up, leg, up.close)
    assert talk.result == "seen"


def test_what_is_asked_at_the_end_of_the_stream_is_answered() -> None:
    up, leg = pair()
    talk = Asks(b"")
    up.send(b"a line")
    up.close()
    run(talk, up, leg, lambda: None)
    assert talk.heard == [b"a line", b""]
    assert talk.result == "seen"


def test_last_words_of_one_that_hears_nothing_are_heard() -> None:
    """Words of ours to it are lost, its own are not."""
    up, leg = pair()
    talk = Asks(b"why it failed")
    talk._outbox.send(Side.UPSTREAM, b"unheard", Mark.OURS)
    up.send(b"why it failed")
    up.close()
    run(talk, up, leg, lambda: None)
    assert talk.heard == [b"why it failed"]
    assert talk.result == "seen"


def test_a_lost_connection_is_said_to_be_one() -> None:
    up, leg = pair()
    talk = Asks(b"never")
    leg.sock.send(b"x")  # closed upon unread bytes: a reset
    up.close()
    with pytest.raises(LegLost, match="reset"):
        run(talk, up, leg, lambda: None)
    assert talk.heard == [b""]
