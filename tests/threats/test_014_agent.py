"""Row 14: an agent is neither taken nor reached for; that it was offered is on record."""

from __future__ import annotations

from ssh_wire import AUTH_SUCCESS, FAILURE, OPEN, OPENED, Door, Rogue, String, rogue, settled

from protocols.ssh.frames import Kind


def test_an_agent_is_refused_and_no_channel_to_it_is_opened(door: Door) -> None:
    async def script(conn: Rogue) -> int:
        assert await conn.login(door.secret) == AUTH_SUCCESS
        assert (await conn.open())[0] == OPENED
        said = await conn.request("auth-agent-req@openssh.com")
        conn.say(98, b"\0\0\0\0" + String("exec") + b"\1" + String("x"))
        assert OPEN not in await conn.closes()
        return said

    assert rogue(door, script) == FAILURE
    assert settled(lambda: b"auth-agent-req@openssh.com" in door.got(Kind.REFUSED))
