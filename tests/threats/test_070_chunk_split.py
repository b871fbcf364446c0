"""Row 70: how the bytes are cut into reads changes nothing about what is masked.

A mock of a server sends the same answer in pieces: one byte at a time, and cut in
two at every offset.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from mock_upstream import NO_PASSWORD, READY, Call, MockUpstream, answering, columns, complete, data
from wire import Wire, enter, frame, query, startup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stack import Stack

POLICY = """
version = 1
default = "allow"

[[rule]]
id = "personal"
on = "sql.*"
verdict = "mask"
mask = { columns = "column:ssn", with = "redact" }
unresolved = "mask"
"""


@pytest.fixture(scope="module")
def cutting(started: Callable[..., Stack]) -> Iterator[tuple[Stack, MockUpstream]]:
    mock = MockUpstream()
    yield started(mock, policy=POLICY, target=NO_PASSWORD), mock
    mock.close()


ANSWER = (
    columns("ssn", "b")
    + data(b"219-09-9999", b"x")
    + data(None, b"y" * 40)
    + data(b"078-05-1120 ", b"")
    + complete("SELECT 3")
    + READY
)


def ask(cutting: tuple[Stack, MockUpstream], cuts: list[list[bytes]]) -> bytes:
    """One session that asks once per cut; all answers must be the same."""
    stack, mock = cutting

    def script(call: Call) -> None:
        todo = iter(cuts)
        while (message := call.message()) is not None and message[0] != "X":
            if message[0] == "Q":
                for piece in next(todo):
                    call.say(piece)
                    time.sleep(0.0005)

    mock.script = script
    answers = set()
    with enter(stack) as wire:
        for _ in cuts:
            at = len(wire.seen)
            answer = wire.send(query("SELECT ssn, b FROM t")).until()
            assert answer.status == "I", answer
            answers.add(bytes(wire.seen[at:]))
    assert len(answers) == 1, answers
    return answers.pop()


def whole(cutting: tuple[Stack, MockUpstream]) -> bytes:
    return ask(cutting, [[ANSWER]])


def test_whole(cutting: tuple[Stack, MockUpstream]) -> None:
    seen = whole(cutting)
    assert b"219-09" not in seen
    assert b"078-05" not in seen
    assert b"D" in seen, "masked, not refused"


def test_cut_at_every_offset(cutting: tuple[Stack, MockUpstream]) -> None:
    cuts = [[ANSWER[:at], ANSWER[at:]] for at in range(1, len(ANSWER))]
    assert ask(cutting, cuts) == whole(cutting)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11])
def test_in_small_pieces(cutting: tuple[Stack, MockUpstream], size: int) -> None:
    cut = [ANSWER[at : at + size] for at in range(0, len(ANSWER), size)]
    assert ask(cutting, [cut, cut]) == whole(cutting)


def test_the_clients_bytes_too(cutting: tuple[Stack, MockUpstream]) -> None:
    """A login and a query, one byte per segment."""
    stack, mock = cutting
    mock.script = answering(ANSWER)
    with Wire(stack.port) as wire:
        raw = startup() + frame("p", stack.token().encode() + b"\0")
        for at in range(len(raw)):
            wire.send(raw[at : at + 1])
        assert wire.until().status == "I"
        for byte in query("SELECT ssn, b FROM t"):
            wire.send(bytes([byte]))
        answer = wire.until()
        assert answer.rows[0][0] != b"219-09-9999"
        assert len(answer.rows) == 3
