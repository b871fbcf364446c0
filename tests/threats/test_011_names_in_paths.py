"""Row 11: user names that would be paths, or would be written to a log."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ssh_wire import AUTH_FAILURE, Door, Rogue, island_door, rogue, settled

from protocols.ssh.frames import Kind


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with island_door() as made:
        yield made


@pytest.mark.parametrize("name", ["../x", "~root", "${HOME}", "%h/.ssh", "a b", "-oProxyCommand=x"])
def test_a_name_is_passed_on_as_a_value(door: Door, name: str) -> None:
    door.forget()

    async def script(conn: Rogue) -> int:
        conn.ask(name, "none")
        return (await conn.hear())[0]

    assert rogue(door, script) == AUTH_FAILURE
    assert door.got(Kind.HELLO) == [name.encode()]


@pytest.mark.parametrize(
    "name", [b"", b"\0", b"a\nb", b"\x1b[2J", b"\xff\xfe", b"x" * 65536, b"\xc2\xad"]
)
def test_a_name_that_is_none_ends_the_connection(
    door: Door, name: bytes, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    door.forget()

    async def script(conn: Rogue) -> bool:
        conn.ask(name, "none")
        return await conn.ends()

    assert rogue(door, script)
    assert door.got(Kind.HELLO) == []
    assert settled(lambda: not door.alarms())
    assert capfd.readouterr() == ("", "")
