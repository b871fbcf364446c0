"""Row 54: the upstream's credential is given to SCRAM only, bound to the channel
under TLS, and only to a server that proves in turn that it knows it.

Goes red without the check of the target's ``auth`` in ``Login._ask``.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterator

import pytest
from audit import wait_sealed
from mock_upstream import Call, MockUpstream
from stack import Stack
from wire import Wire, enter, frame

from gateway.demo.postgres import Server

SECRET = "a-credential-of-the-gateway"


def ask(code: int, data: bytes = b"") -> bytes:
    return frame("R", struct.pack(">I", code) + data)


@pytest.fixture(scope="module")
def asked(started: Callable[..., Stack]) -> Iterator[tuple[Stack, MockUpstream]]:
    mock = MockUpstream(raw=True)
    yield started(mock, password=SECRET), mock
    mock.close()


def listen(*said: bytes) -> Callable[[Call], None]:
    def script(call: Call) -> None:
        call.packet()
        call.say(*said)
        while data := call.sock.recv(4096):
            call.heard += data

    return script


SASL = ask(10, b"SCRAM-SHA-256\0\0")
ATTACKS = {
    "cleartext": (ask(3), "cleartext"),
    "md5": (ask(5, b"salt"), "md5"),
    "let in without proof": (ask(0), "trust"),
    "kerberos": (ask(7), "authentication method 7"),
    "sspi": (ask(9), "authentication method 9"),
    "unknown": (ask(99), "authentication method 99"),
    "plus without tls": (ask(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"), "channel binding"),
    "unknown mechanism": (ask(10, b"PLAIN\0\0"), "no SASL mechanism"),
    "continue first": (ask(11, b"r=x,s=eA==,i=4096"), "out of turn"),
    "final first": (ask(12, b"v=eA=="), "out of turn"),
    "scram, then cleartext": (SASL + ask(3), "out of turn"),
    "scram, then ok": (SASL + ask(0), "out of turn"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_no_weaker_proof_is_given(asked: tuple[Stack, MockUpstream], name: str) -> None:
    stack, mock = asked
    said, reason = ATTACKS[name]
    mock.script = listen(said)
    with Wire(stack.port) as wire:
        answer = wire.login(stack.token())
        assert "Z" not in answer.kinds
        assert answer.error["C"] == "08006"
        assert reason in answer.error["M"], answer.error
        assert SECRET not in str(answer)
    assert SECRET.encode() not in mock.calls[-1].heard
    assert b"md5" not in mock.calls[-1].heard[:-1]


@pytest.mark.parametrize(
    "challenge",
    [
        "r={nonce}evil,s={salt},i=4096",
        "r=evil,s={salt},i=4096",
        "r={nonce},s={salt},i=4096",
        "r={nonce}evil,s={salt},i=1",
        "r={nonce}evil,s={salt},i=2147483647",
        "r={nonce}evil,s=,i=4096",
        "r={nonce}evil,s={salt},i=4096,m=x",
        "m=x,r={nonce}evil,s={salt},i=4096",
        "r={nonce}e\u0000vil,s={salt},i=4096",
        "r={nonce}evil,s={salt},i=٤٠٩٦",
    ],
)
@pytest.mark.parametrize("final", ["v=" + "A" * 43 + "=", "v=", "e=other-error", "x"])
def test_a_server_that_does_not_know_the_password_is_left(
    asked: tuple[Stack, MockUpstream], challenge: str, final: str
) -> None:
    stack, mock = asked

    def script(call: Call) -> None:
        call.packet()
        call.say(SASL)
        message = call.message()
        if message is None:
            return
        nonce = message[1].rpartition(b"r=")[2].decode()
        salt = base64.b64encode(b"sixteen bytes ok").decode()
        call.say(ask(11, challenge.format(nonce=nonce, salt=salt).encode()))
        if call.message() is None:
            return
        call.say(ask(12, final.encode()) + ask(0))
        call.say(frame("Z", b"I"))
        while call.sock.recv(4096):
            pass

    mock.script = script
    with Wire(stack.port) as wire:
        answer = wire.login(stack.token())
        assert "Z" not in answer.kinds, "a server that proved nothing was believed"
        assert answer.error["C"] == "08006"
    assert SECRET.encode() not in mock.calls[-1].heard


def test_scram_is_bound_to_the_channel(started: Callable[..., Stack], pg: Server) -> None:
    stack = started(pg, upstream_tls="require")
    enter(stack).close()
    wait_sealed(stack)
    events = stack.events(stack.sessions()[0]["session"])
    assert [e["fields"]["method"] for e in events if e["event"] == "credential"] == [
        "scram-sha-256-plus"
    ], events
