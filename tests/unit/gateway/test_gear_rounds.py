"""The inner loop's rounds: what ends them, what is told of one that is taken back, and that
nothing overtakes what Python has to see first."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import sys
import time
from pathlib import Path
from random import Random

import pytest

sys.path[:0] = [str(Path(__file__).parent)]

from test_gear_bytes import (  # noqa: E402
    AGAIN,
    DONE,
    PLACE,
    SEED,
    SEEN,
    SYNC,
    Ride,
    asked,
    complete,
    describe,
    execute,
    f,
    gear_type,
    ready,
    row,
)

from protocols.recurring import Carried  # noqa: E402

pytestmark = pytest.mark.skipif(gear_type is None, reason="the inner loop is not built")


def beside(other: Ride) -> Ride:
    """Another session of the same loop."""
    ride = Ride()
    ride.gear = other.gear
    ride.ride = other.gear.ride(2, 0, 1 << 20)
    for sock in ride.near:
        other.epoll.register(sock.fileno(), select.EPOLLIN)
    return ride


def test_what_python_has_to_see_is_not_overtaken() -> None:
    """More of the same session, while others go on."""
    chance = Random(1)
    ride = Ride()
    more = beside(ride)
    ride.board(chance)
    more.board(chance)
    ride.far[0].send(b"Q" * 16384 + asked())
    more.far[0].send(asked())
    soon = time.monotonic_ns() + 10**9
    rest, late, _, _, fault, moved = ride.gear.drive(
        soon, 0, (ride.file, 0, PLACE, SEED, 1, 1 << 30)
    )
    assert (late, fault, moved) == (None, 0, True)
    assert [(fd, data) for fd, _, data in rest] == [(ride.near[0].fileno(), b"Q" * 16384)]
    assert more.far[1].recv(1 << 16) == asked()
    with pytest.raises(BlockingIOError):
        ride.far[1].recv(1)
    for one in (ride, more):
        one.ride.leave()
        one.close()


def test_with_one_who_is_late_nothing_more_is_carried() -> None:
    """What comes after the rest of a reply must not overtake it."""
    chance = Random(1)
    ride = Ride()
    ride.board(chance, masked=False)
    assert ride.round(0, asked(), chance)
    with pytest.raises(BlockingIOError):
        while True:
            ride.near[0].send(b"x" * 4096)
    reply = SEEN + row(b"v" * 8000) + DONE
    assert ride.epoll.poll(0) == []  # from here on in the order in which they become ready
    ride.far[1].send(reply)
    ride.far[0].send(asked())
    soon = time.monotonic_ns() + 10**9
    rest, late, _, _, fault, moved = ride.gear.drive(
        soon, 100, (ride.file, 0, PLACE, SEED, 1, 1 << 30)
    )
    assert (rest, fault, moved) == (None, 0, True)
    ((_, *left),) = late
    assert left == [0, reply, 0]
    with pytest.raises(BlockingIOError):
        ride.far[1].recv(1)
    ride.ride.leave()
    ride.close()


def test_rounds_go_on_until_the_segment_is_full_or_it_is_time() -> None:
    chance = Random(1)
    for later, most, count in ((10, 1 << 30, 2), (10, 1, 1), (-1, 1 << 30, 1)):
        ride = Ride()
        ride.board(chance, masked=False)
        assert ride.round(0, asked(), chance)
        assert ride.epoll.poll(0) == []
        ride.far[1].send(SEEN + DONE)
        ride.far[0].send(asked())
        before = ride.gear.records
        until = time.monotonic_ns() + later * 10**9
        ride.gear.drive(until, 0, (ride.file, 0, PLACE, SEED, 1, most))
        assert ride.gear.records - before == count
        ride.ride.leave()
        ride.close()


def test_of_a_round_that_is_taken_back_no_request_is_told() -> None:
    """What is kept of it is not the last one that was replied to."""
    chance = Random(1)
    ride = Ride()
    ride.board(chance, masked=True)
    assert ride.round(0, asked(), chance)
    assert ride.round(1, SEEN + complete("X") + ready("T"), chance)
    ride.far[0].send(AGAIN + asked(b""))
    assert ride.gear.drive(0, 0, (-1, 0, PLACE, SEED, 1, 1))[4] == 9
    ride.gear.undo()
    carried = Carried(*ride.ride.leave()[3])
    assert (carried.done, carried.status, carried.owed) == (1, ord("T"), False)
    assert (carried.request, carried.subject, carried.masked) == (b"", None, 0)
    ride.close()


def test_of_what_was_written_in_part_nothing_is_sent() -> None:
    chance = Random(1)
    ride = Ride()
    ride.board(chance)
    most, least = os.pipe2(os.O_NONBLOCK)
    fcntl.fcntl(least, fcntl.F_SETPIPE_SZ, 4096)
    raw = b"\0a\0" + struct.pack(">HHi", 0, 1, 6000) + b"1" * 6000 + struct.pack(">HH", 1, 0)
    ride.far[0].send(f("B", raw) + describe("P") + execute() + SYNC)
    assert ride.gear.drive(0, 0, (least, 0, PLACE, SEED, 1, 1)) == (None, None, None, 0, -1, False)
    assert len(os.read(most, 1 << 20)) == 4096
    with pytest.raises(BlockingIOError):
        ride.far[1].recv(1)
    assert len(ride.gear.undo()) == 1
    ride.ride.leave()
    os.close(most)
    os.close(least)
    ride.close()


def test_what_comes_when_it_is_time_for_python_is_left_to_it() -> None:
    """A clock to be told, a part whose time is over."""
    chance = Random(1)
    for seconds, carried in ((3600, True), (-1, False)):
        ride = Ride()
        ride.board(chance, until=time.monotonic_ns() + seconds * 10**9)
        assert ride.round(0, asked(), chance) is carried
        ride.ride.leave()
        ride.close()


def test_one_who_is_told_of_one_side_is_not_read_on_the_other() -> None:
    """Python hears in the order in which it is told, with nothing carried in between."""
    chance = Random(1)
    ride = Ride()
    ride.board(chance)
    assert ride.round(0, asked(), chance)
    ride.far[1].send(b"N")
    ride.far[0].send(b"Q")
    ((_, _, first),) = ride.drive(0, 1)[0]
    ((_, _, second),) = ride.drive(0, 1)[0]
    assert {first, second} == {b"N", b"Q"}
    assert not ride.gear.touched
    ride.ride.leave()
    ride.close()


def test_a_round_that_is_taken_back_says_whose_it_was() -> None:
    chance = Random(1)
    ride = Ride()
    ride.board(chance)
    ride.far[0].send(asked())
    assert ride.gear.drive(0, 0, (-1, 0, PLACE, SEED, 1, 1)) == (None, None, None, 0, 9, False)
    with pytest.raises(RuntimeError):
        ride.drive(0, 1)
    assert len(ride.gear.undo()) == 1
    assert ride.gear.undo() == []
    (seq, arrived, *_, places), moved, _, rest = ride.ride.leave()
    carried = Carried(*rest)
    assert (carried.done, seq, arrived, places, carried.owed) == (0, 5, (0, 1 << 40), b"", False)
    assert (moved, carried.arrived, carried.request, carried.subject) == (0, arrived, b"", None)
    ride.close()
