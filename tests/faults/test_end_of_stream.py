"""The end of the stream at every byte of a login and a query, on either leg."""

from __future__ import annotations

import socket
import struct

import pytest
from mock_upstream import READY, Call, MockUpstream, columns, complete, data
from process import at_rest, descriptors, pid, soon
from stack import Stack
from wire import TERMINATE, Wire, enter, frame, query, startup

ANSWER = columns("n") + data(b"1") + complete("SELECT 1") + READY


def answering(call: Call) -> None:
    while (message := call.message()) is not None and message[0] != "X":
        call.say(ANSWER)


def reset(sock: socket.socket) -> None:
    """Close with a RST in place of a FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def still_serves(stack: Stack, mock: MockUpstream) -> None:
    mock.script, mock.raw = answering, False
    with enter(stack) as wire:
        assert wire.ask("select 1").tags == ["SELECT 1"]
        wire.send(TERMINATE)


@pytest.mark.parametrize("broken", [False, True], ids=["fin", "rst"])
def test_a_client_that_stops_at_any_byte(
    before_mock: Stack, mock: MockUpstream, broken: bool
) -> None:
    stack = before_mock
    number = pid(stack)
    baseline = at_rest(number)
    still_serves(stack, mock)
    token = stack.token()
    parts = [
        startup({"user": "agent", "database": "shop"}),
        frame("p", token.encode() + b"\0"),
        query("select 1"),
        query("select 2") + TERMINATE,
    ]
    # After which of the server's messages each part is sent.
    awaited = ["", "R", "Z", "Z"]
    whole = len(b"".join(parts))
    # The middle of the token is 500 times the same thing.
    middle = range(len(parts[0]) + 20, len(parts[0] + parts[1]) - 20)
    for cut in range(0, whole, 7 if broken else 1):
        if cut in middle and cut % 25:
            continue
        left = cut
        wire = Wire(stack.port)
        for part, kinds in zip(parts, awaited, strict=True):
            if kinds:
                got = wire.until(kinds)
                assert got.kinds[-1:] == kinds, (cut, got)
            wire.send(part[:left])
            left -= len(part)
            if left < 0:
                break
        if broken:
            reset(wire.sock)
        else:
            wire.sock.shutdown(socket.SHUT_WR)
            last = wire.rest()  # whole messages to the end, or an assertion
            assert not [e for e in last.errors if e["C"] == "XX000"], (cut, last)
            wire.close()
    soon(lambda: descriptors(number) <= baseline, "every descriptor is closed")
    still_serves(stack, mock)


@pytest.mark.parametrize("broken", [False, True], ids=["fin", "rst"])
def test_an_upstream_that_stops_at_any_byte(
    before_mock: Stack, mock: MockUpstream, broken: bool
) -> None:
    stack = before_mock
    number = pid(stack)
    greeting = frame("R", struct.pack(">I", 0))
    for name, value in (
        ("client_encoding", "UTF8"),
        ("standard_conforming_strings", "on"),
        ("server_version", "15.0"),
    ):
        greeting += frame("S", f"{name}\0{value}\0".encode())
    greeting += frame("K", struct.pack(">II", 4711, 1234)) + READY
    stream = greeting + ANSWER
    token = stack.token()
    baseline = at_rest(number)
    still_serves(stack, mock)
    for cut in range(0, len(stream), 1 if not broken else 5):

        def script(call: Call, cut: int = cut) -> None:
            call.packet()
            call.say(stream[: min(cut, len(greeting))])
            if cut > len(greeting):
                call.message()
                call.say(stream[len(greeting) : cut])
            if broken:
                reset(call.sock)

        mock.script, mock.raw = script, True
        with Wire(stack.port) as wire:
            login = wire.login(token)
            if cut < len(greeting):
                assert login.errors, (cut, login)
                continue
            assert login.status == "I", (cut, login)
            answer = wire.send(query("select 1")).rest()
            # Inside of a message nothing can be said to the client but the end.
            if answer.errors:
                assert answer.error["S"] == "FATAL", (cut, answer)
    soon(lambda: descriptors(number) <= baseline, "every descriptor is closed")
    still_serves(stack, mock)
