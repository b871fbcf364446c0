"""psql and psycopg against the server that a recording plays."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from audit import wait_sealed
from stack import Stack

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("replay")]

SCRIPT = """
SELECT id, name FROM users ORDER BY id;
SELECT 1 / 0;
CREATE TEMP TABLE t (n int);
\\copy t FROM STDIN
1
2
\\.
SELECT sum(n) FROM t;
"""


@pytest.fixture(scope="module")
def gate(gateways: Callable[..., Stack]) -> Stack:
    stack: Stack = gateways(Stack)
    return stack


@contextlib.contextmanager
def serving(gate: Stack, session: str, *options: str) -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, "-m", "recorder.cli", "serve", session, "--listen", "127.0.0.1:0",
         *options],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"WIREWARDEN_STATE": str(gate.state)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline().split()[0].rpartition(":")[2])
    finally:
        process.terminate()
        process.wait(10)


def newest(gate: Stack) -> str:
    wait_sealed(gate)
    return str(max(row["session"] for row in gate.sessions()))


def connect(port: int) -> Any:
    return psycopg.connect(
        f"host=127.0.0.1 port={port} user=anyone password=anything dbname=shop", autocommit=True
    )


def reads(c: Any, second: int = 2) -> list[Any]:
    first = c.execute("SELECT id, name FROM users ORDER BY id").fetchall()
    return [first, c.execute("SELECT name FROM users WHERE id = %s", [second]).fetchall()]


def test_psql_gets_what_it_got(gate: Stack, tool: Callable[[str], str]) -> None:
    tool("psql")
    before = gate.psql("-d", "shop", stdin=SCRIPT)
    with serving(gate, newest(gate)) as port:
        environment = gate.environment() | {"PGPORT": str(port), "PGPASSWORD": "anything"}
        after = subprocess.run(
            ["psql", "-X", "-A", "-t", "-d", "shop"], input=SCRIPT, capture_output=True,
            text=True, env=environment, timeout=30, check=False,
        )  # fmt: skip
        assert (after.stdout, after.stderr) == (before.stdout, before.stderr)
        other = subprocess.run(
            ["psql", "-X", "-A", "-t", "-d", "shop", "-c", "SELECT id, nam FROM users"],
            capture_output=True, text=True, env=environment, timeout=30, check=False,
        )  # fmt: skip
    assert "this was not recorded" in other.stderr
    assert "SELECT id, name FROM users" in other.stderr


def test_psycopg_strict_ordered_and_pool(gate: Stack) -> None:
    with gate.connect("shop") as connection:
        expected = reads(connection)
    session = newest(gate)
    with serving(gate, session) as port:
        with connect(port) as c:
            assert reads(c) == expected
        with connect(port) as c:
            with pytest.raises(psycopg.errors.FeatureNotSupported) as miss:
                c.execute("SELECT name FROM users WHERE id = %s", [2])
            assert "request 1" in str(miss.value)
            assert reads(c) == expected  # what is next is still what was next
        with connect(port) as c, pytest.raises(psycopg.errors.FeatureNotSupported) as miss:
            reads(c, 3)
        assert "The values differ" in str(miss.value)
    with serving(gate, session, "--mode", "ordered") as port, connect(port) as c:
        assert reads(c, 3) == expected
    with serving(gate, session, "--mode", "pool") as port:
        with connect(port) as c:
            got = c.execute("SELECT name FROM users WHERE id = %s", [2]).fetchall()
            assert got == expected[1]
        with connect(port) as c:
            assert c.execute("SELECT id, name FROM users ORDER BY id").fetchall() == expected[0]
            with pytest.raises(psycopg.errors.FeatureNotSupported):
                c.execute("SELECT id, name FROM users ORDER BY id")


def test_a_miss_in_a_transaction_fails_it(gate: Stack) -> None:
    with gate.connect("shop", autocommit=False) as connection:
        connection.execute("SELECT 1")
    with serving(gate, newest(gate)) as port:
        c = connect(port)
        c.autocommit = False
        c.execute("SELECT 1")
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            c.execute("SELECT 2")
        assert c.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
        c.rollback()
        assert c.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        c.close()


def test_it_listens_on_loopback_only(gate: Stack) -> None:
    gate.connect("shop").close()
    done = gate.recorder("serve", newest(gate), "--listen", "0.0.0.0:0")
    assert done.returncode == 2
    assert "--to-anyone" in done.stderr
