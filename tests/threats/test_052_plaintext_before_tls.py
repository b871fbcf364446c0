"""Row 52: what was said before TLS must not count as said under TLS.

Both sides: a client (or someone in between) that says more than SSLRequest in
one go, and a server that says more than ``S``. Goes red without the
length check behind ``S`` in ``Doorway.receive``.
"""

from __future__ import annotations

import ssl
import struct
import time
from collections.abc import Callable

import pytest
from mock_upstream import NO_PASSWORD, Call, MockUpstream
from stack import Stack
from wire import SSL_REQUEST, Wire, fields, frame, query, startup


@pytest.mark.parametrize(
    "early",
    [
        startup(),
        startup() + frame("p", b"secret\0"),
        query("DELETE FROM users"),
        SSL_REQUEST,
        b"\x16",
        b"\0",
    ],
    ids=["startup", "startup and password", "query", "ssl again", "a byte of TLS", "a byte"],
)
@pytest.mark.parametrize("pause", [0.0, 0.03], ids=["together", "later"])
def test_a_client_that_speaks_too_early_is_cut(anything: Stack, early: bytes, pause: float) -> None:
    with Wire(anything.port) as wire:
        if pause:
            # In a segment of its own, and read before the handshake began or as the
            # first bytes of it: never as protocol.
            wire.send(SSL_REQUEST)
            assert wire.byte() == b"S"
            time.sleep(pause)
            wire.send(early)
            if len(early) == 1:  # OpenSSL would wait for a whole record
                wire.sock.shutdown(1)
        else:
            wire.send(SSL_REQUEST + early)
        while wire.fill():
            pass
        said = bytes(wire.seen).removeprefix(b"S")
        # Nothing that a PostgreSQL client could take for an answer: a TLS alert at most.
        assert said[:1] in (b"", b"\x15"), said
        assert b"Authentication" not in said


def test_a_password_before_tls_is_not_used_under_tls(anything: Stack) -> None:
    """The attack of CVE-2021-23214: inject a Query, let the victim log in."""
    injected = startup() + frame("p", anything.token().encode() + b"\0")
    with Wire(anything.port) as wire:
        wire.send(SSL_REQUEST + injected)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        wire.byte()
        with pytest.raises((ssl.SSLError, OSError)):
            context.wrap_socket(wire.sock)


@pytest.mark.parametrize(
    "extra",
    [frame("R", struct.pack(">I", 0)), frame("Z", b"I"), b"\0", b"S"],
    ids=["ok", "ready", "a byte", "S"],
)
def test_a_server_that_speaks_too_early_is_left(
    started: Callable[..., Stack], extra: bytes
) -> None:
    def script(call: Call) -> None:
        assert call.packet() == SSL_REQUEST
        call.say(b"S" + extra)
        while call.sock.recv(4096):
            pass

    stack, mock = _before_tls_mock(started)
    mock.script = script
    with Wire(stack.port) as wire:
        answer = wire.login(stack.token())
        assert answer.error["C"] == "08006", answer
        assert "before TLS" in answer.error["M"]
        assert not [kind for kind, _ in answer if kind in "RZK"]
    # Nothing was said after SSLRequest, above all no startup packet in clear.
    assert bytes(mock.calls[-1].heard) == SSL_REQUEST


@pytest.mark.parametrize("word", [b"N", b"E", b"\x15", b"R"])
def test_no_plain_startup_where_tls_is_required(started: Callable[..., Stack], word: bytes) -> None:
    def script(call: Call) -> None:
        call.packet()
        call.say(word if word != b"E" else frame("E", b"SFATAL\0C08P01\0Mevil text\0\0"))
        while data := call.sock.recv(4096):
            call.heard += data

    stack, mock = _before_tls_mock(started)
    mock.script = script
    with Wire(stack.port) as wire:
        answer = wire.login(stack.token())
        assert answer.kinds == "E"
        assert "evil text" not in str(fields(answer[0][1])), "CVE-2024-10977"
    assert bytes(mock.calls[-1].heard) == SSL_REQUEST


_kept: list[tuple[Stack, MockUpstream]] = []


def _before_tls_mock(started: Callable[..., Stack]) -> tuple[Stack, MockUpstream]:
    if not _kept:
        mock = MockUpstream(raw=True)
        _kept.append((started(mock, upstream_tls="require", target=NO_PASSWORD), mock))
    return _kept[0]
