"""Row 1: prefix truncation. chacha20-poly1305 only under strict key exchange, and under
it nothing may stand before NEWKEYS that does not belong there.

Goes red without ``_fit`` in gateway/island.py.
"""

from __future__ import annotations

import pytest
from ssh_wire import IGNORE, KEXINIT, STRICT, Door, String, Wire, alive, kexinit

CHACHA = "chacha20-poly1305@openssh.com"


def test_chacha_without_strict_key_exchange_is_refused(door: Door) -> None:
    with Wire(door) as wire:
        assert wire.banner().startswith(b"SSH-2.0-")
        wire.say(kexinit(kex="curve25519-sha256", cipher=CHACHA))
        assert KEXINIT in wire.rest()
    with Wire(door) as wire:
        wire.say(kexinit(kex=f"curve25519-sha256,{STRICT}", cipher=CHACHA))
        assert not wire.ends(0.5)


def test_strict_key_exchange_is_always_offered(door: Door) -> None:
    with Wire(door) as wire:
        wire.banner()
        told = wire.hear() or b""
    assert told[0] == KEXINIT
    assert b"kex-strict-s-v00@openssh.com" in told


@pytest.mark.parametrize("after", [False, True])
def test_an_injected_packet_kills_the_connection(door: Door, after: bool) -> None:
    injected = bytes([IGNORE]) + String(b"x")
    says = [kexinit(cipher=CHACHA), injected] if after else [injected, kexinit(cipher=CHACHA)]
    with Wire(door) as wire:
        wire.say(*says)
        assert wire.ends()
    assert alive(door)
