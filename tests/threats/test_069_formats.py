"""Row 69: the same value in every format and through every portal is masked, and what
is left is well-formed for a driver.
"""

from __future__ import annotations

import struct

import psycopg
import pytest
from stack import Stack
from test_067_masks_everywhere import leaks
from wire import (
    SYNC,
    Wire,
    bind,
    describe,
    enter,
    execute,
    parse,
    query,
)

COLUMNS = "id, name, email, ssn"
TEXT = f"SELECT {COLUMNS} FROM users ORDER BY id"
MASKED_SSN = b"9999"


def check(wire: Wire, rows: list[list[bytes | None]]) -> None:
    assert leaks(wire.seen) == []
    assert len(rows) == 3
    assert rows[0][1] == b"Ada"
    assert rows[0][3] is not None
    assert rows[0][3].endswith(MASKED_SSN)
    assert rows[2][2:] == [None, None], "NULL stays NULL"


@pytest.mark.parametrize("formats", [(), (0,), (1,), (0, 1, 1, 0), (1, 0, 0, 1), (0, 0, 1, 1)])
def test_result_formats(masked: Stack, formats: tuple[int, ...]) -> None:
    with enter(masked) as wire:
        answer = wire.say(parse("", TEXT), bind("", "", results=formats), describe("P"), execute())
        check(wire, answer.rows)


@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_portals_in_portions(masked: Stack, rows: int) -> None:
    with enter(masked) as wire:
        wire.ask("BEGIN")
        answer = wire.say(parse("s", TEXT), bind("p", "s", results=(1,)), *[execute("p", rows)] * 4)
        check(wire, answer.rows)
        wire.ask("COMMIT")


def test_describe_is_not_needed(masked: Stack) -> None:
    with enter(masked) as wire:
        answer = wire.say(parse("", TEXT), bind("", ""), execute())
        assert "T" not in answer.kinds, "the client asked for no description"
        check(wire, answer.rows)


def test_many_results_of_one_prepared_statement(masked: Stack) -> None:
    with enter(masked) as wire:
        wire.say(parse("s", TEXT))
        for form in (0, 1, 0):
            check(wire, wire.say(bind("", "s", results=(form,)), execute()).rows)


@pytest.mark.parametrize("fetch", ["FETCH ALL", "FETCH 1", "FETCH ABSOLUTE 1", "FETCH LAST"])
@pytest.mark.parametrize("kind", ["", "BINARY"])
def test_cursors(masked: Stack, fetch: str, kind: str) -> None:
    with enter(masked) as wire:
        wire.ask(f"BEGIN; DECLARE c {kind} SCROLL CURSOR FOR {TEXT}")
        for _ in range(2):
            wire.ask(f"{fetch} FROM c")
        wire.say(bind("x", ""), parse("", f"{fetch} FROM c"), bind("", "", results=(1,)), execute())
        assert leaks(wire.seen) == []


COPIES = ["", "(FORMAT text)", "(FORMAT csv)", "(FORMAT csv, HEADER, QUOTE '''')",
          "(FORMAT csv, FORCE_QUOTE *)", "(FORMAT binary)", "(DELIMITER '|')",
          "(FORMAT csv, DELIMITER '-')", "(NULL 'ada')", "(ENCODING 'UTF8')"]  # fmt: skip


@pytest.mark.parametrize("options", COPIES)
@pytest.mark.parametrize("source", [f"users ({COLUMNS})", f"({TEXT})"])
def test_copy(masked: Stack, source: str, options: str) -> None:
    with enter(masked) as wire:
        answer = wire.ask(f"COPY {source} TO STDOUT {options}")
        assert leaks(wire.seen) == []
        data = b"".join(body for kind, body in answer if kind == "d")
        if answer.code:
            assert answer.code == "42501"
            return
        assert answer.tags == ["COPY 3"]
        assert b"Ada" in data
        if "binary" in options:
            assert _binary_rows(data) == 3


def _binary_rows(data: bytes) -> int:
    assert data[:11] == b"PGCOPY\n\xff\r\n\0"
    (skip,) = struct.unpack_from(">I", data, 15)
    at, rows = 19 + skip, 0
    while True:
        (count,) = struct.unpack_from(">h", data, at)
        at += 2
        if count == -1:
            assert at == len(data)
            return rows
        for _ in range(count):
            (size,) = struct.unpack_from(">i", data, at)
            at += 4 + max(size, 0)
        rows += 1


@pytest.mark.parametrize("encoding", ["SJIS", "LATIN1", "UTF16"])
def test_copy_in_another_encoding(masked: Stack, encoding: str) -> None:
    with enter(masked) as wire:
        wire.ask(f"COPY users ({COLUMNS}) TO STDOUT (ENCODING '{encoding}')")
        assert leaks(wire.seen) == []


@pytest.mark.parametrize("binary", [False, True])
def test_a_driver_parses_it(masked: Stack, binary: bool) -> None:
    with masked.connect("shop") as connection:
        assert isinstance(connection, psycopg.Connection)
        rows = connection.execute(
            "SELECT id, name, email, ssn, born, score, tags FROM users ORDER BY id", binary=binary
        ).fetchall()
        assert rows[0][0] == 1
        assert rows[0][2] != "ada@example.com"
        assert str(rows[0][4]) == "1815-12-10"


def test_a_later_text_does_not_inherit(masked: Stack) -> None:
    """Two results in one go: each has its own masks."""
    with enter(masked) as wire:
        wire.send(
            query(f"{TEXT}; SELECT 1; {TEXT}"), parse("", TEXT), bind("", ""), execute(), SYNC
        )
        wire.until()
        wire.until()
        assert leaks(wire.seen) == []
