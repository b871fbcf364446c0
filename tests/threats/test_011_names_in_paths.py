"""Row 11: user names that would be paths, or would be written to a log.

Goes red when a name is printed, or ends in a path, as it came.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from ssh_door import GateDoor
from ssh_wire import AUTH_FAILURE, AUTH_SUCCESS, Rogue, rogue, settled

from protocols.ssh.frames import Kind

PATHS = ["../x", "~root", "${HOME}", "%h/.ssh", "a b", "-oProxyCommand=x", "x" * 255]
NONE = [b"", b"\0", b"a\nb", b"\x1b[2J", b"\xff\xfe", b"x" * 65536, b"\xc2\xad", b"x" * 256]


def files(door: GateDoor) -> set[Path]:
    """All but what is named by numbers of the gateway's own."""
    own = {"sessions", "evidence"}
    return {path for path in door.stack.folder.rglob("*") if not own & set(path.parts)}


@pytest.mark.parametrize("name", PATHS)
def test_a_name_is_passed_on_as_a_value(door: GateDoor, name: str) -> None:
    before = files(door)

    async def script(conn: Rogue) -> list[int]:
        conn.ask(name, "none")
        return [(await conn.hear())[0], await conn.login(door.secret, name)]

    assert rogue(door, script) == [AUTH_FAILURE, AUTH_SUCCESS]
    assert door.got(Kind.HELLO) == [name.encode()]
    (event,) = [event for event in door.events() if event.kind == "identity"]
    assert event.fields["claimed"] == name
    assert files(door) == before


@pytest.mark.parametrize("name", NONE)
def test_a_name_that_is_none_ends_the_connection(door: GateDoor, name: bytes) -> None:
    before, log = files(door), door.stack.output()

    async def script(conn: Rogue) -> bool:
        conn.ask(name, "none")
        return await conn.ends()

    assert rogue(door, script)
    assert settled(lambda: door.recorded() == 1)
    assert not door.identities()
    assert door.stack.output() == log, "strangers write nothing to the log"
    assert files(door) == before
    shown = door.stack.recorder("list", text=False).stdout
    assert name.strip() not in shown or len(name) < 2
    assert b"\x1b" not in shown
