"""Row 15: nobody learns from a refusal which names there are: not the user names that
mean nothing, and not those of local principals, whose password is a matter of PBKDF2.

Goes red when a name that is nobody's is refused without the work of a password.
"""

from __future__ import annotations

import time

import pytest
from ssh_door import KNOWN, GateDoor
from ssh_wire import AUTH_FAILURE, Boolean, Rogue, String, new_key, rogue

ROUNDS = 120
EACH = 4
"""Tries on one connection: the gateway ends it at the sixth."""


def distance(one: list[float], two: list[float]) -> float:
    """Kolmogorov-Smirnov, two samples."""
    points = sorted(one + two)
    return max(
        abs(sum(x <= p for x in one) / len(one) - sum(x <= p for x in two) / len(two))
        for p in points
    )


def refused_alike(door: GateDoor, method: str, rounds: int) -> None:
    key = new_key()
    more = {
        "password": (Boolean(False), String("wrong")),
        "publickey": (Boolean(True), String("ssh-ed25519"), String(key.public_data), String("x")),
        "none": (),
    }[method]
    said: set[tuple[int, bytes]] = set()
    took: dict[str, list[float]] = {KNOWN: [], "no-such-name": []}

    def once(name: str) -> None:
        async def script(conn: Rogue) -> None:
            for _ in range(EACH):
                conn.inbox_time = 0.0
                start = time.perf_counter()
                conn.ask(name, method, *more)
                said.add(await conn.hear())
                took[name].append(conn.inbox_time - start)

        rogue(door, script)

    for number in range(rounds // EACH):
        for name in sorted(took, reverse=bool(number % 2)):
            once(name)
    assert {kind for kind, _ in said} == {AUTH_FAILURE}
    assert len(said) == 1
    # 0.1 % of honest runs are further apart.
    assert distance(took[KNOWN], took["no-such-name"]) < 1.95 * (2 / rounds) ** 0.5


@pytest.mark.parametrize("method", ["password", "publickey", "none"])
def test_known_and_unknown_names_are_refused_alike(door: GateDoor, method: str) -> None:
    refused_alike(door, method, ROUNDS)


@pytest.mark.deep
@pytest.mark.parametrize("method", ["password", "publickey", "none"])
def test_many_more_of_them(door: GateDoor, method: str) -> None:
    refused_alike(door, method, 2000)
