"""Opening the upstream leg."""

from __future__ import annotations

import socket

import trio

from gateway.leg import Leg
from gateway.targets import Target

KEEPALIVE_IDLE = 60
KEEPALIVE_INTERVAL = 15
KEEPALIVE_COUNT = 4


class DialError(Exception):
    """The upstream can't be reached; the text is fit for the client."""


async def dial(target: Target, seconds: float) -> Leg:
    """Connect to ``target``'s upstream within ``seconds``; raises DialError.

    The name is resolved once, each address is checked, and exactly the checked
    address is dialled, so that a name can't point elsewhere in between.
    """
    host, port = target.upstream
    with trio.move_on_after(seconds) as scope:
        try:
            found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
        except OSError as error:
            raise DialError("the upstream's name can't be resolved") from error
        why = "it has no address"
        for family, kind, proto, _, address in found:
            why = target.why_not(str(address[0]))
            if why:
                continue
            try:
                return await _connect(family, kind, proto, address)
            except OSError as error:
                why = (error.strerror or str(error)).lower()
        raise DialError(f"can't connect to the upstream: {why}")
    assert scope.cancelled_caught
    raise DialError(f"the upstream did not answer within {seconds:g} s")


async def _connect(family: int, kind: int, proto: int, address: tuple[object, ...]) -> Leg:
    sock = trio.socket.socket(family, kind, proto)
    try:
        await sock.connect(address)
    except BaseException:
        sock.close()
        raise
    # The plain socket inside trio's: the reactor drives it from here on.
    plain = socket.socket(fileno=sock.detach())
    tune(plain)
    return Leg(plain)


def tune(sock: socket.socket) -> None:
    """No delay for small messages, and find out about dead peers."""
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_COUNT)
