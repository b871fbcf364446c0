"""Row 14: an agent is neither taken nor reached for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from ssh_wire import AUTH_SUCCESS, FAILURE, OPEN, OPENED, Door, Rogue, String, island_door, rogue


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with island_door() as made:
        yield made


def test_an_agent_is_refused_and_no_channel_to_it_is_opened(door: Door) -> None:
    async def script(conn: Rogue) -> int:
        assert await conn.login(door.secret) == AUTH_SUCCESS
        assert (await conn.open())[0] == OPENED
        said = await conn.request("auth-agent-req@openssh.com")
        conn.say(98, b"\0\0\0\0" + String("exec") + b"\1" + String("x"))
        heard = []
        with contextlib.suppress(TimeoutError):
            while not heard or heard[-1]:
                heard.append((await conn.hear())[0])
        assert OPEN not in heard
        return said

    assert rogue(door, script) == FAILURE
