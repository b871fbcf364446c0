"""psycopg 3 through the gateway: what drivers do with the extended protocol."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import os
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import pq
from psycopg.rows import dict_row
from stack import Stack

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("psycopg")]

BIG = 10 << 20


@pytest.fixture
def connection(open_gate: Stack) -> Iterator[Any]:
    with open_gate.connect("shop") as connection:
        yield connection


def test_types_both_ways_text_and_binary(connection: Any) -> None:
    values = (
        42, 2**40, decimal.Decimal("12.50"), 1.5, "é\U0001f600", b"\0\xff", True, None,
        datetime.date(2024, 2, 29), datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
        [1, 2, 3], ["a", "b,c", 'd"e'],
    )  # fmt: skip
    sql = (
        "SELECT %s::int, %s::bigint, %s::numeric, %s::float8, %s::text, %s::bytea, %s::bool, "
        "%s::text, %s::date, %s::timestamptz, %s::int[], %s::text[]"
    )
    for binary in (False, True):
        assert connection.execute(sql, values, binary=binary).fetchone() == values
        binary_parameters = sql.replace("%s", "%b").replace("%b::bytea", "%s::bytea")
        assert connection.execute(binary_parameters, values, binary=binary).fetchone() == values


def test_named_prepared_statements(connection: Any) -> None:
    connection.prepare_threshold = 0
    for n in range(5):
        row = connection.execute("SELECT name FROM users WHERE id = %s", (1 + n % 2,)).fetchone()
        assert row == (("Ada",), ("Grace",))[n % 2]
    names = connection.execute("SELECT statement FROM pg_prepared_statements", prepare=False)
    assert ("SELECT name FROM users WHERE id = $1",) in names.fetchall()
    connection.execute("DEALLOCATE ALL")
    assert connection.execute("SELECT name FROM users WHERE id = %s", (1,)).fetchone() == ("Ada",)


def test_a_statement_is_made_again_after_ddl(connection: Any) -> None:
    connection.prepare_threshold = 0
    connection.execute("CREATE TEMP TABLE t (a int)")
    connection.execute("INSERT INTO t VALUES (1)")
    assert connection.execute("SELECT * FROM t").fetchall() == [(1,)]
    connection.execute("ALTER TABLE t ADD b int")
    assert connection.execute("SELECT * FROM t").fetchall() == [(1, None)]


def test_pipeline(connection: Any) -> None:
    connection.execute("CREATE TEMP TABLE t (a int)")
    with connection.pipeline() as pipeline:
        for n in range(500):
            connection.execute("INSERT INTO t VALUES (%s)", (n,))
        total = connection.execute("SELECT sum(a) FROM t")
        pipeline.sync()
        assert total.fetchone() == (sum(range(500)),)
        more = connection.execute("SELECT 1")
    assert more.fetchone() == (1,)


def test_an_error_in_a_pipeline_aborts_up_to_its_sync(connection: Any) -> None:
    connection.execute("CREATE TEMP TABLE t (a int)")
    with pytest.raises(psycopg.errors.DivisionByZero), connection.pipeline():
        connection.execute("INSERT INTO t VALUES (1)")
        connection.execute("SELECT 1 / 0")
        connection.execute("INSERT INTO t VALUES (2)")
    assert connection.info.transaction_status == pq.TransactionStatus.IDLE
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
    with connection.pipeline() as pipeline:
        first = connection.execute("INSERT INTO t VALUES (1)")
        pipeline.sync()
        bad = connection.execute("SELECT nope")
        with pytest.raises(psycopg.errors.UndefinedColumn):
            pipeline.sync()
        last = connection.execute("INSERT INTO t VALUES (3)")
        pipeline.sync()
        assert (first.rowcount, last.rowcount) == (1, 1)
        del bad
    assert connection.execute("SELECT array_agg(a) FROM t").fetchone() == ([1, 3],)


def test_copy_text_and_binary(connection: Any) -> None:
    connection.execute("CREATE TEMP TABLE t (a int, b text, c bytea)")
    rows = [(n, f"row\t{n}\n\\", bytes([n % 256]) * 50) for n in range(5000)]
    for options in ("", " (FORMAT binary)"):
        connection.execute("TRUNCATE t")
        with connection.cursor() as cursor:
            with cursor.copy(f"COPY t FROM STDIN{options}") as copy:
                copy.set_types(["int4", "text", "bytea"])
                for row in rows:
                    copy.write_row(row)
            assert cursor.rowcount == 5000
            with cursor.copy(f"COPY (SELECT * FROM t ORDER BY a) TO STDOUT{options}") as copy:
                copy.set_types(["int4", "text", "bytea"])
                assert list(copy.rows()) == rows


def test_copy_that_the_client_gives_up(connection: Any) -> None:
    connection.execute("CREATE TEMP TABLE t (a int)")
    with (
        pytest.raises(ZeroDivisionError),
        connection.cursor() as cursor,
        cursor.copy("COPY t FROM STDIN") as copy,
    ):
        copy.write("1\n")
        raise ZeroDivisionError
    assert connection.info.transaction_status == pq.TransactionStatus.IDLE
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_copy_out_that_the_client_gives_up(connection: Any) -> None:
    with pytest.raises(ZeroDivisionError), connection.cursor() as cursor:
        sql = "COPY (SELECT generate_series(1, 10000000)) TO STDOUT"
        with cursor.copy(sql) as copy:
            for seen, _ in enumerate(copy.rows()):
                if seen == 100:
                    raise ZeroDivisionError
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_server_side_cursor(connection: Any) -> None:
    with connection.transaction(), connection.cursor("c", scrollable=True) as cursor:
        cursor.itersize = 100
        cursor.execute("SELECT n FROM generate_series(1, 1000) n")
        assert sum(n for (n,) in cursor) == 500_500
        cursor.scroll(500, mode="absolute")
        assert cursor.fetchone() == (501,)
        cursor.scroll(-1)
        assert cursor.fetchmany(2) == [(501,), (502,)]


def test_portals_with_row_limits(connection: Any) -> None:
    """psycopg streams by single rows; suspended portals need the wire (see asyncpg)."""
    with connection.cursor() as cursor:
        seen = [row[0] for row in cursor.stream("SELECT generate_series(1, 3000)")]
    assert seen == list(range(1, 3001))


def test_transactions_and_savepoints(connection: Any) -> None:
    connection.execute("CREATE TEMP TABLE t (a int)")
    with connection.transaction():
        connection.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(psycopg.errors.DivisionByZero), connection.transaction():
            connection.execute("INSERT INTO t VALUES (2)")
            connection.execute("SELECT 1/0")
        with connection.transaction() as inner:
            connection.execute("INSERT INTO t VALUES (3)")
            raise psycopg.Rollback(inner)
    assert connection.execute("SELECT a FROM t").fetchall() == [(1,)]
    assert connection.info.transaction_status == pq.TransactionStatus.IDLE


def test_the_transaction_status_is_the_servers(connection: Any) -> None:
    assert connection.info.transaction_status == pq.TransactionStatus.IDLE
    connection.execute("BEGIN")
    assert connection.info.transaction_status == pq.TransactionStatus.INTRANS
    with pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("SELECT * FROM nowhere")
    assert connection.info.transaction_status == pq.TransactionStatus.INERROR
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        connection.execute("SELECT 1")
    connection.execute("ROLLBACK")
    assert connection.info.transaction_status == pq.TransactionStatus.IDLE


def test_notifies(open_gate: Stack) -> None:
    with open_gate.connect("shop") as listener, open_gate.connect("shop") as speaker:
        listener.execute("LISTEN channel")
        for text in ("one", "zwö", ""):
            speaker.execute("SELECT pg_notify('channel', %s)", (text,))
        got = [n.payload for n in listener.notifies(timeout=5, stop_after=3)]
    assert got == ["one", "zwö", ""]


def test_large_objects_by_functions(connection: Any) -> None:
    with connection.transaction():
        oid = connection.execute("SELECT lo_from_bytea(0, %b)", (os.urandom(1000),)).fetchone()[0]
        fd = connection.execute("SELECT lo_open(%s, 393216)", (oid,)).fetchone()[0]
        assert connection.execute("SELECT lowrite(%s, %b)", (fd, b"hello")).fetchone() == (5,)
        connection.execute("SELECT lo_lseek(%s, 0, 0)", (fd,))
        assert connection.execute("SELECT loread(%s, 5)", (fd,), binary=True).fetchone() == (
            b"hello",
        )
        assert connection.execute("SELECT lo_unlink(%s)", (oid,)).fetchone() == (1,)


@pytest.mark.parametrize("binary", [False, True])
def test_fields_of_10_mb(connection: Any, binary: bool) -> None:
    """Results stream, however long a field is."""
    connection.execute("CREATE TEMP TABLE big AS SELECT repeat('0123456789', 1048576) AS b")
    got = connection.execute("SELECT b, 1 FROM big", binary=binary).fetchone()
    assert got == ("0123456789" * 1048576, 1)


@pytest.fixture(scope="module")
def roomy(gateways: Callable[..., Stack]) -> Stack:
    return gateways(extra='[limits]\nmessage = "16MiB"\nheld = "48MiB"\n')


def test_parameters_of_10_mb_where_the_limit_allows_it(roomy: Stack) -> None:
    raw = os.urandom(BIG)
    with roomy.connect("shop") as connection:
        assert connection.execute("SELECT %b::bytea", (raw,), binary=True).fetchone()[0] == raw
        text = "x" * BIG
        assert connection.execute("SELECT %s || 'y'", (text,)).fetchone()[0] == text + "y"


def test_parameters_over_the_limit_are_refused(open_gate: Stack) -> None:
    with open_gate.connect("shop") as connection:
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT length(%s)", ("x" * (2 << 20),))
        assert connection.closed
    assert any(
        "limit" in row["reason"] or "long" in row["reason"] or "large" in row["reason"]
        for row in open_gate.sessions()
    ), [row["reason"] for row in open_gate.sessions()]


def test_copy_has_no_limit(connection: Any) -> None:
    connection.execute("CREATE TEMP TABLE t (b text)")
    with connection.cursor() as cursor:
        with cursor.copy("COPY t FROM STDIN") as copy:
            copy.write("y" * BIG + "\n")
        with cursor.copy("COPY t TO STDOUT") as copy:
            size = sum(len(piece) for piece in copy)
    assert size == BIG + 1


def test_many_rows(connection: Any) -> None:
    sql = "SELECT n AS a, md5(n::text) AS b FROM generate_series(1, 50000) n"
    rows = connection.cursor(row_factory=dict_row).execute(sql).fetchall()
    assert len(rows) == 50_000
    assert rows[-1] == {"a": 50_000, "b": "1017bfd4673955ffee4641ad3d481b1c"}


def test_two_phase_commit_names(connection: Any) -> None:
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        connection.execute("BEGIN")
        connection.execute("PREPARE TRANSACTION 'x'")
    connection.execute("ROLLBACK")


def test_several_results_of_one_string(connection: Any) -> None:
    cursor = connection.execute("SELECT 1; SELECT 'two', 2; CREATE TEMP TABLE z ()")
    assert cursor.fetchall() == [(1,)]
    assert cursor.nextset()
    assert cursor.fetchall() == [("two", 2)]
    assert cursor.nextset()
    assert cursor.statusmessage == "CREATE TABLE"


def test_cancel_from_the_driver(connection: Any) -> None:
    # Not cancel(): it waits in C with the interpreter locked, and the witness with it.
    import threading

    timer = threading.Timer(0.5, connection.cancel_safe)
    timer.start()
    with pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute("SELECT pg_sleep(30)")
    timer.join()
    assert connection.execute("SELECT 1").fetchone() == (1,)


async def _async(gate: Stack) -> tuple[Any, Any, Any]:
    async with await psycopg.AsyncConnection.connect(gate.dsn("shop"), autocommit=True) as one:
        async with one.pipeline():
            cursors = [await one.execute("SELECT %s::int", (n,)) for n in range(50)]
        numbers = [(await c.fetchone())[0] for c in cursors]  # type: ignore[index]
        async with one.cursor() as cursor, cursor.copy("COPY (SELECT 7) TO STDOUT") as copy:
            copied = b"".join([bytes(piece) async for piece in copy])
        task = asyncio.create_task(_sleep(one))
        await asyncio.sleep(0.3)
        await one.cancel_safe(timeout=5)
        try:
            await task
            canceled = ""
        except psycopg.errors.QueryCanceled as error:
            canceled = str(error.sqlstate)
    return numbers, copied, canceled


async def _sleep(connection: Any) -> None:
    await connection.execute("SELECT pg_sleep(30)")


def test_async(open_gate: Stack) -> None:
    numbers, copied, canceled = asyncio.run(_async(open_gate))
    assert numbers == list(range(50))
    assert copied == b"7\n"
    assert canceled == "57014"


def test_many_at_once(open_gate: Stack) -> None:
    async def one(n: int) -> int:
        async with await psycopg.AsyncConnection.connect(open_gate.dsn("shop")) as connection:
            cursor = await connection.execute("SELECT %s::int, pg_sleep(0.1)", (n,))
            row = await cursor.fetchone()
            return row[0]  # type: ignore[index,no-any-return]

    async def all_of_them() -> list[int]:
        return await asyncio.gather(*(one(n) for n in range(40)))

    assert asyncio.run(all_of_them()) == list(range(40))


def test_a_client_that_vanishes_takes_its_upstream_along(open_gate: Stack, direct: Any) -> None:
    import socket
    import time

    connection = open_gate.connect("shop")
    pid = connection.execute("SELECT pg_backend_pid()").fetchone()[0]
    sock = socket.socket(fileno=os.dup(connection.fileno()))
    sock.shutdown(socket.SHUT_RDWR)
    sock.close()
    end = time.monotonic() + 5
    while direct.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone():
        assert time.monotonic() < end, "the upstream connection stays"
        time.sleep(0.05)
