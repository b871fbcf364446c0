"""Connections of ``recorder replay``: plain blocking sockets, TLS where asked for."""

from __future__ import annotations

import hashlib
import ipaddress
import socket
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from protocols.postgres.messages import SSL_REQUEST, cancel_request

CONNECT_SECONDS = 10.0
TLS_MODES = ("disable", "prefer", "require", "verify-ca", "verify-full")


def address(text: str) -> tuple[str, int]:
    """``HOST:PORT``; IPv6 in brackets. ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdecimal() and len(port) < 6):
        raise ValueError(f"not HOST:PORT: {text}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def loopback(host: str, port: int) -> bool:
    """Every address of ``host`` is this machine's own. OSError when it has none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return all(ipaddress.ip_address(str(item[4][0]).partition("%")[0]).is_loopback
               for item in found)  # fmt: skip


def context(mode: str, ca: Path | None) -> ssl.SSLContext:
    """For ``mode``; OSError when ``ca`` can't be read."""
    made = ssl.create_default_context(cafile=None if ca is None else str(ca))
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.check_hostname = mode == "verify-full"
    if mode not in ("verify-ca", "verify-full"):
        made.verify_mode = ssl.CERT_NONE
    return made


def binding(sock: ssl.SSLSocket) -> bytes | None:
    """tls-server-end-point (RFC 5929, section 4.1) of the server's certificate."""
    der = sock.getpeercert(binary_form=True)
    if der is None:
        return None
    try:
        algorithm = x509.load_der_x509_certificate(der).signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm):
        return None
    if algorithm is None:
        return None
    name = "sha256" if algorithm.name in ("md5", "sha1") else algorithm.name
    return hashlib.new(name, der).digest()


def cancel(to: tuple[str, int], key: bytes, tls: ssl.SSLContext | None) -> None:
    """Ask the server to cancel what the session with ``key`` runs. OSError."""
    with socket.create_connection(to, CONNECT_SECONDS) as plain:
        sock: socket.socket = plain
        if tls is not None:
            plain.sendall(SSL_REQUEST)
            if plain.recv(1) != b"S":
                raise OSError("the server wants no TLS for a cancel request")
            sock = tls.wrap_socket(plain, server_hostname=to[0])
        sock.sendall(cancel_request(key))
        # It hangs up when it has passed it on.
        sock.recv(1)
        if sock is not plain:
            sock.close()
