"""Row 10: clients that chatter before their banner, or take for ever."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from ssh_wire import Door, Rogue, String, Wire, alive, island_door, rogue


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with island_door() as made:
        yield made


def test_lines_before_the_banner_are_not_heard(door: Door) -> None:
    with Wire(door, banner=b"") as wire:
        wire.raw(b"hello\r\n" * 1000)
        assert wire.ends()
    with Wire(door, banner=b"") as wire:
        wire.raw(b"SSH-2.0-" + b"x" * 100_000)
        assert wire.ends()


def test_a_login_that_takes_too_long_is_ended() -> None:
    async def script(conn: Rogue) -> bool:
        conn.ask("git", "keyboard-interactive", String(""), String(""))
        return await conn.ends()

    with island_door(login_seconds=1.0) as door:
        for banner in (b"", b"SSH-2.0-slow", b"SSH-2.0-slow\r\n"):
            start = time.monotonic()
            with Wire(door, banner=banner) as wire:
                assert wire.ends()
            assert 0.5 < time.monotonic() - start < 3
        assert rogue(door, script)
        assert alive(door)


def test_bytes_one_at_a_time_do_not_prolong_it() -> None:
    with island_door(login_seconds=1.0) as door, Wire(door, banner=b"") as wire:
        start = time.monotonic()
        for byte in b"SSH-2.0-" + b"x" * 30:
            wire.raw(bytes([byte]))
            time.sleep(0.05)
        assert wire.ends(1.0)
        assert time.monotonic() - start < 4
