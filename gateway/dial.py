"""Opening the upstream leg."""

from __future__ import annotations

import socket

import trio

from gateway.leg import Leg

KEEPALIVE_IDLE = 60
KEEPALIVE_INTERVAL = 15
KEEPALIVE_COUNT = 4


class DialError(Exception):
    """The upstream can't be reached; the text is fit for the client."""


async def dial(host: str, port: int, seconds: float) -> Leg:
    """Connect to ``host:port`` within ``seconds``; raises DialError.

    A host that is a path is a Unix socket's directory, as libpq takes it.
    """
    with trio.move_on_after(seconds or float("inf")) as scope:
        try:
            stream = await trio.open_tcp_stream(host, port)
        except OSError as error:
            raise DialError(f"can't connect to the upstream: {_why(error)}") from error
        sock = _release(stream.socket)
        tune(sock)
        return Leg(sock)
    assert scope.cancelled_caught
    raise DialError(f"the upstream did not answer within {seconds:g} s")


def tune(sock: socket.socket) -> None:
    """No delay for small messages, and find out about dead peers."""
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_COUNT)


def _release(wrapped: trio.socket.SocketType) -> socket.socket:
    """The plain socket inside trio's: the reactor drives it from here on."""
    plain = socket.socket(fileno=wrapped.detach())
    plain.setblocking(False)
    return plain


def _why(error: OSError) -> str:
    if isinstance(error.__cause__, OSError) and error.__cause__.strerror:
        return error.__cause__.strerror.lower()
    if isinstance(error.__cause__, BaseExceptionGroup):
        for inner in error.__cause__.exceptions:
            if isinstance(inner, OSError) and inner.strerror:
                return inner.strerror.lower()
    return error.strerror.lower() if error.strerror else "all addresses failed"
