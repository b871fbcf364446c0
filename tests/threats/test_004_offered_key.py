"""Row 4: a key that was only offered counts for nothing.

Goes red when ``validate_public_key`` names a key without a signature by it.
"""

from __future__ import annotations

from ssh_door import GateDoor
from ssh_wire import (
    AUTH_FAILURE,
    AUTH_SUCCESS,
    PK_OK,
    Boolean,
    Rogue,
    String,
    rogue,
)

from protocols.ssh.frames import Kind


def offer(conn: Rogue, blob: bytes) -> None:
    conn.ask("git", "publickey", Boolean(False), String("ssh-ed25519"), String(blob))


def test_the_identity_is_the_key_that_signed(door: GateDoor) -> None:
    victim, own = door.keys

    async def script(conn: Rogue) -> list[int]:
        offer(conn, victim.public_data)
        said = [(await conn.hear())[0]]
        conn.ask("git", "publickey", *conn.signed("git", own, own.public_data))
        return [*said, (await conn.hear())[0]]

    assert rogue(door, script) == [PK_OK, AUTH_SUCCESS]
    assert door.got(Kind.KEY) == [own.public_data]
    assert door.identities() == ["mallory"]


def test_a_signature_is_over_this_key_and_this_session(door: GateDoor) -> None:
    victim, own = door.keys

    async def script(conn: Rogue) -> list[int]:
        said = []
        for blob, session in ((victim.public_data, b""), (own.public_data, b"another session")):
            conn.ask("git", "publickey", *conn.signed("git", own, blob, session))
            said.append((await conn.hear())[0])
        # Signed for another name.
        conn.ask("git", "publickey", *conn.signed("root", own, own.public_data))
        return [*said, (await conn.hear())[0]]

    assert rogue(door, script) == [AUTH_FAILURE] * 3
    assert door.got(Kind.KEY) == []


def test_an_empty_signature_is_none(door: GateDoor) -> None:
    own = door.keys[1]

    async def script(conn: Rogue) -> int:
        blob = String(own.public_data)
        conn.ask("git", "publickey", Boolean(True), String("ssh-ed25519"), blob, String(b""))
        return (await conn.hear())[0]

    assert rogue(door, script) == AUTH_FAILURE
    assert door.got(Kind.KEY) == []
