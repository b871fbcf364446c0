"""A price on guessing: too many failed proofs from one place, and none is looked at.

Counts in windows of a minute, for each client address, in each worker. A refusal
comes before the evidence is asked for, so that it costs nothing and tells nothing.
Tokens of an issuer are not counted: nobody guesses a signature, and one job with a
stale token must not lock out all that share its address.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

from gateway.world import World

WINDOW_SECONDS = 60
MOST_PLACES = 10_000
"""Addresses remembered; beyond it the one that failed longest ago is forgotten.
An attacker with more addresses than that has a chance per address anyway."""
_IPV6_SITE = 64
"""Bits of an IPv6 address that one customer can't choose."""


def guessable(secret: bytes) -> bool:
    """False for evidence in the form of a signed token."""
    return not (secret.startswith(b"ey") and secret.count(b".") == 2)


class Throttle:
    """``most`` failures per minute and place; 0 for no limit."""

    def __init__(self, world: World, most: int) -> None:
        self._world = world
        self._most = most
        self._places: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def failed(self, peer: str) -> None:
        """A proof from ``peer`` was refused."""
        if not self._most:
            return
        place, now = _place(peer), self._now()
        began, count = self._places.pop(place, (now, 0))
        if now - began >= WINDOW_SECONDS:
            began, count = now, 0
        self._places[place] = (began, count + 1)
        if len(self._places) > MOST_PLACES:
            self._places.popitem(last=False)

    def wait(self, peer: str) -> float:
        """Seconds until ``peer`` may prove something again; 0.0 for now."""
        began, count = self._places.get(_place(peer), (0.0, 0))
        if not self._most or count < self._most:
            return 0.0
        return max(0.0, began + WINDOW_SECONDS - self._now())

    def _now(self) -> float:
        return self._world.mono_ns() / 1e9


def _place(peer: str) -> str:
    """What one party holds: an IPv4 address, or an IPv6 network."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, _IPV6_SITE), strict=False))
    return peer
