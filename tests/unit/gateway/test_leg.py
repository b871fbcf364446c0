"""Legs: non-blocking sockets with and without TLS."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest

from gateway.demo.certificate import write_certificate
from gateway.leg import Leg, LegLost
from gateway.tls import client_context, server_context


def pair() -> tuple[Leg, Leg]:
    a, b = socket.socketpair()
    return Leg(a), Leg(b)


def test_nothing_to_read_is_none_and_the_end_is_empty() -> None:
    a, b = pair()
    assert a.read() is None
    b.queue(b"hello")
    assert b.flush()
    assert a.read() == b"hello"
    b.close()
    assert a.read() == b""


def test_what_the_kernel_does_not_take_stays_pending_and_in_order() -> None:
    a, b = pair()
    sent = b"".join(bytes([i % 251]) * 7919 for i in range(400))
    for start in range(0, len(sent), 100_000):
        a.queue(sent[start : start + 100_000])
    assert not a.flush()
    assert 0 < a.pending < len(sent)
    got = b""
    while len(got) < len(sent):
        piece = b.read()
        if piece:
            got += piece
        a.flush()
    assert got == sent
    assert a.pending == 0


def test_a_reset_peer_is_a_lost_leg() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    accepted, _ = listener.accept()
    leg = Leg(accepted)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    with pytest.raises(LegLost):
        leg.read()
    listener.close()


def shaken(folder: Path, mode: str, *, alpn: str = "") -> tuple[Leg, Leg]:
    """A server leg and a client leg with TLS up."""
    certificate, key = write_certificate(folder)
    server, client = pair()
    server.start_tls(
        server_context(certificate, key, alpn), server_side=True, name=None, unread=b""
    )
    context = client_context(mode, certificate if mode.startswith("verify") else None, alpn)
    client.start_tls(context, server_side=False, name="localhost", unread=b"")
    done = [False, False]
    for _ in range(20):
        for i, leg in enumerate((client, server)):
            done[i] = done[i] or leg.shake()
            leg.flush()
        if all(done):
            return server, client
    raise AssertionError("the handshake does not end")


def test_bytes_cross_tls_whole(tmp_path: Path) -> None:
    server, client = shaken(tmp_path, "verify-full")
    sent = bytes(range(256)) * 3000
    client.queue(sent)
    got = b""
    while len(got) < len(sent):
        client.flush()
        piece = server.read()
        if piece:
            got += piece
    assert got == sent
    client.close()
    assert server.read() == b""


def test_verify_full_refuses_another_name(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    server, client = pair()
    server.start_tls(server_context(certificate, key), server_side=True, name=None, unread=b"")
    client.start_tls(
        client_context("verify-full", certificate), server_side=False, name="other", unread=b""
    )
    with pytest.raises(LegLost, match="certificate"):
        for _ in range(10):
            client.shake()
            client.flush()
            server.shake()
            server.flush()


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_verification_refuses_an_unknown_authority(tmp_path: Path, mode: str) -> None:
    certificate, key = write_certificate(tmp_path)
    (tmp_path / "other").mkdir()
    stranger, _ = write_certificate(tmp_path / "other")
    server, client = pair()
    server.start_tls(server_context(certificate, key), server_side=True, name=None, unread=b"")
    client.start_tls(
        client_context(mode, stranger), server_side=False, name="localhost", unread=b""
    )
    with pytest.raises(LegLost, match="certificate"):
        for _ in range(10):
            client.shake()
            client.flush()
            server.shake()
            server.flush()


def test_old_tls_is_refused(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    assert server_context(certificate, key).minimum_version is ssl.TLSVersion.TLSv1_2
    assert client_context("require", None).minimum_version is ssl.TLSVersion.TLSv1_2


def test_alpn_is_agreed(tmp_path: Path) -> None:
    server, client = shaken(tmp_path, "require", alpn="postgresql")
    assert server.tls is not None
    assert client.tls is not None
    assert server.tls.selected_alpn_protocol() == "postgresql"
