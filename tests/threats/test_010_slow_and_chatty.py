"""Row 10: clients that chatter before their banner, or take for ever; and the others,
who must not feel it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

import pytest
from ssh_door import GateDoor
from ssh_wire import (
    AUTH_SUCCESS,
    REQUEST,
    Boolean,
    Door,
    Rogue,
    String,
    UInt32,
    Wire,
    alive,
    rogue,
    settled,
)  # fmt: skip

CROWD = 150
MOST = 10


@pytest.fixture(scope="module")
def hasty(doors: Callable[..., GateDoor]) -> GateDoor:
    """Gives a second for the login."""
    return doors(greeting="1s")


@pytest.fixture(scope="module")
def narrow(doors: Callable[..., GateDoor], tmp_path_factory: pytest.TempPathFactory) -> GateDoor:
    """Lets in MOST connections of one address."""
    return doors(per_address=MOST)


def test_lines_before_the_banner_are_not_heard(door: GateDoor) -> None:
    with Wire(door, banner=b"") as wire:
        wire.raw(b"hello\r\n" * 1000)
        assert wire.ends()
    with Wire(door, banner=b"") as wire:
        wire.raw(b"SSH-2.0-" + b"x" * 100_000)
        assert wire.ends()
    assert b"hello" not in door.stack.log.read_bytes()


def test_a_login_that_takes_too_long_is_ended(hasty: GateDoor) -> None:
    async def script(conn: Rogue) -> bool:
        conn.ask("git", "keyboard-interactive", String(""), String(""))
        return await conn.ends()

    for banner in (b"", b"SSH-2.0-slow", b"SSH-2.0-slow\r\n"):
        start = time.monotonic()
        with Wire(hasty, banner=banner) as wire:
            assert wire.ends()
        assert 0.5 < time.monotonic() - start < 4
    assert rogue(hasty, script)
    assert alive(hasty)


def test_bytes_one_at_a_time_do_not_prolong_it(hasty: GateDoor) -> None:
    with Wire(hasty, banner=b"") as wire:
        start = time.monotonic()
        for byte in b"SSH-2.0-" + b"x" * 30:
            wire.raw(bytes([byte]))
            time.sleep(0.05)
        assert wire.ends(2.0)
        assert time.monotonic() - start < 4


def slowest(door: Door, count: int = 15) -> float:
    """Seconds of the slowest of ``count`` logins."""
    took = []
    for _ in range(count):
        start = time.perf_counter()
        assert alive(door)
        took.append(time.perf_counter() - start)
    return max(took)


@contextlib.contextmanager
def crowd(door: Door, count: int) -> Iterator[list[Wire]]:
    """Clients that have said half a banner, or are in the middle of the exchange of keys."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(Wire(door, banner=b"SSH-2.0-slow" + b"\r\n" * (number % 2)))
            for number in range(count)
        ]


def test_a_crowd_of_slow_ones_makes_nobody_else_wait(door: GateDoor) -> None:
    quiet = slowest(door)
    with crowd(door, CROWD) as slow:
        for wire in slow[::3]:
            wire.raw(b"x")
        crowded = slowest(door)
    # 15 logins each: the slowest is beyond the 93rd centile, on a machine that others use.
    assert crowded < 5 * quiet + 0.5


def test_one_address_has_its_share_and_no_more(narrow: GateDoor) -> None:
    async def script(conn: Rogue) -> int:
        return await conn.login(narrow.secret)

    with crowd(narrow, MOST):
        assert settled(lambda: rogue(narrow, script) != AUTH_SUCCESS)
    assert settled(lambda: rogue(narrow, script) == AUTH_SUCCESS), "they are gone"


def test_who_stays_after_the_farewell_is_hung_up_on(door: GateDoor) -> None:
    """Its session is over, so no limit counts it."""

    async def script(conn: Rogue) -> float:
        assert await conn.login(door.secret) == AUTH_SUCCESS
        await conn.open()
        conn.say(REQUEST, UInt32(0), String("exec"), Boolean(True), String("id"))
        await conn.closes()
        start = time.monotonic()
        await asyncio.wait_for(conn.gone.wait(), 20)
        return time.monotonic() - start

    assert rogue(door, script) < 8
