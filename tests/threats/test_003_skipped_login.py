"""Row 3: the login skipped."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ssh_wire import (
    AUTH_FAILURE,
    AUTH_SUCCESS,
    GLOBAL,
    OPEN,
    REQUEST,
    Boolean,
    Door,
    Rogue,
    String,
    UInt32,
    island_door,
    rogue,
)  # fmt: skip

from protocols.ssh.frames import Kind


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with island_door() as made:
        yield made


SAID = {
    "open": (OPEN, String("session"), UInt32(0), UInt32(1 << 20), UInt32(1 << 15)),
    "exec": (REQUEST, UInt32(0), String("exec"), Boolean(True), String("id")),
    "global": (GLOBAL, String("tcpip-forward"), Boolean(True), String("0"), UInt32(0)),
    "success": (AUTH_SUCCESS,),
}


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("said", SAID)
def test_nothing_opens_before_the_login(door: Door, said: str, first: bool) -> None:
    async def script(conn: Rogue) -> bool:
        if first:
            assert await conn.login("wrong") == AUTH_FAILURE
        kind, *parts = SAID[said]
        conn.say(kind, *parts)
        conn.say(*SAID["open"])  # type: ignore[arg-type]
        return await conn.ends()

    assert rogue(door, script)
    assert not door.got(Kind.EXEC)
    assert not door.got(Kind.REFUSED)
