"""A price on guessing."""

from __future__ import annotations

import pytest

from gateway import throttle
from gateway.throttle import Throttle, guessable
from gateway.world import FixedWorld


def test_the_last_failure_closes_the_door_for_the_rest_of_the_minute() -> None:
    world = FixedWorld()
    guard = Throttle(world, 3)
    for _ in range(2):
        guard.failed("192.0.2.1")
    assert guard.wait("192.0.2.1") == 0
    guard.failed("192.0.2.1")
    assert 59 < guard.wait("192.0.2.1") <= 60
    assert guard.wait("192.0.2.2") == 0
    world.pass_time(59)
    assert 0 < guard.wait("192.0.2.1") <= 1
    world.pass_time(2)
    assert guard.wait("192.0.2.1") == 0
    guard.failed("192.0.2.1")
    assert guard.wait("192.0.2.1") == 0


def test_zero_is_no_limit() -> None:
    guard = Throttle(FixedWorld(), 0)
    for _ in range(100):
        guard.failed("192.0.2.1")
    assert guard.wait("192.0.2.1") == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("local", "local", True),
    ],
)
def test_a_place_is_what_one_party_holds(one: str, other: str, same: bool) -> None:
    guard = Throttle(FixedWorld(), 1)
    guard.failed(one)
    assert (guard.wait(other) > 0) is same


def test_places_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MOST_PLACES", 10)
    guard = Throttle(FixedWorld(), 1)
    for n in range(50):
        guard.failed(f"192.0.2.{n}")
    assert len(guard._places) == 10
    assert guard.wait("192.0.2.49") > 0
    assert guard.wait("192.0.2.1") == 0


@pytest.mark.parametrize(
    ("secret", "counts"),
    [(b"wwt_abc", True), (b"password", True), (b"eyJ.a.b", False), (b"eyJ.a", True), (b"", True)],
)
def test_only_what_can_be_guessed_counts(secret: bytes, counts: bool) -> None:
    assert guessable(secret) is counts
