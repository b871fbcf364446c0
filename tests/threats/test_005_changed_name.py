"""Row 5: another name in the middle of a login.

Goes red without the comparison with ``_claimed``.
"""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ssh_door import GateDoor
from ssh_wire import AUTH_FAILURE, Boolean, Rogue, String, new_key, rogue

from protocols.ssh.frames import Kind


def test_another_name_ends_the_login(door: GateDoor) -> None:
    async def script(conn: Rogue) -> bool:
        assert await conn.login("wrong", "anna") == AUTH_FAILURE
        conn.ask("bert", "password", Boolean(False), String(door.secret))
        return await conn.ends()

    assert rogue(door, script)
    assert len(door.got(Kind.SECRET)) == 1, "the second was looked at"


def test_another_service_ends_the_login(door: GateDoor) -> None:
    async def script(conn: Rogue) -> bool:
        conn.ask("anna", "none")
        assert (await conn.hear())[0] == AUTH_FAILURE
        more = Boolean(False), String(door.secret)
        conn.ask("anna", "password", *more, service="ssh-userauth")
        return await conn.ends()

    assert rogue(door, script)


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from(["none", "key", "secret"])), max_size=6
    )
)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_one_connection_has_one_name(door: GateDoor, steps: list[tuple[str, str]]) -> None:
    door.forget()

    async def script(conn: Rogue) -> None:
        for user, method in steps:
            if method == "none":
                conn.ask(user, "none")
            elif method == "secret":
                conn.ask(user, "password", Boolean(False), String("wrong"))
            else:
                key = new_key()
                conn.ask(user, "publickey", *conn.signed("x", key, key.public_data))
            said, _ = await conn.hear()
            if said != AUTH_FAILURE:
                return

    rogue(door, script)
    heard = door.heard()
    names = [body.decode() for kind, body in heard if kind is Kind.HELLO]
    assert names == [user for user, _ in steps[:1]]
    assert not door.identities()
    same = [method for user, method in steps if user == steps[0][0]]
    assert len(door.got(Kind.SECRET)) <= same.count("secret")
    assert not door.got(Kind.KEY)
