"""What drivers do again and again is carried by the inner loop, and not by Python: a way back to
Python changes no answer and no record, and is seen only by the gateway's own count."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from stack import Server, Stack

from gateway import seat

pytestmark = [
    pytest.mark.clients,
    pytest.mark.xdist_group("carried"),
    pytest.mark.skipif(seat._Gear is None, reason="the inner loop is not built"),
]
TURNS = 30


class Counted(Stack):
    """A gateway that counts what its inner loop carried."""

    program = ("-m", "tests.clients.counted_gateway")

    def carried(self) -> int:
        """Ends it."""
        self.stop()
        return sum(map(int, re.findall(r"gateway: (\d+) records by the inner loop", self.output())))


@pytest.fixture
def counted(pg: Server, tmp_path: Path) -> Iterator[Counted]:
    stack = Counted(tmp_path, pg)
    stack.start()
    yield stack
    stack.stop()


def prepared(connection: Any) -> None:
    connection.prepare_threshold = 0
    for n in range(TURNS):
        assert connection.execute("SELECT %s::int + 1", (n,)).fetchone() == (n + 1,)


def unprepared(connection: Any) -> None:
    """Parse, Bind, Describe, Execute and Sync each time."""
    connection.prepare_threshold = None
    for n in range(TURNS):
        assert connection.execute("SELECT %s::int + 1", (n,)).fetchone() == (n + 1,)
        assert connection.execute("SELECT %s::text", (str(n),)).fetchone() == (str(n),)


def in_transactions(connection: Any) -> None:
    connection.prepare_threshold = 0
    connection.execute("CREATE TEMP TABLE t (a int)")
    for n in range(TURNS):
        connection.execute("BEGIN")
        connection.execute("INSERT INTO t VALUES (%s)", (n,))
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (n + 1,)
        connection.execute("COMMIT")


def failing(connection: Any) -> None:
    """One that fails now and then, in and out of transactions, and goes on."""
    connection.prepare_threshold = 0
    for n in range(TURNS):
        text = "SELECT 6 / %s::int"
        if n % 10 == 9:
            with pytest.raises(psycopg.errors.DivisionByZero):
                connection.execute(text, (0,))
            with pytest.raises(psycopg.errors.DivisionByZero), connection.transaction():
                connection.execute(text, (0,))
        assert connection.execute(text, (3,)).fetchone() == (2,)


@pytest.mark.parametrize(
    ("work", "records"),
    [(prepared, TURNS), (unprepared, 3 * TURNS), (in_transactions, 5 * TURNS), (failing, TURNS)],
)
def test_psycopg(counted: Counted, work: Callable[[Any], None], records: int) -> None:
    """``records``: of two for each statement, about what is carried at least."""
    with counted.connect() as connection:
        work(connection)
    assert counted.carried() >= records


def test_asyncpg(counted: Counted) -> None:
    asyncpg = pytest.importorskip("asyncpg")

    async def work() -> None:
        connection = await asyncpg.connect(
            host="127.0.0.1", port=counted.port, user="agent", password=counted.token(),
            database="postgres", ssl=False,
        )  # fmt: skip
        statement = await connection.prepare("SELECT $1::int + 1")
        for n in range(TURNS):
            assert await statement.fetchval(n) == n + 1
            async with connection.transaction():
                assert await connection.fetchval("SELECT $1::text", str(n)) == str(n)
        await connection.close()

    asyncio.run(work())
    assert counted.carried() >= TURNS
