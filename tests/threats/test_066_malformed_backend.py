"""Row 66: a server that breaks the protocol costs its own session, never the process,
and nothing of what it says after that reaches the client.

Goes red when ``Session._receive`` lets WireError pass.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from mock_upstream import READY, Call, columns, complete, data
from wire import Wire, enter, frame, query

if TYPE_CHECKING:
    from conftest import Staged


def i32(n: int) -> bytes:
    return struct.pack(">I", n)


BROKEN = {
    "unknown type": frame("?", b"x"),
    "type zero": b"\0" + i32(4),
    "a client's type": frame("Q", b"SELECT 1\0"),
    "length 0": b"D" + i32(0),
    "length 3": b"C" + i32(3),
    "length 2**31-1": b"D" + i32(2**31 - 1),
    "length 2**32-1": b"E" + i32(2**32 - 1),
    "ready with a long body": frame("Z", b"II"),
    "ready with a strange status": frame("Z", b"X"),
    "ready empty": frame("Z"),
    "ready twice": READY + READY,
    "row without columns": data(b"x") + complete("SELECT 1") + READY,
    "parse complete unasked": frame("1") + READY,
    "bind complete unasked": frame("2") + READY,
    "close complete unasked": frame("3") + READY,
    "authentication again": frame("R", i32(0)),
    "asks for a password again": frame("R", i32(3)),
    "key again": frame("K", i32(1) + i32(2)),
    "copy both": frame("W", b"\0\0\0"),
    "negotiate": frame("v", i32(0) + i32(0)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_session_ends(staged: Staged, name: str) -> None:
    marker = columns("x") + data(b"said after the break") + complete("SELECT 1") + READY

    def script(call: Call) -> None:
        if call.message() is not None:
            call.say(BROKEN[name], marker)
            while call.sock.recv(4096):
                pass

    stack = staged.play(script)
    with enter(stack) as wire:
        answer = wire.send(query("SELECT 1")).rest()
        assert b"said after the break" not in wire.seen, answer
        assert wire.ended
        assert answer.errors, "a farewell"
        assert answer.errors[-1]["S"] == "FATAL"
        assert answer.errors[-1]["C"] == "08006"
    assert stack.process is not None
    assert stack.process.poll() is None
    assert "Traceback" not in stack.output()
    assert "internal error" not in stack.output()


LIES = {
    "error without a code": frame("E", b"SERROR\0Mno code\0\0") + READY,
    "error without anything": frame("E", b"\0") + READY,
    "error without its end": frame("E", b"SERROR\0C42601") + READY,
    "error empty": frame("E") + READY,
    "error in latin1": frame("E", b"SERROR\0C42601\0M\xe4\0\0") + READY,
    "notice empty": frame("N") + complete("X") + READY,
    "row count lies high": columns("a") + frame("D", b"\0\x05" + i32(1) + b"x") + READY,
    "row count lies low": columns("a", "b") + frame("D", b"\0\0") + READY,
    "row count -1": columns("a") + frame("D", b"\xff\xff") + READY,
    "row field -2": columns("a") + frame("D", b"\0\1" + i32(2**32 - 2)) + READY,
    "row field too long": columns("a") + frame("D", b"\0\1" + i32(100) + b"x") + READY,
    "row too long": columns("a") + frame("D", b"\0\1" + i32(1) + b"xyz") + READY,
    "columns count lies": frame("T", b"\0\x09a\0") + READY,
    "columns empty": frame("T") + READY,
    "columns without a name's end": frame("T", b"\0\1abc") + READY,
    "parameter without a value": frame("S", b"x") + complete("X") + READY,
    "notification short": frame("A", b"\0") + complete("X") + READY,
    "complete without end": frame("C", b"SELECT 1") + READY,
    "copy out short": frame("H") + READY,
}


@pytest.mark.parametrize("name", LIES)
def test_lies_inside_of_messages_kill_nobody(staged: Staged, name: str) -> None:
    """Where no mask looks at a result it passes as it is; the next session works."""

    def script(call: Call) -> None:
        while (message := call.message()) is not None and message[0] != "X":
            call.say(LIES[name])

    stack = staged.play(script)
    with enter(stack) as wire:
        wire.send(query("SELECT 1")).until()
    staged.play(None)
    enter(stack).close()
    assert "Traceback" not in stack.output()
    assert "internal error" not in stack.output()


@pytest.mark.parametrize("size", [1, 4, 5, 6, 30])
def test_a_server_that_goes_away_inside_of_a_message(staged: Staged, size: int) -> None:
    whole = columns("x") + data(b"y" * 100)

    def script(call: Call) -> None:
        call.message()
        call.say(whole[:size])

    with enter(staged.play(script)) as wire:
        answer = wire.send(query("SELECT 1")).until()
        assert answer.errors, "told, not just dropped"
        assert answer.errors[-1]["S"] == "FATAL"


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"",
        bytes(4000),
        frame("R", b""),
        frame("R", b"\0\0"),
        frame("R", i32(0)) + frame("Z", b"T"),
        frame("R", i32(0)) + READY,
        frame("R", i32(0)) + frame("S", b"client_encoding\0SQL_ASCII\0") + READY,
        frame("R", i32(0)) * 2,
        frame("R", i32(0)) + frame("K", b"short") + READY,
        frame("R", i32(0)) + frame("K", i32(1) * 2) + frame("K", i32(1) * 2) + READY,
        frame("R", i32(0)) + frame("S", b"a\0b\0") * 2 + frame("T", b"\0\0"),
        b"".join(frame("S", b"p%d\0v\0" % n) for n in range(400)),
        frame("R", i32(0)) + b"".join(frame("S", b"p%d\0v\0" % n) for n in range(400)),
        frame("R", i32(0)) + frame("N", b"x" * 70_000),
        frame("E", b"\0"),
        frame("E", b"SFATAL\0C53300\0Mtoo many\0\0"),
    ],
    ids=range(17),
)
def test_a_login_that_makes_no_sense(staged: Staged, raw: bytes) -> None:
    def script(call: Call) -> None:
        call.packet()
        call.say(raw)
        call.sock.shutdown(1)
        while call.sock.recv(4096):
            pass

    stack = staged.play(script, raw=True)
    with Wire(stack.port) as wire:
        answer = wire.login(stack.token())
        answer += wire.rest() if "E" not in answer.kinds else []
        assert "Z" not in answer.kinds
        assert answer.errors
        assert answer.errors[-1]["S"] == "FATAL"
    assert "Traceback" not in stack.output()
    assert "internal error" not in stack.output()


def test_an_answer_without_a_question(staged: Staged) -> None:
    def script(call: Call) -> None:
        call.say(complete("DROP TABLE"), READY)
        while call.message() is not None:
            pass

    with enter(staged.play(script)) as wire:
        answer = wire.rest()
        assert answer.errors[-1]["C"] == "08006"
        assert not answer.tags
