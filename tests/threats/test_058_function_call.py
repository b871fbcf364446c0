"""Row 58: FunctionCall runs a function by number, without any text to judge.

Goes red when ``ClientLane._call`` gives its part the action ``sql.select``.
"""

from __future__ import annotations

import struct

import psycopg
import pytest
from stack import Stack
from wire import SYNC, enter, frame, parse

from gateway.demo.postgres import Server


def call(oid: int, *values: bytes, formats: tuple[int, ...] = (1,), result: int = 1) -> bytes:
    body = struct.pack(">I", oid) + struct.pack(f">h{len(formats)}h", len(formats), *formats)
    body += struct.pack(">h", len(values))
    for value in values:
        body += struct.pack(">i", len(value)) + value
    return frame("F", body + struct.pack(">h", result))


LO_CREAT = call(957, struct.pack(">i", -1))


@pytest.fixture
def objects(pg: Server) -> object:
    def count() -> int:
        with psycopg.connect(pg.dsn("shop")) as connection:
            row = connection.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchone()
        assert row is not None
        return int(row[0])

    return count


def test_it_is_refused_and_does_not_run(readers: Stack, objects: object) -> None:
    before = objects()  # type: ignore[operator]
    with enter(readers) as wire:
        answer = wire.send(LO_CREAT).until()
        assert answer.code == "42501"
        assert "V" not in answer.kinds
        assert answer.status == "I"
        assert wire.ask("SELECT 1").rows == [[b"1"]], "the session lives on"
    assert objects() == before  # type: ignore[operator]


def test_the_same_works_where_everything_may(anything: Stack, objects: object) -> None:
    """So that the test above can fail."""
    before = objects()  # type: ignore[operator]
    with enter(anything) as wire:
        assert "V" in wire.send(LO_CREAT).until().kinds
    assert objects() == before + 1  # type: ignore[operator]


@pytest.mark.parametrize(
    "raw",
    [
        call(957),
        call(0, b""),
        call(0xFFFFFFFF, b"\0\0\0\0"),
        call(957, struct.pack(">i", -1), formats=(0, 1)),
        call(957, struct.pack(">i", -1), formats=(), result=0),
        call(1598, formats=()),
    ],
)
def test_variants(readers: Stack, objects: object, raw: bytes) -> None:
    before = objects()  # type: ignore[operator]
    with enter(readers) as wire:
        answer = wire.send(raw).until()
        assert "V" not in answer.kinds
        assert answer.errors
    assert objects() == before  # type: ignore[operator]


def test_inside_of_a_transaction_and_after_an_error(readers: Stack, objects: object) -> None:
    before = objects()  # type: ignore[operator]
    with enter(readers) as wire:
        wire.ask("BEGIN")
        assert wire.send(LO_CREAT).until().status == "E", "the transaction is aborted"
        assert wire.ask("SELECT 1").code == "25P02"
        assert wire.ask("ROLLBACK").status == "I"
        answer = wire.send(parse("", "DELETE FROM users"), LO_CREAT, SYNC).until()
        assert answer.code == "42501"
        assert "V" not in answer.kinds
    assert objects() == before  # type: ignore[operator]


def test_a_masked_result_of_it_is_refused(masked: Stack) -> None:
    """query_to_xml by number would read any table past its masks."""
    with enter(masked) as wire:
        oid = int(wire.ask("SELECT 'query_to_xml'::regproc::oid::int").rows[0][0] or b"0")
        text = b"SELECT email FROM users"
        answer = wire.send(call(oid, text, b"t", b"f", b"", formats=(0, 0, 0, 0), result=0)).until()
        assert answer.code == "42501", answer
        assert b"ada@example.com" not in wire.seen
