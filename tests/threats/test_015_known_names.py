"""Row 15: nobody learns from a refusal which names there are."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from ssh_wire import AUTH_FAILURE, Boolean, Door, Rogue, String, island_door, new_key, rogue


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with island_door() as made:
        yield made


ROUNDS = 120


def distance(one: list[float], two: list[float]) -> float:
    """Kolmogorov-Smirnov, two samples."""
    points = sorted(one + two)
    return max(
        abs(sum(x <= p for x in one) / len(one) - sum(x <= p for x in two) / len(two))
        for p in points
    )


@pytest.mark.parametrize("method", ["password", "publickey", "none"])
def test_known_and_unknown_names_are_refused_alike(door: Door, method: str) -> None:
    key = new_key()
    more = {
        "password": (Boolean(False), String("wrong")),
        "publickey": (Boolean(True), String("ssh-ed25519"), String(key.public_data), String("x")),
        "none": (),
    }[method]
    said: set[tuple[int, bytes]] = set()
    took: dict[str, list[float]] = {"git": [], "no-such-name": []}

    def once(name: str) -> None:
        async def script(conn: Rogue) -> None:
            for _ in range(4):
                conn.inbox_time = 0.0
                start = time.perf_counter()
                conn.ask(name, method, *more)
                said.add(await conn.hear())
                took[name].append(conn.inbox_time - start)

        rogue(door, script)

    for _ in range(ROUNDS // 4):
        for name in took:
            once(name)
    assert {kind for kind, _ in said} == {AUTH_FAILURE}
    assert len(said) == 1
    # 0.1 % of honest runs are further apart.
    assert distance(took["git"], took["no-such-name"]) < 1.95 * (2 / ROUNDS) ** 0.5
