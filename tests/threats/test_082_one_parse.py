"""Row 82: what is judged is what is sent.

For PostgreSQL there is no serialiser that could differ: the bytes that were parsed are
the bytes that go upstream, the very same slice, and what isn't allowed is not sent in
any form. So the row can't arise as a difference of two texts; this test holds the
gateway to that (a mock server writes down what it hears), and the differential of the
parser is row 57's.
Goes red when ``ClientLane._drop`` sends on what it should keep.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mock_upstream import NO_PASSWORD, READY, Call, MockUpstream, complete
from wire import SYNC, bind, close, describe, enter, execute, frame, parse, query

if TYPE_CHECKING:
    from collections.abc import Callable

    from stack import Stack

POLICY = """
version = 1
default = "allow"

[[rule]]
id = "no-delete"
on = "sql.delete"
verdict = "block"
"""
TEXTS = [
    "SELECT 1",
    "select  1 ;",
    "SELECT 'ä\\u2028'",
    "/* x */ SELECT 2 -- y",
    " ",
    "\tVALUES (1)\n",
]


def answer(call: Call) -> None:
    reply = {"Q": complete("SELECT 0") + READY, "P": frame("1"), "B": frame("2"),
             "E": complete("SELECT 0"), "D": frame("n"), "C": frame("3"), "S": READY}  # fmt: skip
    while (message := call.message()) is not None and message[0] != "X":
        call.say(reply.get(message[0], b""))


def test_the_same_bytes(started: Callable[..., Stack]) -> None:
    mock = MockUpstream(answer)
    stack = started(mock, policy=POLICY, target=NO_PASSWORD)
    raw = b"".join(map(query, TEXTS))
    for number, text in enumerate(TEXTS):
        raw += parse(f"s{number}", text) + describe("S", f"s{number}")
        raw += bind("p", f"s{number}", results=(1,)) + execute("p", number) + close("P", "p") + SYNC
    with enter(stack) as wire:
        for size in (len(raw), 7):
            call = mock.calls[-1]
            at = len(call.heard)
            for start in range(0, len(raw), size):
                wire.send(raw[start : start + size])
            for _ in range(2 * len(TEXTS)):
                assert wire.until().status == "I"
            assert bytes(call.heard[at:]) == raw
            if size == len(raw):
                wire.send(*[close("S", f"s{n}") for n in range(len(TEXTS))], SYNC).until()


def test_nothing_of_a_refused_one(started: Callable[..., Stack]) -> None:
    mock = MockUpstream(answer)
    stack = started(mock, policy=POLICY, target=NO_PASSWORD)
    with enter(stack) as wire:
        wire.send(query("DELETE FROM canary_one"), parse("", "DELETE FROM canary_two"), SYNC)
        wire.send(query("SELECT 'after'"))
        wire.quiet(0.5)
        heard = bytes(mock.calls[-1].heard)
    assert b"canary" not in heard
    assert b"DELETE" not in heard
