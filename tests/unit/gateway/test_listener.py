"""The door: faults of one session, and who is too much."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from gateway import listener
from gateway.listener import Doorman
from gateway.world import World


def services(connections: int = 10, per_address: int = 5) -> Any:
    crashes: list[BaseException] = []
    limits = SimpleNamespace(connections=connections, per_address=per_address)
    return SimpleNamespace(
        world=World(),
        config=SimpleNamespace(limits=limits),
        crashes=crashes,
        crash=lambda id, error: crashes.append(error),
        alarm=lambda what, text: None,
        notary=SimpleNamespace(check=lambda: None),
    )


@pytest.mark.parametrize("where", ["birth", "life"])
def test_a_session_that_breaks_ends_alone(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    class Broken:
        id = "S1"

        def __init__(self, *_: object, **__: object) -> None:
            if where == "birth":
                raise ZeroDivisionError

        async def live(self) -> None:
            raise ZeroDivisionError

    monkeypatch.setattr(listener, "Session", Broken)
    shared = services()
    made = Doorman(shared)
    near, far = socket.socketpair()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made._session, near, None, "192.0.2.1", False)
            await trio.sleep(0.01)

    trio.run(main)
    assert isinstance(shared.crashes[0], ZeroDivisionError)
    assert far.recv(1) == b""
    assert made.count == 0
    assert not made._by_address


def test_how_full_it_is_by_address_and_in_all() -> None:
    made = Doorman(services())
    assert made.over("192.0.2.1") == pytest.approx(0.2)
    made.count, made._by_address["192.0.2.1"] = 5, 5
    assert made.over("192.0.2.1") > 1
    assert made.over("192.0.2.2") < 1
    made.count = 12
    assert made.over("192.0.2.2") > listener.CROWD
