"""Row 3: the login skipped. What was tried is on record, and nothing was dialled.

Goes red when the conversation takes EXEC before PROVEN, or the island opens a channel.
"""

from __future__ import annotations

import pytest
from ssh_door import GateDoor
from ssh_wire import (
    AUTH_FAILURE,
    AUTH_SUCCESS,
    GLOBAL,
    OPEN,
    REQUEST,
    Boolean,
    Rogue,
    String,
    UInt32,
    rogue,
)  # fmt: skip

from protocols.ssh.frames import Kind

SAID = {
    "open": (OPEN, String("session"), UInt32(0), UInt32(1 << 20), UInt32(1 << 15)),
    "exec": (REQUEST, UInt32(0), String("exec"), Boolean(True), String("id")),
    "global": (GLOBAL, String("tcpip-forward"), Boolean(True), String("0"), UInt32(0)),
    "success": (AUTH_SUCCESS,),
}


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("said", SAID)
def test_nothing_opens_before_the_login(door: GateDoor, said: str, first: bool) -> None:
    async def script(conn: Rogue) -> bool:
        if first:
            assert await conn.login("wrong") == AUTH_FAILURE
        kind, *parts = SAID[said]
        conn.say(kind, *parts)
        conn.say(*SAID["open"])  # type: ignore[arg-type]
        return await conn.ends()

    before = door.dials()
    assert rogue(door, script)
    assert not door.got(Kind.EXEC)
    assert not door.got(Kind.REFUSED)
    assert not door.identities()
    assert door.recorded() == 1
    assert door.dials() == before
