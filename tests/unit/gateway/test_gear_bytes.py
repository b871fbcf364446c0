"""Hostile bytes on sessions that are aboard: what is carried is on record as it is, in
msgpack's shortest forms, framed and checked; whatever is not goes to Python whole.

Also what is run against a loop built with ``-fsanitize=address,undefined``.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
from pathlib import Path
from random import Random
from typing import Any

import msgpack
import pytest

sys.path[:0] = [str(Path(__file__).parents[1] / "protocols" / "postgres")]

from pg_kit import SYNC, columns, complete, describe, execute, f, parse, ready, row  # noqa: E402

from gateway import seat as seats  # noqa: E402
from protocols.recurring import Carried, Rows  # noqa: E402
from recorder import framing  # noqa: E402

gear_type = seats._Gear
pytestmark = pytest.mark.skipif(gear_type is None, reason="the inner loop is not built")

NAMES = [b"a", b"", b"x" * 63]
FIELDS = columns("a")[5:]
NUMBERS = [0, 1, 3, 4, 5, 6, 7, 8, 9, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF]
NUMBERS += [0x7FFFFFFF, 0x80000000, 0xFFFFFFFC, 0xFFFFFFFF]
TYPES: list[tuple[bytes, ...]] = [(), (b"int4:",) * 64, (b"t" * 24,) * 3]
SEED, PLACE = 77, 1 << 32
AGAIN, OTHER = parse("", "select 1"), parse("", "select 2", 23, 0)
PRELUDES = [AGAIN, OTHER, f("P", b"\0" + b"x" * 4096 + bytes(3))]


class Thing:
    """Stands for a session, a log, a decision."""


def request(chance: Random) -> bytes:
    count = chance.choice([0, 1, 2, 3, 63, 64, 65])
    most = 9000 if chance.random() < 0.1 else 3
    body = b"\0" + chance.choice(NAMES) + b"\0"
    forms = chance.choice([[], [0], [1], [chance.randint(0, 1) for _ in range(count)]])
    body += struct.pack(f">H{len(forms)}H", len(forms), *forms) + struct.pack(">H", count)
    for _ in range(count):
        value = chance.choice(
            [
                None,
                b"",
                b"1",
                chance.randbytes(chance.randint(0, 40)),
                b"z" * chance.randint(0, most),
            ]
        )
        body += struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value
    look = chance.choice([b"", describe("P")])
    first = chance.choice([b"", *PRELUDES])
    return first + f("B", body + struct.pack(">HH", 1, 0)) + look + execute() + SYNC


def reply(chance: Random) -> bytes:
    rows = b"".join(row(b"v" * chance.randint(0, 50)) for _ in range(chance.randint(0, 5)))
    look = chance.choice([b"", columns("a"), f("n")])
    first = chance.choice([b"", f("1")])
    return first + f("2") + look + rows + complete("SELECT 1") + ready(chance.choice("ITTE"))


def spoilt(raw: bytes, chance: Random) -> bytes:
    data = bytearray(raw)
    for _ in range(chance.choice([0, 0, 1, 1, 2, 5])):
        if not data:
            break
        at = chance.randrange(len(data))
        how = chance.randint(0, 5)
        if how == 0:
            data[at] = chance.randint(0, 255)
        elif how == 1:
            data[at : at + 4] = struct.pack(">I", chance.choice(NUMBERS))
        elif how == 2:
            data[at : at + 2] = struct.pack(">H", chance.choice(NUMBERS) & 0xFFFF)
        elif how == 3:
            del data[at:]
        elif how == 4:
            del data[at : at + chance.randint(1, 9)]
        else:
            data[at:at] = chance.randbytes(chance.randint(1, 9))
    return bytes(data)


class Ride:
    """A session aboard, on two socket pairs."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.gear = gear_type(self.epoll.fileno(), (b"hunter22", b"aGVsbG8"))
        self.near, self.far = zip(socket.socketpair(), socket.socketpair(), strict=True)
        for sock in (*self.near, *self.far):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
            sock.setblocking(False)
        for sock in self.near:
            self.epoll.register(sock.fileno(), select.EPOLLIN)
        self.ride = self.gear.ride(1, 0, 1 << 20)
        self.memory: dict[str, int] = {}
        self.file = os.memfd_create("segment")
        self.segment = 0

    def board(
        self,
        chance: Random,
        room: int = 1 << 40,
        masked: bool | None = None,
        unnamed: bool = True,
        until: int = 1 << 63,
    ) -> None:
        self.ride.forget()
        sure = masked is not None
        if masked is None:
            masked = chance.random() < 0.5
        for name in NAMES:
            fields = chance.choice([FIELDS] if sure else [None, FIELDS]) if masked else None
            shape = chance.choice([1, 1 << 33])
            subject = Thing()
            preludes = PRELUDES if not name else [None]
            for prelude in preludes:
                self.ride.learn(
                    name, prelude, subject, fields, chance.choice(TYPES), masked, 0, shape,
                    shape + 1, Thing(),
                )  # fmt: skip
        fds = (self.near[0].fileno(), self.near[1].fileno())
        number = 1 << chance.choice([0, 7, 16, 32, 60])
        self.segment = 1
        self.ride.board(
            Thing(), Thing(), fds, number, 5, (0, 1 << 40), (1 << 31, 2), until, room, 1,
            (self.memory, "a", None, "b", None), subject if unnamed else None,
        )  # fmt: skip

    def drive(self, end: int, segment: int) -> Any:
        """One round."""
        os.ftruncate(self.file, 0)
        os.lseek(self.file, 0, os.SEEK_SET)
        return self.gear.drive(0, 0, (self.file, end, PLACE, SEED, segment, 1))

    def round(self, side: int, raw: bytes, chance: Random) -> bool:
        """True if ``raw`` was carried."""
        self.far[side].send(raw)
        end, segment = chance.choice([0, 32, 1 << 20]), chance.choice([1, 2])
        rest, late, strangers, length, fault, moved = self.drive(end, segment)
        assert late is None
        assert fault == 0
        assert moved == (length > 0)
        if not moved:
            assert strangers is None
            ((_, _, passed),) = rest
            assert passed == raw[:16384]
            for sock in self.near:
                try:
                    while sock.recv(1 << 16):
                        pass
                except BlockingIOError:
                    continue
            return False
        assert rest is None
        block = os.pread(self.file, 1 << 20, 0)
        assert len(block) == length
        assert (strangers is not None) == (segment != self.segment)
        self.segment = segment
        body = block[16:]
        assert framing.frame(framing.DATA, body, SEED, end) == block
        record = msgpack.unpackb(body, strict_map_key=False)
        assert msgpack.packb(record) == body
        parsed = raw[:1] == b"P"
        assert len(record) == (4 if side else 5 + parsed)
        if parsed:
            assert record[3][4] is None
            assert record[4][1] == record[3][1] + 1
        assert record[-1][-1] == raw
        assert self.far[1 - side].recv(1 << 20) == raw
        return True

    def close(self) -> None:
        for sock in (*self.near, *self.far):
            sock.close()
        self.epoll.close()
        os.close(self.file)


def ride_on(seed: int, times: int) -> int:
    chance = Random(seed)
    ride = Ride()
    carried = 0
    for _ in range(times):
        ride.board(chance)
        for side in (0, 1, 0, 1):
            raw = spoilt(reply(chance) if side else request(chance), chance)
            if raw:
                if not ride.round(side, raw, chance):
                    break
                carried += 1
        ride.ride.leave()
    ride.close()
    return carried


def test_hostile_bytes() -> None:
    assert ride_on(1, 2000) > 100


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(2, 12))
def test_more_hostile_bytes(seed: int) -> None:
    assert ride_on(seed, 20_000) > 1000


def asked(
    name: bytes = b"a", rest: bytes = describe("P") + execute() + SYNC, values: bytes = bytes(6)
) -> bytes:
    return f("B", b"\0" + name + b"\0" + values) + rest


FAR = asked(values=struct.pack(">HHi", 0, 1, 9000) + b"x" * 9000 + bytes(2))


@pytest.mark.parametrize(
    ("raw", "carried"),
    [
        (asked(), True),
        (asked(rest=execute() + SYNC), False),  # its result is looked at: it has to be described
        (asked(b"b"), False),
        (asked(b""), True),
        (asked(b"x" * 62), False),
        (asked(rest=describe("S", "a") + execute() + SYNC), False),
        (asked(rest=describe("P") + execute() + SYNC + SYNC), False),
        (asked(rest=describe("P") + execute() + execute() + SYNC), False),
        (asked(rest=describe("P") + execute("p") + SYNC), False),
        (asked(rest=describe("P") + execute()), False),
        (asked() + b"X", False),
        (b"\0" + asked(), False),
        (asked(values=struct.pack(">HHi", 0, 1, 2) + b"ab" + bytes(2)), True),
        (asked(values=struct.pack(">HHi", 0, 1, 2) + b"\xc3\xa9" + bytes(2)), False),
        (asked(values=struct.pack(">HHHi", 1, 1, 1, 2) + b"\xc3\xa9" + bytes(2)), True),
        (asked(values=struct.pack(">HHHi", 1, 2, 1, 2) + b"ab" + bytes(2)), False),
        (asked(values=struct.pack(">HHi", 0, 1, 3) + b"ab" + bytes(2)), False),
        (asked(values=struct.pack(">HHi", 0, 1, 1) + b"ab" + bytes(2)), False),
        (asked(values=struct.pack(">HHi", 0, 1, -2) + bytes(2)), False),
        (asked(values=struct.pack(">HHi", 0, 1, -1) + bytes(2)), True),
        (asked(values=struct.pack(">HHHHi", 2, 1, 1, 1, -1) + bytes(2)), False),
        (asked(values=bytes(7)), False),
        (FAR, False),
    ],
)
def test_which_requests_are_carried(raw: bytes, carried: bool) -> None:
    ride = Ride()
    ride.board(Random(1), masked=True)
    assert ride.round(0, raw, Random(1)) is carried
    ride.ride.leave()
    # The same, said anew: all but what is about another statement than the unnamed one.
    ride.board(Random(1), masked=True, unnamed=False)
    assert ride.round(0, AGAIN + raw, Random(1)) is (carried and raw[6:7] == b"\0")
    ride.ride.leave()
    ride.close()


@pytest.mark.parametrize(
    ("raw", "carried"),
    [
        (AGAIN + asked(b""), True),
        (OTHER + asked(b""), True),
        (parse("", "select 2", 23) + asked(b""), False),
        (parse("", "select 2", 23, 1) + asked(b""), False),
        (parse("", "select 3") + asked(b""), False),
        (parse("a", "select 1") + asked(b"a"), False),
        (AGAIN + asked(b"a"), False),
        (AGAIN + AGAIN + asked(b""), False),
        (AGAIN + SYNC + asked(b""), False),
        (AGAIN + asked(b"")[:9], False),
        (AGAIN, False),
        (AGAIN[:-1] + asked(b""), False),
        (AGAIN + b"\0" + asked(b""), False),
        (asked(b""), False),  # the unnamed one is another, and not known
        (b"P\0\0\0\0" + asked(b""), False),
        (b"P\xff\xff\xff\xff" + asked(b""), False),
    ],
)
def test_what_is_prepared_anew(raw: bytes, carried: bool) -> None:
    ride = Ride()
    ride.board(Random(1), masked=True, unnamed=False)
    assert ride.round(0, raw, Random(1)) is carried
    ride.ride.leave()
    ride.close()


SEEN, DONE = f("2") + columns("a"), complete("SELECT 1") + ready()


@pytest.mark.parametrize(
    ("raw", "carried", "unmasked"),
    [
        (SEEN + row(b"1") + DONE, True, True),
        (SEEN + row(b"1") * 40 + DONE, True, True),
        (SEEN + DONE, True, True),
        (f("2") + f("n") + DONE, True, True),
        (f("2") + f("n") + row(b"1") + DONE, False, False),
        (f("2") + columns("b") + row(b"1") + DONE, False, True),
        (f("2") + columns("a", "b") + row(b"1") + DONE, False, True),
        (f("2") + row(b"1") + DONE, False, False),
        (SEEN + row(b"it is hunter22") + DONE, False, False),
        (SEEN + row(b"aGVsbG8") + DONE, False, False),
        (SEEN + row(b"1") + complete("SELECT 1") + ready("T"), True, True),
        (SEEN + row(b"1") + complete("SELECT 1") + ready("E"), False, False),
        (SEEN + row(b"1") + complete("SELECT 1") + ready("X"), False, False),
        (SEEN + row(b"1") + complete("SELECT 1"), False, False),
        (SEEN + row(b"1") + ready(), False, False),
        (SEEN + row(b"1") + DONE + f("N", b"\0"), False, False),
        (SEEN + f("N", b"\0") + DONE, False, False),
        (SEEN + f("E", b"\0") + ready(), False, False),
        (SEEN + f("s") + ready(), True, True),
        (SEEN + f("s", b"\0") + ready(), False, False),
        (SEEN + f("s") + DONE, False, False),
        (SEEN + f("D", b"\0") + DONE, False, False),
        (f("2", b"\0") + columns("a") + DONE, False, False),
        (f("1") + SEEN + DONE, False, False),
        (b"2\0\0\0\5" + columns("a") + DONE, False, False),
        ((SEEN + DONE)[:-1] + b"E", False, False),
    ],
)
def test_which_replies_are_carried(raw: bytes, carried: bool, unmasked: bool) -> None:
    for masked, expected in ((True, carried), (False, unmasked)):
        ride = Ride()
        ride.board(Random(1), masked=masked)
        assert ride.round(0, asked(), Random(1))
        assert ride.round(1, raw, Random(1)) is expected
        ride.ride.leave()
        ride.close()


@pytest.mark.parametrize(
    ("raw", "carried"),
    [
        (f("1") + SEEN + DONE, True),
        (SEEN + DONE, False),
        (f("1") + f("1") + SEEN + DONE, False),
        (f("1", b"\0") + SEEN + DONE, False),
        (f("2") + f("1") + columns("a") + DONE, False),
        (f("1"), False),
        (f("1") + f("2"), False),
    ],
)
def test_which_replies_to_what_was_prepared_anew_are_carried(raw: bytes, carried: bool) -> None:
    ride = Ride()
    ride.board(Random(1), masked=True, unnamed=False)
    assert ride.round(0, AGAIN + asked(b""), Random(1))
    assert ride.round(1, raw, Random(1)) is carried
    ride.ride.leave()
    ride.close()


def test_what_is_told_of_the_last_request() -> None:
    ride = Ride()
    steps = [
        (asked(b"a"), f("2") + f("n") + complete("X") + ready("T"), b"T", False, True, Rows.NONE),
        (asked(b"a"), SEEN + complete("X") + ready("T"), b"T", False, True, Rows.DESCRIBED),
        (asked(b"a"), SEEN + row(b"1") + DONE, b"I", True, False, Rows.CAME),
        (AGAIN + asked(b""), f("1") + SEEN + complete("X") + ready("T"), b"T", True, True,
         Rows.DESCRIBED),
        (asked(b""), SEEN + row(b"2") + complete("X") + ready("T"), b"T", True, True, Rows.CAME),
    ]  # fmt: skip
    for upto in range(1, len(steps) + 1):
        ride.board(Random(1), masked=True, unnamed=False)
        for ask, reply, *_ in steps[:upto]:
            assert ride.round(0, ask, Random(1))
            assert ride.round(1, reply, Random(1))
        ask, _, status, rested, veiled, rows = steps[upto - 1]
        carried = Carried(*ride.ride.leave()[3])
        assert carried.done == upto
        assert carried.number == carried.masked + 1
        assert bytes([carried.status]) == status
        assert (carried.rested, carried.veiled) == (rested, veiled)
        assert (carried.request, carried.owed, carried.rows) == (ask, False, rows)
        assert (carried.renewed is not None, carried.renewed_after) == (
            (True, 3) if upto > 3 else (False, 0)
        )
        assert carried.fields == FIELDS
    ride.close()


def test_more_statements_than_are_remembered() -> None:
    """The oldest makes room, and no other."""
    chance = Random(1)
    ride = Ride()
    count = 64
    for i in range(count + 2):
        ride.ride.learn(b"%d" % i, None, Thing(), None, (), False, 0, 1, 1, Thing())
    fds = (ride.near[0].fileno(), ride.near[1].fileno())
    for i in range(count + 2):
        ride.segment = 1
        ride.ride.board(
            Thing(), Thing(), fds, 1, 5, (0, 0), (0, 0), 1 << 63, 1 << 40, 1,
            (ride.memory, "a", None, "b", None), None,
        )  # fmt: skip
        assert ride.round(0, asked(b"%d" % i), chance) is (i > 1)
        ride.ride.leave()
    ride.close()


def test_one_unnamed_statement_takes_one_place_however_often_it_is_learnt() -> None:
    """Where no Parse makes it anew it is known by itself."""
    chance = Random(1)
    ride = Ride()
    ride.ride.learn(b"a", None, Thing(), None, (), False, 0, 1, 1, Thing())
    subject = Thing()
    for _ in range(70):
        ride.ride.learn(b"", None, subject, None, (), False, 0, 1, 1, Thing())
    fds = (ride.near[0].fileno(), ride.near[1].fileno())
    ride.segment = 1
    ride.ride.board(
        Thing(), Thing(), fds, 1, 5, (0, 0), (0, 0), 1 << 63, 1 << 40, 1,
        (ride.memory, "a", None, "b", None), subject,
    )  # fmt: skip
    for name in (b"a", b""):
        assert ride.round(0, asked(name), chance)
        assert ride.round(1, SEEN + DONE, chance)
    ride.ride.leave()
    ride.close()


def test_a_message_that_is_longer_than_allowed_is_left_to_python() -> None:
    chance = Random(1)
    bind = int.from_bytes(asked(b"")[1:5], "big")
    parsed = int.from_bytes(AGAIN[1:5], "big")
    cases = [
        (asked(b""), bind, True), (asked(b""), bind - 1, False),
        (AGAIN + asked(b""), parsed, True), (AGAIN + asked(b""), parsed - 1, False),
        (asked(b""), 8, False),
    ]  # fmt: skip
    assert parsed > bind
    for raw, limit, carried in cases:
        ride = Ride()
        ride.ride = ride.gear.ride(1, 0, limit)
        ride.board(chance)
        assert ride.round(0, raw, chance) is carried, (raw, limit)
        ride.ride.leave()
        ride.close()


def test_what_was_found_out_holds_while_nothing_else_is_known() -> None:
    ride = Ride()
    ride.board(Random(1))
    assert ride.round(0, asked(), Random(1))
    ride.memory["b"] = 1
    assert not ride.round(1, SEEN + DONE, Random(1))
    carried = Carried(*ride.ride.leave()[3])
    assert carried.request == asked()
    assert carried.owed
    ride.close()


@pytest.mark.parametrize(
    "learnt",
    [
        (b"a", None, None, "text", (), True, 0, 1, 1, None),
        (b"a", None, None, None, ("int4:",), True, 0, 1, 1, None),
        (b"a", None, None, None, (b"t" * 25,), True, 0, 1, 1, None),
        (b"a", None, None, None, (), True, 2, 1, 1, None),
        (b"a", b"P", None, None, (), True, 0, 1, 1, None),
        (b"", "text", None, None, (), True, 0, 1, 1, None),
        ("a", None, None, None, (), True, 0, 1, 1, None),
    ],
)
def test_what_can_not_be_learnt(learnt: tuple[Any, ...]) -> None:
    ride = Ride()
    with pytest.raises((ValueError, TypeError)):
        ride.ride.learn(*learnt)
    ride.close()


def test_nobody_boards_twice_or_leaves_twice() -> None:
    chance = Random(1)
    ride = Ride()
    ride.board(chance)
    with pytest.raises(RuntimeError):
        ride.board(chance)
    other = ride.gear.ride(2, 0, 1 << 20)
    fds = (ride.near[0].fileno(), ride.near[1].fileno())
    rest = ((0, 0), (0, 0), 1, 1, 1, ({}, "a", None, "b", None), None)
    with pytest.raises(ValueError, match="somebody else"):
        other.board(Thing(), Thing(), fds, 1, 5, *rest)
    ride.ride.leave()
    with pytest.raises(RuntimeError):
        ride.ride.leave()
    assert ride.gear.aboard() == []
    ride.close()


def test_a_part_that_is_full_is_left_to_python() -> None:
    chance = Random(1)
    ride = Ride()
    ride.board(chance, room=1)
    assert ride.round(0, asked(), chance)
    assert not ride.round(1, f("2") + f("n") + complete("X") + ready(), chance)
    ride.ride.leave()
    ride.close()
