"""Row 87: a token that was used from one address is of no use from another.

Loopback has many addresses: the same token comes from 127.0.0.1 and from 127.0.0.2.
Goes red without ``Bindings.bind`` in ``Authority.prove``.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from stack import Stack
from wire import Wire

from gateway.demo.postgres import Server

WANTED = {"user": "agent", "database": "shop"}


def code(stack: Stack, token: str, source: str) -> str:
    with Wire(stack.port, source=source) as wire:
        return wire.login(token, WANTED).code


def test_from_another_address(anything: Stack) -> None:
    token = anything.token("traveller", jti="1")
    assert code(anything, token, "127.0.0.1") == ""
    assert code(anything, token, "127.0.0.2") == "28P01"
    assert code(anything, token, "127.0.0.1") == "", "its owner is not locked out"
    other = anything.token("traveller", jti="2")
    assert code(anything, other, "127.0.0.2") == ""
    assert code(anything, other, "127.0.0.1") == "28P01"


def test_workers_agree_and_a_restart_does_not_forget(
    started: Callable[..., Stack], pg: Server
) -> None:
    stack = started(pg, workers=2)
    token = stack.token("traveller")
    assert code(stack, token, "127.0.0.1") == ""
    assert [code(stack, token, "127.0.0.3") for _ in range(6)] == ["28P01"] * 6
    stack.stop()
    stack.log.unlink()
    stack.start()
    assert code(stack, token, "127.0.0.3") == "28P01"
    assert code(stack, token, "127.0.0.1") == ""


@pytest.mark.parametrize("change", ["case", "padding"])
def test_the_same_token_written_otherwise(anything: Stack, change: str) -> None:
    token = anything.token("writer", jti=change)
    assert code(anything, token, "127.0.0.1") == ""
    other = token + "=" if change == "padding" else token[:-1] + token[-1].swapcase()
    assert code(anything, other, "127.0.0.2") == "28P01"
