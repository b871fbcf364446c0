"""Row 62: behind a blocked message of a pipeline nothing runs up to the Sync, and
what the client is told of its transaction is what the server says.

Goes red when the refused message is not replaced by one that fails. (Dropping what
follows it here as well can go: the server skips to the Sync by itself.)
"""

from __future__ import annotations

import psycopg
import pytest
from stack import Stack
from wire import SYNC, bind, describe, enter, execute, parse, query

from gateway.demo.postgres import Server

POLICY = """
version = 1
default = "allow"

[[rule]]
id = "no-delete"
on = "sql.delete"
verdict = "block"
"""
BLOCKED = "DELETE FROM piped"


@pytest.fixture(scope="module")
def no_delete(started: object, pg: Server) -> Stack:
    made: Stack = started(pg, policy=POLICY)  # type: ignore[operator]
    return made


@pytest.fixture
def direct(pg: Server) -> object:
    with psycopg.connect(pg.dsn("shop"), autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS piped")
        connection.execute("CREATE TABLE piped (n int)")
        yield connection


def numbers(direct: object) -> list[int]:
    return [
        r[0]
        for r in direct.execute("SELECT n FROM piped ORDER BY n")  # type: ignore[attr-defined]
    ]


def insert(n: int) -> bytes:
    return parse("", f"INSERT INTO piped VALUES ({n})") + bind("", "") + execute()


STOPPED = parse("", BLOCKED) + bind("", "") + execute()


@pytest.mark.parametrize("place", range(6))
def test_nothing_behind_the_block_runs(no_delete: Stack, direct: object, place: int) -> None:
    """The k-th of six is blocked: an implicit transaction, so all six undone."""
    with enter(no_delete) as wire:
        steps = [insert(n) if n != place else STOPPED for n in range(6)]
        wire.send(*steps, SYNC, insert(100), SYNC)
        first, second = wire.until(), wire.until()
        assert first.code == "42501"
        assert len(first.errors) == 1
        assert len(first.tags) == place, "what stands before it was answered"
        assert first.status == "I"
        assert second.tags == ["INSERT 0 1"]
        assert second.status == "I"
    assert numbers(direct) == [100]


@pytest.mark.parametrize("place", range(4))
def test_the_transaction_is_what_the_server_says(
    no_delete: Stack, direct: object, place: int
) -> None:
    with enter(no_delete) as wire:
        assert wire.ask("BEGIN").status == "T"
        assert wire.say(insert(1)).status == "T"
        answer = wire.say(*[insert(n) if n != place else STOPPED for n in range(10, 14)], STOPPED)
        assert answer.status == "E"
        assert wire.say(insert(2)).code == "25P02", "as after any error"
        assert wire.ask("COMMIT").tags == ["ROLLBACK"]
    assert numbers(direct) == []


def test_a_savepoint_brings_it_back(no_delete: Stack, direct: object) -> None:
    with enter(no_delete) as wire:
        wire.ask("BEGIN; INSERT INTO piped VALUES (1); SAVEPOINT a")
        assert wire.ask(BLOCKED).status == "E"
        assert wire.ask("ROLLBACK TO a").status == "T"
        assert wire.ask("INSERT INTO piped VALUES (2)").status == "T"
        assert wire.ask("COMMIT").status == "I"
    assert numbers(direct) == [1, 2]


def test_simple_queries_back_to_back(no_delete: Stack, direct: object) -> None:
    texts = ["INSERT INTO piped VALUES (1)", BLOCKED, "INSERT INTO piped VALUES (2)", BLOCKED,
             "BEGIN", BLOCKED, "INSERT INTO piped VALUES (3)", "ROLLBACK",
             "INSERT INTO piped VALUES (4)"]  # fmt: skip
    with enter(no_delete) as wire:
        wire.send(*map(query, texts))
        got = [wire.until() for _ in texts]
        assert [a.code for a in got] == ["", "42501", "", "42501", "", "42501", "25P02", "", ""]
        assert "".join(a.status for a in got) == "IIIITEEII"
    assert numbers(direct) == [1, 2, 4]


def test_describe_and_bind_behind_a_block(no_delete: Stack, direct: object) -> None:
    with enter(no_delete) as wire:
        answer = wire.say(
            parse("s", BLOCKED), describe("S", "s"), bind("p", "s"), describe("P", "p"),
            execute("p"), insert(1),
        )  # fmt: skip
        assert answer.kinds == "EZ"
        answer = wire.say(bind("p", "s"), execute("p"))
        assert answer.errors, "the name was never prepared"
        assert answer.code in ("26000", "42501")
    assert numbers(direct) == []


@pytest.mark.parametrize("chunk", [1, 3, 7, 4096])
def test_however_it_is_cut(no_delete: Stack, direct: object, chunk: int) -> None:
    raw = insert(1) + STOPPED + insert(2) + SYNC + query(BLOCKED) + insert(3) + SYNC
    with enter(no_delete) as wire:
        for at in range(0, len(raw), chunk):
            wire.send(raw[at : at + chunk])
        got = [wire.until() for _ in range(3)]
        assert [a.code for a in got] == ["42501", "42501", ""]
    assert numbers(direct) == [3]


def test_thousands(no_delete: Stack, direct: object) -> None:
    """More than any buffer: no deadlock, order kept."""
    with enter(no_delete) as wire:
        wire.sock.settimeout(30)
        import threading

        raw = b"".join(
            query(BLOCKED if n % 3 == 1 else f"SELECT {n}, repeat('x', 300)") for n in range(3000)
        )
        threading.Thread(target=wire.send, args=(raw,), daemon=True).start()
        for n in range(3000):
            answer = wire.until()
            if n % 3 == 1:
                assert answer.code == "42501"
            else:
                assert answer.rows[0][0] == str(n).encode()
