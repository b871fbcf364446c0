"""Connections of ``recorder replay``: plain blocking sockets, TLS where asked for."""

from __future__ import annotations

import hashlib
import ipaddress
import socket
import ssl
from pathlib import Path
from typing import NamedTuple

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


class Place(NamedTuple):
    """A host and the addresses that its name had when it was looked up, once: what was found
    to be this machine is what is connected to, whatever the name says a moment later."""

    host: str
    found: tuple[tuple[socket.AddressFamily, tuple[object, ...]], ...]

    @property
    def near(self) -> bool:
        """Every address is this machine's own loopback."""
        return all(ipaddress.ip_address(str(at[0]).partition("%")[0]).is_loopback
                   for _, at in self.found)  # fmt: skip

    def connect(self) -> socket.socket:
        """A connection to the first address that answers. OSError."""
        error: OSError = OSError(f"{self.host} has no address")
        for family, at in self.found:
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.settimeout(CONNECT_SECONDS)
                sock.connect(at)
                return sock
            except OSError as refused:
                sock.close()
                error = refused
            except BaseException:
                sock.close()
                raise
        port = self.found[0][1][1] if self.found else "?"
        raise OSError(error.errno, f"{self.host}:{port}: {error.strerror or error}")


def look_up(host: str, port: int) -> Place:
    """The addresses of ``host``. OSError when it has none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return Place(host, tuple(dict.fromkeys((item[0], item[4]) for item in found)))


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


def cancel(to: Place, key: bytes, tls: ssl.SSLContext | None) -> None:
    """Ask the server to cancel what the session with ``key`` runs. OSError."""
    with to.connect() as plain:
        sock: socket.socket = plain
        if tls is not None:
            plain.sendall(SSL_REQUEST)
            if plain.recv(1) != b"S":
                raise OSError("the server wants no TLS for a cancel request")
            sock = tls.wrap_socket(plain, server_hostname=to.host)
        sock.sendall(cancel_request(key))
        # It hangs up when it has passed it on.
        sock.recv(1)
        if sock is not plain:
            sock.close()
