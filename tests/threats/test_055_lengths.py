"""Row 55: lengths that lie, before and after the login: the session ends, nothing
of the message moves, and nothing is allocated on a stranger's word.

Goes red without the ``impossible length`` check of ``ClientLane.scan``.
"""

from __future__ import annotations

import struct

import pytest
from stack import Stack
from wire import SYNC, Wire, bind, enter, frame, parse, query, startup

CANARY = "SELECT 'moved past a broken frame'"


def resident(pid: int) -> int:
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


@pytest.mark.parametrize("kind", list("QPBEDCSHdcfXFp"))
@pytest.mark.parametrize("length", [0, 1, 2, 3, 2**31 - 1, 2**31, 2**32 - 1])
def test_impossible_lengths(anything: Stack, kind: str, length: int) -> None:
    assert anything.process is not None
    before = resident(anything.process.pid)
    with enter(anything) as wire:
        wire.send(kind.encode() + struct.pack(">I", length) + query(CANARY))
        answer = wire.rest()
        assert answer.errors, "no farewell"
        assert answer.errors[-1]["S"] == "FATAL"
        assert answer.errors[-1]["C"] in ("08P01", "54000")
        assert not answer.rows, "a message behind a broken one was answered"
    assert resident(anything.process.pid) - before < 20_000, "kB grown"


@pytest.mark.parametrize("length", [0, 1, 3, 7, 8, 10_005, 2**31 - 1, 2**32 - 1])
def test_impossible_lengths_of_the_startup(anything: Stack, length: int) -> None:
    with Wire(anything.port) as wire:
        wire.send(struct.pack(">I", length) + startup()[4:] + query(CANARY))
        answer = wire.until("E")
        assert set(answer.kinds) <= {"E"}
        assert wire.rest() == []


@pytest.mark.parametrize("length", [0, 3, 4, 5, 100_000, 2**32 - 1])
def test_impossible_lengths_of_the_password(anything: Stack, length: int) -> None:
    with Wire(anything.port) as wire:
        wire.send(startup())
        assert wire.until("R").kinds == "R"
        wire.send(b"p" + struct.pack(">I", length) + b"x\0" + query(CANARY))
        answer = wire.rest()
        assert set(answer.kinds) <= {"E"}
        assert answer.code in ("08P01", "28P01", "54000")


def body(*parts: bytes) -> bytes:
    return frame("B", b"\0\0" + b"".join(parts))


def s(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}h", *numbers)


def i(number: int) -> bytes:
    return struct.pack(">i", number)


BINDS = {
    "a field of -2": body(s(0, 1), i(-2), s(0)),
    "a field of -2**31": body(s(0, 1), i(-(2**31)), s(0)),
    "a field past the end": body(s(0, 1), i(1000), b"x", s(0)),
    "a field of 2**31-1": body(s(0, 1), i(2**31 - 1), s(0)),
    "fewer fields than counted": body(s(0, 3), i(1), b"x", s(0)),
    "more fields than counted": body(s(0, 1), i(1), b"x", i(1), b"y", s(0)),
    "a count of -1": body(s(0, -1), s(0)),
    "formats without values": body(s(2, 0), s(0)),
    "more formats than values": body(s(2, 0, 0, 1), i(1), b"x", s(0)),
    "a format of 7": body(s(1, 7, 1), i(1), b"x", s(0)),
    "no result formats": body(s(0, 1), i(1), b"x"),
    "a byte too much": body(s(0, 1), i(1), b"x", s(0), b"\0"),
    "no end of the name": frame("B", b"portal"),
    "empty": frame("B", b""),
}


@pytest.mark.parametrize("name", BINDS)
def test_a_bind_that_does_not_add_up(anything: Stack, name: str) -> None:
    with enter(anything) as wire:
        wire.send(parse("", "SELECT $1::text"), BINDS[name], SYNC, query(CANARY))
        answer = wire.until("Z")
        assert answer.errors, "a Bind that lies was believed"
        if answer.status:  # the server's own complaint: it must be in step with us
            assert wire.until().rows == [[b"moved past a broken frame"]]


@pytest.mark.parametrize(
    "raw",
    [
        frame("P", b"name"),
        frame("P", b"\0SELECT 1"),
        frame("P", b"\0SELECT 1\0" + s(5)),
        frame("P", b"\0SELECT 1\0" + s(-1)),
        frame("P", b"\0SELECT 1\0" + s(0) + b"x"),
        frame("Q", b"SELECT 1"),
        frame("Q", b"SELECT 1\0SELECT 2\0"),
        frame("Q", b""),
        frame("E", b"\0"),
        frame("E", b"\0" + i(0) + b"x"),
        frame("D", b"X\0"),
        frame("D", b"S"),
        frame("C", b""),
        frame("S", b"x"),
        frame("H", b"x"),
        frame("f", b"no end"),
        b"\0" + i(4),
        b"\xff" + i(4),
        b"R" + i(8) + i(0),
        b"p" + i(6) + b"x\0",
    ],
)
def test_messages_that_do_not_add_up(anything: Stack, raw: bytes) -> None:
    with enter(anything) as wire:
        wire.send(raw, SYNC, query(CANARY))
        answer = wire.rest()
        assert answer.errors
        assert answer.errors[-1]["S"] == "FATAL"
        assert not answer.rows


def test_a_good_bind_still_works(anything: Stack) -> None:
    with enter(anything) as wire:
        answer = wire.say(
            parse("", "SELECT $1::text"), bind("", "", b"x"), frame("E", b"\0" + i(0))
        )
        assert answer.rows == [[b"x"]]
