"""Ids, clocks and chance."""

from __future__ import annotations

import re

from gateway.world import FixedWorld, World, encode_ulid


def test_the_encoding_is_the_specs() -> None:
    # The largest and smallest of github.com/ulid/spec, and one by hand.
    assert encode_ulid((1 << 128) - 1) == "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"
    assert encode_ulid(0) == "0" * 26
    assert encode_ulid(1_469_918_176_385 << 80)[:10] == "01ARYZ6S41"


def test_ids_rise_and_are_well_formed() -> None:
    world = World()
    ids = [world.ulid() for _ in range(5000)]
    assert ids == sorted(set(ids))
    assert all(re.fullmatch(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", one) for one in ids)


def test_ids_rise_within_a_millisecond_and_when_the_clock_goes_back() -> None:
    world = FixedWorld()
    ids = [world.ulid() for _ in range(100)]
    world.jump(-10_000)
    ids += [world.ulid() for _ in range(100)]
    world.jump(20_000)
    ids.append(world.ulid())
    assert ids == sorted(set(ids))


def test_processes_have_their_own_instance() -> None:
    world = World()
    before = world.instance
    world.after_fork()
    assert world.instance != before
    assert World().instance != World().instance


def test_chance_and_clocks() -> None:
    world = World()
    assert len(world.chance(20)) == 20
    assert world.chance(16) != world.chance(16)
    assert world.mono_ns() <= world.mono_ns()
    assert abs(world.wall() - world.wall_ns() / 1e9) < 1


def test_a_fixed_world_stands_still() -> None:
    one, other = FixedWorld(5.0), FixedWorld(5.0)
    assert [one.ulid(), one.chance(9)] == [other.ulid(), other.chance(9)]
    assert (one.wall(), one.mono_ns()) == (5.0, 0)
    one.pass_time(1.5)
    assert (one.wall(), one.mono_ns()) == (6.5, 1_500_000_000)
    one.jump(-1)
    assert (one.wall(), one.mono_ns()) == (5.5, 1_500_000_000)
    assert [len(one.chance(n)) for n in (0, 1, 7, 8, 32)] == [0, 1, 7, 8, 32]
