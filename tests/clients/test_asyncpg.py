"""asyncpg through the gateway: binary everywhere, its own cache of statements."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import io
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from stack import Stack

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("drivers")]


def run(gate: Stack, work: Callable[[Any], Awaitable[Any]], **more: Any) -> Any:
    async def whole() -> Any:
        connection = await asyncpg.connect(
            host="127.0.0.1", port=gate.port, user="agent", password=gate.token(),
            database="shop", ssl=False, **more,
        )  # fmt: skip
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(whole())


def test_prepared_and_cached(open_gate: Stack) -> None:
    async def work(c: Any) -> None:
        statement = await c.prepare("SELECT $1::int + 1, $2::text")
        assert [p.name for p in statement.get_parameters()] == ["int4", "text"]
        for n in range(5):
            assert tuple(await statement.fetchrow(n, str(n))) == (n + 1, str(n))
            assert await c.fetchval("SELECT name FROM users WHERE id = $1", 1) == "Ada"
        row = await c.fetchrow("SELECT * FROM users WHERE id = 1")
        assert row["born"] == datetime.date(1815, 12, 10)
        assert row["score"] == decimal.Decimal("12.50")
        assert row["tags"] == ["a", "b"]
        assert row["photo"] == b"\1\2"

    run(open_gate, work)
    run(open_gate, work, statement_cache_size=0)


def test_copy(open_gate: Stack) -> None:
    async def work(c: Any) -> None:
        await c.execute("CREATE TEMP TABLE t (a int, b text)")
        records = [(n, f"r{n}") for n in range(2000)]
        assert await c.copy_records_to_table("t", records=records) == "COPY 2000"
        out = io.BytesIO()
        await c.copy_from_table("t", output=out, format="csv")
        assert out.getvalue().splitlines()[-1] == b"1999,r1999"
        await c.copy_from_query("SELECT a FROM t WHERE a < $1", 3, output=(again := io.BytesIO()))
        assert again.getvalue() == b"0\n1\n2\n"

    run(open_gate, work)


def test_cursors_by_suspended_portals(open_gate: Stack) -> None:
    async def work(c: Any) -> None:
        async with c.transaction():
            seen = [r[0] async for r in c.cursor("SELECT generate_series(1, 1000)", prefetch=7)]
            assert seen == list(range(1, 1001))
            cursor = await c.cursor("SELECT generate_series(1, 10)")
            assert [r[0] for r in await cursor.fetch(3)] == [1, 2, 3]
            assert await cursor.forward(2) == 2
            assert (await cursor.fetchrow())[0] == 6

    run(open_gate, work)


def test_listen(open_gate: Stack) -> None:
    async def work(c: Any) -> None:
        heard: asyncio.Queue[str] = asyncio.Queue()
        await c.add_listener("bells", lambda *said: heard.put_nowait(said[-1]))
        await c.execute("NOTIFY bells, 'ding'")
        assert await asyncio.wait_for(heard.get(), 5) == "ding"

    run(open_gate, work)


def test_executemany(open_gate: Stack) -> None:
    async def work(c: Any) -> None:
        await c.execute("CREATE TEMP TABLE t (a int CHECK (a <> 13))")
        await c.executemany("INSERT INTO t VALUES ($1)", [(n,) for n in range(10)])
        with pytest.raises(asyncpg.CheckViolationError):
            await c.executemany("INSERT INTO t VALUES ($1)", [(12,), (13,), (14,)])
        assert await c.fetchval("SELECT count(*) FROM t") == 10

    run(open_gate, work)


def test_an_error_in_a_transaction(open_gate: Stack) -> None:
    async def work(c: Any) -> None:
        await c.execute("CREATE TEMP TABLE t (a int)")
        async with c.transaction():
            await c.execute("INSERT INTO t VALUES (1)")
            with pytest.raises(asyncpg.DivisionByZeroError):
                async with c.transaction():
                    await c.execute("INSERT INTO t VALUES (2)")
                    await c.fetch("SELECT 1 / 0")
        assert [r[0] for r in await c.fetch("SELECT a FROM t")] == [1]
        assert not c.is_in_transaction()

    run(open_gate, work)


def test_a_timeout_cancels(open_gate: Stack) -> None:
    async def work(c: Any) -> None:
        with pytest.raises(asyncio.TimeoutError):
            await c.fetch("SELECT pg_sleep(30)", timeout=0.3)
        assert await c.fetchval("SELECT 1") == 1

    run(open_gate, work)


def test_a_pool_that_resets(open_gate: Stack) -> None:
    async def whole() -> list[int]:
        async with asyncpg.create_pool(
            host="127.0.0.1", port=open_gate.port, user="agent", password=open_gate.token(),
            database="shop", ssl=False, min_size=2, max_size=4,
        ) as pool:  # fmt: skip
            got = await asyncio.gather(*(pool.fetchval("SELECT $1::int", n) for n in range(50)))
            return list(got)

    assert asyncio.run(whole()) == list(range(50))
