"""What stands between a socket and a leg: nothing, or the one who speaks SSH."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from gateway.dial import dial, tune
from gateway.leg import Leg
from gateway.listening import Listener
from gateway.targets import Target

if TYPE_CHECKING:
    from gateway.services import Services


def received(services: Services, listener: Listener, sock: socket.socket, peer: str) -> Leg:
    """The client leg of an accepted connection."""
    tune(sock)
    if listener.kind.carrier != "ssh":
        return Leg(sock)
    assert services.island is not None
    assert listener.host_key is not None
    accepts = services.authority.accepts_key
    return Leg(services.island.serve(sock, listener.host_key, peer, accepts))


async def reached(services: Services, target: Target, seconds: float) -> Leg:
    """The upstream leg for ``target``, connected within ``seconds``; DialError."""
    leg = await dial(target, seconds)
    if target.kind.carrier != "ssh":
        return leg
    assert services.island is not None
    end = services.island.connect(leg.sock, target.host_keys, target.upstream.host)
    return Leg(end)
