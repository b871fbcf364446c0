"""Counts are unsigned: PostgreSQL takes up to 65,535 parameters (pq_getmsgint(buf, 2))."""

from __future__ import annotations

import struct

import pytest

from protocols.errors import WireError
from protocols.postgres.frames import read_bind, read_parse

MANY = [0x7FFF, 0x8000, 0xFFFF]


@pytest.mark.parametrize("count", MANY)
def test_as_many_parameters_as_the_server_takes(count: int) -> None:
    types = struct.pack(f">H{count}I", count, *[23] * count)
    parsed = read_parse(raw := b"\0select 1\0" + types, 0, len(raw))
    assert parsed.types == ("23",) * count
    forms = struct.pack(f">H{count}H", count, *[1] * count)
    values = struct.pack(">H", count) + struct.pack(">i", -1) * count
    body = b"\0\0" + forms + values + struct.pack(f">H{count}H", count, *[0] * count)
    assert read_bind(body, 0, len(body))[2] == [(None, 1)] * count


@pytest.mark.parametrize("count", MANY)
def test_that_do_not_fill_their_message(count: int) -> None:
    short = struct.pack(">H", count)
    for raw in (b"\0select 1\0" + short, b"\0select 1\0" + short + bytes(4 * count - 1)):
        with pytest.raises(WireError):
            read_parse(raw, 0, len(raw))
    for body in (
        b"\0\0" + short + bytes(2 * count),
        b"\0\0\0\0" + short + bytes(4 * count - 4) + b"\0\0",
        b"\0\0\0\0\0\0" + short + bytes(2 * count - 1),
    ):
        with pytest.raises(WireError):
            read_bind(body, 0, len(body))
