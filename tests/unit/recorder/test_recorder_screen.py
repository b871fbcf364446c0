"""How PostgreSQL's conversation is shown."""

from __future__ import annotations

import random
import struct

import pytest

from recorder.binary_values import shown
from recorder.records import CommandEntry
from recorder.show_postgres import PostgresScreen
from recorder.timeline import command_line, parameter


def m(kind: bytes, body: bytes = b"") -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


def titles(*names: tuple[bytes, int], form: int = 0) -> bytes:
    body = b"".join(n + b"\0" + struct.pack(">IHIhih", 0, 0, o, 4, -1, form) for n, o in names)
    return m(b"T", len(names).to_bytes(2, "big") + body)


def row(*values: bytes | None) -> bytes:
    cells = [b"\xff" * 4 if v is None else len(v).to_bytes(4, "big") + v for v in values]
    return m(b"D", len(values).to_bytes(2, "big") + b"".join(cells))


STARTUP = b"\0\0\0\x10\0\3\0\0user\0u\0\0"
DONE, READY = m(b"C", b"SELECT 1\0"), m(b"Z", b"I")


def parse(name: bytes, text: bytes) -> bytes:
    return m(b"P", name + b"\0" + text + b"\0\0\0")


def bind(statement: bytes, *forms: int) -> bytes:
    count = len(forms).to_bytes(2, "big")
    return m(b"B", b"\0" + statement + b"\0\0\0\0\0" + count + b"".join(
        f.to_bytes(2, "big") for f in forms))  # fmt: skip


def play(*turns: bytes) -> list[str]:
    """What is shown of what client and server said in turn."""
    screen = PostgresScreen()
    told = [*screen.asked(STARTUP), *screen.feed(m(b"R", bytes(4)))]
    for number, raw in enumerate(turns):
        told += screen.feed(raw) if number % 2 else screen.asked(raw)
    return [*told, *screen.finish()]


def test_titles_of_what_failed_are_not_those_of_what_comes_next() -> None:
    told = play(
        m(b"Q", b"select pg_sleep(5)\0"),
        titles((b"pg_sleep", 2278)) + m(b"E", b"SERROR\0C57014\0Mcanceled\0\0") + READY,
        m(b"Q", b"set x = 1\0"), m(b"C", b"SET\0") + READY,
    )  # fmt: skip
    assert told == ["ERROR: 57014 canceled", "SET"]


def test_rows_that_are_not_shown_are_counted() -> None:
    screen = PostgresScreen(2)
    told = [*screen.asked(STARTUP), *screen.feed(m(b"R", bytes(4)))]
    told += screen.asked(m(b"Q", b"select n\0"))
    rows = b"".join(row(b"%d" % n) for n in range(50))
    told += screen.feed(titles((b"n", 23)) + rows + DONE + READY)
    assert told == ["n", "-", "0", "1", "… 48 more rows", "SELECT 1"]


# What PostgreSQL 15 sends of a value in binary, and in text.
VALUES = [
    (21, "0002", "2"),
    (23, "fffffffb", "-5"),
    (20, "0000000000000001", "1"),
    (16, "01", "t"),
    (700, "3fc00000", "1.5"),
    (701, "4004000000000000", "2.5"),
    (17, "0102", "\\x0102"),
    (1700, "0002000000000002000c1388", "12.50"),
    (1700, "0000000000000000", "0"),
    (1700, "0001fffe4000000503e8", "-0.00001"),
    (1700, "00000000c0000000", "NaN"),
    (1700, "00010005000000000001", "100000000000000000000"),
    (1184, "0002b0d5d4e94000", "2024-01-01 00:00:00+00"),
    (1184, "7fffffffffffffff", "infinity"),
    (1114, "00023e1e36f83b00", "2020-01-02 03:04:05.6"),
    (1082, "00001caa", "2020-02-03"),
    (1082, "80000000", "-infinity"),
    (1083, "0000000292555340", "03:04:05"),
    (3802, "017b7d", "{}"),
    (1186, "0000000283baec000000000200000001", "1 mon 2 days 03:00:00"),
    (1186, "ffffffff296c5c000000000000000000", "-01:00:00"),
    (1007, "00000001000000010000001700000002000000010000000400000001ffffffff", "{1,NULL}"),
    (2950, "8d6365e186aa4aa09d9fe0dbde1d077e", "8d6365e1-86aa-4aa0-9d9f-e0dbde1d077e"),
]  # fmt: skip


@pytest.mark.parametrize(("oid", "raw", "text"), VALUES)
def test_binary_values(oid: int, raw: str, text: str) -> None:
    assert shown(bytes.fromhex(raw), oid) == text


def test_binary_values_never_raise() -> None:
    rng = random.Random(3)
    for _ in range(20_000):
        oid = rng.choice([v[0] for v in VALUES] + [2950, 114, 701, 26, 99])
        shown(rng.randbytes(rng.randrange(40)), oid)


def test_the_form_comes_from_the_bind() -> None:
    described = m(b"1") + m(b"2") + titles((b"n", 23), (b"v", 1700))
    asked = parse(b"s", b"select") + m(b"D", b"Ss\0") + bind(b"s", 1) + m(b"E", bytes(5)) + m(b"S")
    told = play(asked, described + row(b"1234", bytes.fromhex("0002000000000002000c1388"))
                + DONE + READY)  # fmt: skip
    # As text "1234" would be another number.
    assert "825373492 | 12.50" in told
    asked = asked.replace(bind(b"s", 1), bind(b"s"))
    assert "1234 | 12.50" in play(asked, described + row(b"1234", b"12.50") + DONE + READY)


def test_a_statement_that_is_not_described_again_keeps_its_titles() -> None:
    first = parse(b"s", b"select") + m(b"D", b"Ss\0") + m(b"S")
    told = play(
        first,
        m(b"1") + m(b"t", b"\0\0") + titles((b"name", 25)) + READY,
        m(b"Q", b"begin\0"),
        m(b"C", b"BEGIN\0") + READY,
        bind(b"s") + m(b"E", bytes(5)) + m(b"S"),
        m(b"2") + row(b"Ada") + DONE + READY,
    )
    assert told == ["BEGIN", "name", "----", "Ada", "SELECT 1"]


def test_of_requests_sent_at_once_each_answer_says_whose_it_is() -> None:
    asked = b"".join(
        parse(b"", b"select %d" % n) + bind(b"") + m(b"E", bytes(5)) for n in range(3)
    ) + m(b"S")  # fmt: skip
    answer = b"".join(m(b"1") + m(b"2") + row(b"%d" % n) + DONE for n in range(2))
    answer += m(b"E", b"SERROR\0C22012\0Mno\0\0") + READY
    told = play(asked, answer)
    assert [line for line in told if line.startswith("→")] == [
        "→ select 0", "→ select 1", "→ select 2",
    ]  # fmt: skip
    assert told.index("→ select 2") + 1 == told.index("ERROR: 22012 no")
    # One at a time needs no telling.
    alone = parse(b"", b"select 1") + bind(b"") + m(b"E", bytes(5)) + m(b"S")
    assert not any("→" in line for line in play(alone, m(b"1") + row(b"1") + DONE + READY))


def test_after_an_error_the_rest_of_the_batch_is_forgotten() -> None:
    asked = parse(b"", b"select 1") + bind(b"") + m(b"E", bytes(5))
    asked += parse(b"", b"select 2") + bind(b"") + m(b"E", bytes(5)) + m(b"S")
    error = m(b"E", b"SERROR\0C22012\0Mno\0Ddeep\0Hmaybe\0\0")
    told = play(asked, error + READY, m(b"Q", b"select 3\0"), titles((b"x", 25)) + row(b"y") + DONE)
    assert told == [
        "→ select 1", "ERROR: 22012 no", "  DETAIL: deep", "  HINT: maybe",
        "x", "-", "y", "SELECT 1",
    ]  # fmt: skip


def test_copies_show_their_first_lines() -> None:
    out = m(b"H", b"\0\0\1\0\0") + m(b"d", b"1\tAda\n") + m(b"d", b"2\tB\x1b\n") + m(b"c")
    told = play(m(b"Q", b"copy t to stdout\0"), out + m(b"C", b"COPY 2\0") + READY)
    assert told == ["(COPY data to the client, 11 bytes)", "  1\\tAda", "  2\\tB\\x1b", "COPY 2"]
    told = play(
        m(b"Q", b"copy t from stdin\0"),
        m(b"G", b"\0\0\1\0\0"),
        m(b"d", b"1\tA") + m(b"d", b"da\n2") + m(b"c"),
        m(b"C", b"COPY 2\0") + READY,
    )
    assert told == ["(COPY data from the client, 7 bytes)", "  1\\tAda", "COPY 2"]
    told = play(
        m(b"Q", b"copy t from stdin\0"),
        m(b"G", b"\1\0\1\0\0"),
        m(b"d", b"PGCOPY\n\xff") + m(b"f", b"no more\0"),
        m(b"E", b"SERROR\0C57014\0Mfailed\0\0") + READY,
    )
    assert told[0].startswith("(the client gave its COPY up: no more")
    assert "(COPY data from the client, 8 bytes, binary)" in told


def test_calls_of_functions() -> None:
    call = m(b"F", (957).to_bytes(4, "big") + bytes(8))
    told = play(call, m(b"V", b"\0\0\0\4\0\0\x40\x2d") + READY, call, m(b"V", b"\xff" * 4) + READY)
    assert told == ["returned 16429", "returned NULL"]
    entry = CommandEntry(1, "run", "function call oid 957", 0, (), "", "", None, None, (), (), 0)
    assert command_line(entry) == "allow  function call oid 957 (lo_creat)"


def test_parameters_are_read_but_stay_what_is_on_record() -> None:
    assert parameter(None) == "NULL"
    assert parameter("it's") == "'it''s'"
    assert parameter("21:4028") == "'21:4028' (int2 16424)"
    assert parameter("21:402") == "'21:402'"
    assert parameter("1700:ff") == "'1700:ff'"
    assert parameter("17:1b5b") == "'17:1b5b' (bytea \\x1b5b)"
    assert parameter("a\x1b\n") == "'a\\x1b\\n'"


def test_what_the_client_said_may_be_anything() -> None:
    rng = random.Random(7)
    good = STARTUP + parse(b"s", b"select") + bind(b"s", 1) + m(b"D", b"Ss\0") + m(b"E", bytes(5))
    answer = titles((b"a", 23)) + row(b"1") + DONE + READY
    for _ in range(2000):
        raw = bytearray(good * 2)
        for _ in range(rng.randrange(1, 8)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        screen = PostgresScreen()
        for at in range(0, len(raw), 11):
            for text in screen.asked(bytes(raw[at : at + 11])):
                assert text.isprintable()
        screen.asked_hidden(rng.randrange(100))
        for text in [*screen.feed(answer), *screen.finish()]:
            assert text.isprintable()
