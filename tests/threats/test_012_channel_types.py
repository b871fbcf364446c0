"""Row 12: of all that SSH can open, one session with one exec.

Goes red when a request or a type of channel is handed on to the library.
"""

from __future__ import annotations

import pytest
from ssh_wire import (
    AUTH_SUCCESS,
    FAILURE,
    GLOBAL,
    GLOBAL_FAILURE,
    OPEN_FAILURE,
    OPENED,
    Boolean,
    Door,
    Rogue,
    String,
    UInt32,
    rogue,
    settled,
)  # fmt: skip

from protocols.ssh.frames import Kind

PLACE = (String("127.0.0.1"), UInt32(22), String("127.0.0.1"), UInt32(1))
CHANNELS = {
    "direct-tcpip": PLACE,
    "forwarded-tcpip": PLACE,
    "direct-streamlocal@openssh.com": (String("/run/x"), String(""), UInt32(0)),
    "tun@openssh.com": (UInt32(1), UInt32(0)),
    "x11": (String("127.0.0.1"), UInt32(1)),
    "auth-agent@openssh.com": (),
    "nonsense": (),
    "\x1b[2J": (),
}
GLOBALS = {
    "tcpip-forward": (String("0.0.0.0"), UInt32(0)),
    "cancel-tcpip-forward": (String("0.0.0.0"), UInt32(1)),
    "streamlocal-forward@openssh.com": (String("/tmp/x"),),
    "hostkeys-prove-00@openssh.com": (String("x"),),
    "nonsense": (),
}
REQUESTS = {
    "shell": (),
    "subsystem": (String("sftp"),),
    "pty-req": (String("xterm"), *[UInt32(1)] * 4, String("")),
    "x11-req": (Boolean(False), String("x"), String("00"), UInt32(0)),
    "auth-agent-req@openssh.com": (),
    "env": (String("LD_PRELOAD"), String("/tmp/x.so")),
    "window-change": (UInt32(1),) * 4,
    "signal": (String("KILL"),),
    "break": (UInt32(1),),
    "exit-status": (UInt32(0),),
    "nonsense": (),
}


def told(door: Door, what: str) -> bool:
    return settled(lambda: what.encode() in door.got(Kind.REFUSED))


@pytest.mark.parametrize("kind", CHANNELS)
def test_no_other_channel_opens(door: Door, kind: str) -> None:
    async def script(conn: Rogue) -> int:
        assert await conn.login(door.secret) == AUTH_SUCCESS
        return (await conn.open(kind, *CHANNELS[kind]))[0]

    assert rogue(door, script) == OPEN_FAILURE
    assert told(door, kind)


@pytest.mark.parametrize("name", GLOBALS)
def test_no_global_request_is_granted(door: Door, name: str) -> None:
    async def script(conn: Rogue) -> int:
        assert await conn.login(door.secret) == AUTH_SUCCESS
        conn.say(GLOBAL, String(name), Boolean(True), *GLOBALS[name])
        return (await conn.hear())[0]

    assert rogue(door, script) == GLOBAL_FAILURE
    assert told(door, name)


@pytest.mark.parametrize("name", REQUESTS)
def test_no_other_request_is_granted(door: Door, name: str) -> None:
    async def script(conn: Rogue) -> int:
        assert await conn.login(door.secret) == AUTH_SUCCESS
        assert (await conn.open())[0] == OPENED
        return await conn.request(name, *REQUESTS[name])

    assert rogue(door, script) == FAILURE
    assert told(door, "env LD_PRELOAD" if name == "env" else name)
    assert not door.got(Kind.ENV)
    assert not door.got(Kind.EXEC)


def test_a_second_session_and_a_second_exec_are_refused(door: Door) -> None:
    async def script(conn: Rogue) -> list[int]:
        assert await conn.login(door.secret) == AUTH_SUCCESS
        assert (await conn.open())[0] == OPENED
        second = (await conn.open())[0]
        conn.say(98, UInt32(0), String("exec"), Boolean(True), String("one"))
        conn.say(98, UInt32(0), String("exec"), Boolean(True), String("two"))
        await conn.closes()
        return [second]

    assert rogue(door, script) == [OPEN_FAILURE]
    assert door.got(Kind.EXEC) == [b"one"]
    assert told(door, "second session")


def test_asking_in_vain_has_an_end(door: Door) -> None:
    async def script(conn: Rogue) -> int:
        assert await conn.login(door.secret) == AUTH_SUCCESS
        for count in range(200):
            if (await conn.open("direct-tcpip", *PLACE))[0] != OPEN_FAILURE:
                return count
        return 200

    assert rogue(door, script) == 100
