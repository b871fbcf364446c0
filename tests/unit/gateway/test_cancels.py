"""Cancel keys: whose they are, and what a wrong or late one does."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from gateway import cancels
from gateway.cancels import PER_SECOND, Cancels
from gateway.world import FixedWorld, World


def session(talk: object = None) -> Any:
    notes: list[tuple[str, dict[str, object]]] = []
    crashes: list[BaseException] = []
    return SimpleNamespace(
        id="S1",
        notes=notes,
        crashes=crashes,
        note=lambda kind, fields: notes.append((kind, fields)),
        relay=SimpleNamespace(withdraw=lambda: talk is None),
        conversation=SimpleNamespace(cancel=lambda: talk),
        services=SimpleNamespace(crash=lambda id, error: crashes.append(error)),
    )


def test_a_key_works_for_its_session_until_it_is_forgotten(tmp_path: Path) -> None:
    made = Cancels(World(), tmp_path, 5)
    me = session()
    key = made.mint(me, 8)
    assert (len(key), key[0]) == (8, 5)
    assert made.mint(me, 0) == b""
    assert trio.run(made.cancel, key)
    for wrong in (key[:7] + bytes([key[7] ^ 1]), key[:4], b"", key + b"x", bytes(600)):
        assert not trio.run(made.cancel, wrong)
    assert len(me.notes) == 1
    made.forget(key)
    assert not trio.run(made.cancel, key)


def test_guesses_are_limited(tmp_path: Path) -> None:
    world = FixedWorld()
    made = Cancels(world, tmp_path, 0)
    key = made.mint(session(), 8)
    for _ in range(PER_SECOND):
        trio.run(made.cancel, key[:4] + b"gues")
    assert not trio.run(made.cancel, key)
    world.pass_time(1)
    assert trio.run(made.cancel, key)


def test_a_cancel_crosses_to_the_worker_that_its_key_names(tmp_path: Path) -> None:
    here, there = Cancels(World(), tmp_path, 0), Cancels(World(), tmp_path, 1)
    me = session()
    key = there.mint(me, 8)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(there.listen)
            await trio.sleep(0.1)
            assert not await here.cancel(key)
            with trio.fail_after(3):
                while not me.notes:
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert not there.path(1).exists()
    assert not trio.run(here.cancel, key)  # nobody is there: the same as a wrong key


def test_an_errand_that_breaks_stops_no_later_cancel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def errand(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cancels, "run_errand", errand)
    made = Cancels(World(), tmp_path, 0)
    me = session(talk=object())
    key = made.mint(me, 8)
    assert trio.run(made.cancel, key)
    assert isinstance(me.crashes[0], ZeroDivisionError)


def test_a_path_that_is_too_long_is_an_os_error(tmp_path: Path) -> None:
    """The worker serves on without: see ``worker._hear_cancels``."""
    made = Cancels(World(), tmp_path / ("x" * 120), 0)
    with pytest.raises(OSError, match="too long"):
        trio.run(made.listen)
