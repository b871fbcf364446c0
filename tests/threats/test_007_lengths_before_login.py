"""Row 7: lengths that are lies, before the login."""

from __future__ import annotations

import struct
import time

import pytest
from ssh_door import GateDoor
from ssh_wire import (
    IGNORE,
    INFO_RESPONSE,
    KEXINIT,
    Rogue,
    String,
    UInt32,
    Wire,
    alive,
    packet,
    rogue,
)  # fmt: skip

NAMES = bytes([KEXINIT]) + bytes(16) + String(b",".join([b"x"] * 1_000_000))
SAID = {
    "4 GiB": struct.pack(">IB", 0xFFFFFFFF, 4) + bytes(64),
    "1 MiB": struct.pack(">IB", 1 << 20, 4) + bytes(64),
    "nothing": struct.pack(">IB", 0, 0) + bytes(64),
    "less than its padding": struct.pack(">IB", 12, 200) + bytes(64),
    "a million names": packet(NAMES),
    "a name longer than its packet": packet(bytes([KEXINIT]) + bytes(16) + UInt32(0xFFFFFFF0)),
}


@pytest.mark.parametrize("said", SAID)
def test_a_length_that_lies_ends_the_connection_and_costs_nothing(
    door: GateDoor, said: str
) -> None:
    alive(door)
    before, start = door.resident(), time.monotonic()
    for _ in range(5):
        with Wire(door) as wire:
            wire.raw(SAID[said])
            assert wire.ends()
    assert time.monotonic() - start < 5
    assert door.resident() - before < 20 << 20


def test_a_count_of_prompts_that_lies_ends_the_connection(door: GateDoor) -> None:
    async def script(conn: Rogue) -> bool:
        conn.ask("git", "keyboard-interactive", String(""), String(""))
        await conn.hear()
        conn.say(INFO_RESPONSE, UInt32(0xFFFFFFFF), String("x"))
        return await conn.ends()

    before = door.resident()
    assert rogue(door, script)
    assert door.resident() - before < 20 << 20


def test_a_flood_of_little_packets_has_an_end(door: GateDoor) -> None:
    async def script(conn: Rogue) -> bool:
        for _ in range(200):
            conn.say(IGNORE, String(bytes(30000)))
        return await conn.ends()

    assert rogue(door, script)
    assert alive(door)
