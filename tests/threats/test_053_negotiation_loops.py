"""Row 53: every order of encryption requests has one defined outcome, and none
of them ends in a startup packet in clear where TLS is required.

Goes red without the ``out of turn`` check in ``Greeting._negotiate``.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

import pytest
from stack import Stack
from wire import GSS_REQUEST, SSL_REQUEST, Wire, frame, startup

from gateway.demo.postgres import Server


def context(alpn: str = "") -> ssl.SSLContext:
    made = ssl.create_default_context()
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    if alpn:
        made.set_alpn_protocols([alpn])
    return made


@pytest.fixture(scope="module")
def strict(started: Callable[..., Stack], pg: Server) -> Stack:
    """A gateway that takes no plain text."""
    return started(pg, tls="require")


@pytest.fixture(scope="module")
def plain(started: Callable[..., Stack], pg: Server) -> Stack:
    """A gateway without TLS."""
    return started(pg, tls="off")


def test_ssl_is_refused_once_and_not_asked_for_twice(plain: Stack) -> None:
    with Wire(plain.port) as wire:
        wire.send(SSL_REQUEST)
        assert wire.byte() == b"N"
        wire.send(SSL_REQUEST)
        answer = wire.rest()
        assert answer.code == "08P01"
        assert wire.ended


def test_gss_then_ssl_then_plain(plain: Stack) -> None:
    with Wire(plain.port) as wire:
        wire.send(GSS_REQUEST)
        assert wire.byte() == b"N"
        wire.send(SSL_REQUEST)
        assert wire.byte() == b"N"
        assert wire.login(plain.token()).status == "I"


@pytest.mark.parametrize("size", [9, 7, 12, 10_004])
def test_an_encryption_request_has_one_length(plain: Stack, size: int) -> None:
    with Wire(plain.port) as wire:
        wire.send(size.to_bytes(4, "big") + SSL_REQUEST[4:] + bytes(size - 8 if size > 8 else 0))
        if size < 8:
            wire.sock.shutdown(socket.SHUT_WR)
        answer = wire.rest()
        assert answer.code in ("08P01", ""), answer
        assert "Z" not in answer.kinds


def test_gss_in_a_loop(plain: Stack) -> None:
    with Wire(plain.port) as wire:
        wire.send(GSS_REQUEST * 1000)
        assert wire.byte() == b"N"
        assert wire.rest().code == "08P01"


@pytest.mark.parametrize("first", [b"", GSS_REQUEST], ids=["at once", "after GSS"])
def test_no_plain_startup_where_tls_is_required(strict: Stack, first: bytes) -> None:
    with Wire(strict.port) as wire:
        if first:
            assert wire.send(first).byte() == b"N"
        wire.send(startup() + frame("p", strict.token().encode() + b"\0"))
        answer = wire.rest()
        assert answer.kinds == "E", "not even asked for a password"
        assert answer.code == "28000"
        assert "sslmode" in answer.error["H"]


def test_ssl_inside_of_tls(strict: Stack) -> None:
    with Wire(strict.port) as wire:
        wire.send(SSL_REQUEST)
        assert wire.byte() == b"S"
        wire.sock = context().wrap_socket(wire.sock)
        wire.send(SSL_REQUEST)
        assert wire.rest().code == "08P01"


@pytest.mark.parametrize("again", [GSS_REQUEST], ids=["gss"])
def test_gss_inside_of_tls(strict: Stack, again: bytes) -> None:
    with Wire(strict.port) as wire:
        assert wire.send(SSL_REQUEST).byte() == b"S"
        wire.sock = context().wrap_socket(wire.sock)
        wire.send(again)
        assert wire.rest().code == "08P01"


@pytest.mark.parametrize("alpn", ["", "http/1.1", "h2"])
def test_direct_tls_needs_its_alpn(strict: Stack, alpn: str) -> None:
    """Without ALPN a browser could be made to speak to us (ALPACA)."""
    with Wire(strict.port) as wire:
        try:
            wire.sock = context(alpn).wrap_socket(wire.sock)
        except (ssl.SSLError, OSError):
            return  # refused in the handshake: just as good
        wire.send(startup() + frame("p", strict.token().encode() + b"\0"))
        try:
            answer = wire.rest()
        except ssl.SSLError:
            return
        assert set(answer.kinds) <= {"E"}, answer
        assert answer.code in ("08P01", "")


def test_direct_tls_with_its_alpn(strict: Stack) -> None:
    with Wire(strict.port) as wire:
        wire.sock = context("postgresql").wrap_socket(wire.sock)
        assert wire.login(strict.token()).status == "I"
        assert wire.ask("SELECT 1").rows == [[b"1"]]


def test_direct_tls_where_there_is_none(plain: Stack) -> None:
    with Wire(plain.port) as wire, pytest.raises((ssl.SSLError, OSError)):
        context("postgresql").wrap_socket(wire.sock)
