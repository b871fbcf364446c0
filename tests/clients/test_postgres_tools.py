"""pgbench, pg_dump and pg_restore through the gateway."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from stack import Stack

from gateway.demo.postgres import Server

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("tools")]


@pytest.fixture(scope="module")
def gate(gateways: Callable[..., Stack]) -> Stack:
    """Without witnesses: pgbench is about how much."""
    return gateways(Stack)


def pgbench(gate: Stack, path: str, *arguments: str) -> int:
    """Run it; the number of transactions done, of which none failed."""
    done = subprocess.run(
        [path, "-n", "-t", "100", *arguments, "bench"], env=gate.environment(),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "aborted" not in done.stderr, done.stderr
    assert "number of failed transactions: 0" in done.stdout, done.stdout
    found = re.search(r"transactions actually processed: (\d+)", done.stdout)
    assert found, done.stdout
    return int(found[1])


@pytest.mark.parametrize("protocol", ["simple", "extended", "prepared"])
@pytest.mark.parametrize("script", ["-S", "-N", "tpcb"])
def test_pgbench(
    gate: Stack, bench: str, tool: Callable[[str], str], protocol: str, script: str, pg: Server
) -> None:
    which = [] if script == "tpcb" else [script]
    with psycopg.connect(pg.dsn("bench"), autocommit=True) as direct:
        before = direct.execute("SELECT count(*) FROM pgbench_history").fetchone()
        assert pgbench(gate, tool("pgbench"), "-M", protocol, "-c", "8", *which) == 800
        after = direct.execute("SELECT count(*) FROM pgbench_history").fetchone()
        assert before is not None
        assert after is not None
        assert after[0] - before[0] == (0 if script == "-S" else 800)


def test_pgbench_pipelines(
    gate: Stack, bench: str, tool: Callable[[str], str], tmp_path: Path
) -> None:
    script = tmp_path / "pipeline.sql"
    script.write_text(
        "\\set aid random(1, 100000)\n\\startpipeline\n"
        + "SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n" * 10
        + "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid;\n\\endpipeline\n"
    )
    for protocol in ("extended", "prepared"):
        done = pgbench(gate, tool("pgbench"), "-M", protocol, "-c", "4", "-f", str(script))
        assert done == 400


def test_pgbench_initialises(gate: Stack, tool: Callable[[str], str], pg: Server) -> None:
    with psycopg.connect(pg.dsn(), autocommit=True) as direct:
        direct.execute("CREATE DATABASE fresh")
    done = subprocess.run(
        [tool("pgbench"), "-i", "-q", "fresh"], env=gate.environment(), capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with psycopg.connect(pg.dsn("fresh")) as direct:
        assert direct.execute("SELECT count(*) FROM pgbench_accounts").fetchone() == (100_000,)


def dump(path: str, environment: dict[str, str], *arguments: str) -> bytes:
    done = subprocess.run(
        [path, *arguments, "shop"], env=environment, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def straight(gate: Stack, pg: Server) -> dict[str, str]:
    return gate.environment() | {
        "PGPORT": str(pg.port), "PGUSER": "postgres", "PGPASSWORD": pg.password,
    }  # fmt: skip


def test_the_dump_equals_the_direct_one(
    gate: Stack, tool: Callable[[str], str], pg: Server
) -> None:
    path = tool("pg_dump")
    through, direct = dump(path, gate.environment()), dump(path, straight(gate, pg))
    drop = re.compile(rb"^\\(un)?restrict .*$", re.M)  # a random word in newer versions
    assert drop.sub(b"", through) == drop.sub(b"", direct)
    assert b"ada@example.com" in through
    inserts = dump(path, gate.environment(), "--inserts", "--rows-per-insert=10")
    assert drop.sub(b"", inserts) == drop.sub(
        b"", dump(path, straight(gate, pg), "--inserts", "--rows-per-insert=10")
    )


def test_dump_and_restore(
    gate: Stack, tool: Callable[[str], str], pg: Server, tmp_path: Path
) -> None:
    archive = tmp_path / "shop.dump"
    archive.write_bytes(dump(tool("pg_dump"), gate.environment(), "-Fc"))
    with psycopg.connect(pg.dsn(), autocommit=True) as direct:
        direct.execute("CREATE DATABASE restored")
    done = subprocess.run(
        [tool("pg_restore"), "-d", "restored", "-j", "2", str(archive)],
        env=gate.environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    sql = "SELECT md5(string_agg(u::text, '' ORDER BY id)) FROM users u"

    def digest(database: str) -> Any:
        with psycopg.connect(pg.dsn(database)) as connection:
            return connection.execute(sql.encode()).fetchone()

    assert digest("restored") == digest("shop")
