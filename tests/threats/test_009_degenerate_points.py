"""Row 9: points and numbers that make a shared secret everybody knows."""

from __future__ import annotations

import pytest
from ssh_wire import ECDH_INIT, ECDH_REPLY, STRICT, Door, String, Wire, alive, kexinit

ONE = (1).to_bytes(32, "little")
ORDER_8 = bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")
P_MINUS_1 = ((1 << 255) - 20).to_bytes(32, "little")
POINTS = [bytes(32), ONE, ORDER_8, P_MINUS_1, b"", bytes(31), bytes(33), bytes(30000)]


@pytest.mark.parametrize("point", range(len(POINTS)))
@pytest.mark.parametrize("kex", ["curve25519-sha256", "mlkem768x25519-sha256"])
def test_a_degenerate_point_ends_the_connection(door: Door, kex: str, point: int) -> None:
    public = POINTS[point] if kex.startswith("curve") else bytes(1184) + POINTS[point]
    with Wire(door) as wire:
        wire.banner()
        wire.say(kexinit(kex=f"{kex},{STRICT}"), bytes([ECDH_INIT]) + String(public))
        assert ECDH_REPLY not in wire.rest()


@pytest.mark.parametrize(
    "kex", ["diffie-hellman-group14-sha256", "diffie-hellman-group-exchange-sha256"]
)
def test_finite_fields_are_not_offered(door: Door, kex: str) -> None:
    with Wire(door) as wire:
        wire.say(kexinit(kex=f"{kex},{STRICT}"))
        assert wire.ends()


def test_the_door_still_opens(door: Door) -> None:
    assert alive(door)
