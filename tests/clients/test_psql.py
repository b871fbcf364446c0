"""psql through the gateway."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from stack import Stack

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("psql")]


@pytest.fixture(autouse=True)
def _psql(tool: Callable[[str], str]) -> None:
    tool("psql")


@pytest.fixture
def gate(open_gate: Stack) -> Stack:
    return open_gate


def shop(gate: Stack, *arguments: str, stdin: str | None = None) -> str:
    done = gate.psql("-d", "shop", "-v", "ON_ERROR_STOP=1", *arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_simple_query(gate: Stack) -> None:
    assert shop(gate, "-c", "SELECT 6 * 7, 'é', NULL") == "42|é|\n"


def test_several_statements_in_one_string_are_one_transaction(gate: Stack) -> None:
    out = shop(gate, "-c", "CREATE TEMP TABLE t (x int); INSERT INTO t VALUES (1), (2);"
               " SELECT sum(x) FROM t")  # fmt: skip
    assert out == "CREATE TABLE\nINSERT 0 2\n3\n"
    done = gate.psql("-d", "shop", "-c", "CREATE TABLE half (x int); SELECT 1 / 0")
    assert "division by zero" in done.stderr
    assert shop(gate, "-c", "SELECT to_regclass('half') IS NULL") == "t\n"


def test_a_script_on_standard_input(gate: Stack) -> None:
    script = "BEGIN;\nSELECT 1;\nSAVEPOINT a;\nROLLBACK TO a;\nCOMMIT;\n\\echo done\n"
    assert shop(gate, stdin=script) == "BEGIN\n1\nSAVEPOINT\nROLLBACK\nCOMMIT\ndone\n"


def test_copy_in_and_out(gate: Stack, tmp_path: Path) -> None:
    source, copy = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("".join(f'{n},"line ""{n}"", ü"\n' for n in range(20_000)))
    shop(
        gate,
        stdin=f"""
        CREATE TEMP TABLE t (n int, s text);
        \\copy t FROM '{source}' WITH (FORMAT csv)
        \\copy t TO '{copy}' WITH (FORMAT csv, FORCE_QUOTE (s))
    """,
    )
    assert copy.read_bytes() == source.read_bytes()


def test_copy_in_that_fails_leaves_the_session_usable(gate: Stack, tmp_path: Path) -> None:
    bad = tmp_path / "bad.txt"
    bad.write_text("1\ntwo\n3\n")
    done = gate.psql(
        "-d",
        "shop",
        stdin=f"""
        CREATE TEMP TABLE t (n int);
        \\copy t FROM '{bad}'
        SELECT count(*) FROM t;
    """,
    )
    assert 'invalid input syntax for type integer: "two"' in done.stderr
    assert "line 2" in done.stderr
    assert done.stdout.endswith("0\n")


def test_copy_from_standard_input_and_to_standard_output(gate: Stack) -> None:
    out = shop(
        gate,
        stdin="""
CREATE TEMP TABLE t (n int, s text);
COPY t FROM stdin;
1\tone\\ttab
2\t\\N
\\.
COPY t TO stdout;
""",
    )
    assert out == "CREATE TABLE\nCOPY 2\n1\tone\\ttab\n2\t\\N\n"


def test_watch_until_interrupted(gate: Stack) -> None:
    process = start(gate, "-d", "shop")
    assert process.stdin is not None
    process.stdin.write("SELECT 'round ' || 1 \\watch 0.2\nSELECT 'after';\n")
    process.stdin.flush()
    time.sleep(1.2)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=10)
    assert out.count("round 1") >= 3


def start(gate: Stack, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["psql", "-X", "-A", "-t", *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=gate.environment(), start_new_session=True,
    )  # fmt: skip


def wait_running(direct: object, query: str, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    sql = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = %s"
    while direct.execute(sql, (query,)).fetchone()[0] == 0:  # type: ignore[attr-defined]
        assert time.monotonic() < end, f"{query} does not run"
        time.sleep(0.05)


def test_ctrl_c_cancels_by_the_key_that_the_gateway_minted(gate: Stack, direct: object) -> None:
    began = time.monotonic()
    process = start(gate, "-c", "SELECT pg_sleep(61)", "-c", "SELECT 'alive'")
    wait_running(direct, "SELECT pg_sleep(61)")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert "canceling statement due to user request" in err
    assert time.monotonic() - began < 30
    sql = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE query = 'SELECT pg_sleep(61)' AND state = 'active'"
    )
    assert direct.execute(sql).fetchone()[0] == 0  # type: ignore[attr-defined]


def test_gdesc(gate: Stack) -> None:
    out = shop(gate, stdin="SELECT id, email AS e, 1.5 AS f FROM users \\gdesc\nSELECT 1;\n")
    assert out == "id|integer\ne|text\nf|numeric\n1\n"


def test_describe_commands(gate: Stack) -> None:
    assert "public|users|table|postgres" in shop(gate, "-c", "\\dt")
    described = shop(gate, "-P", "tuples_only=off", "-c", "\\d users")
    assert "email|text" in described
    assert '"users_pkey" PRIMARY KEY, btree (id)' in described
    assert 'TABLE "orders" CONSTRAINT' in described
    assert "reach_at" in shop(gate, "-c", "\\d+ contacts")
    assert "shop|" in shop(gate, "-c", "\\l")
    assert "pg_catalog|upper|" in shop(gate, "-c", "\\df upper")
    assert "postgres" in shop(gate, "-c", "\\du")


def test_gset_gexec_and_variables(gate: Stack) -> None:
    out = shop(
        gate,
        stdin="""
SELECT 3 AS three \\gset
SELECT :three + 1;
SELECT format('SELECT %s', n) FROM generate_series(1, 2) n \\gexec
\\crosstabview
""".replace("\\crosstabview\n", ""),
    )
    assert out == "4\n1\n2\n"


def test_listen_and_notify(gate: Stack) -> None:
    out = shop(gate, stdin="LISTEN news;\nNOTIFY news, 'extra extra';\nSELECT 1;\n")
    assert 'Asynchronous notification "news" with payload "extra extra" received' in out


def test_errors_with_positions(gate: Stack) -> None:
    done = gate.psql("-d", "shop", "-c", "SELECT 1,\n  nope FROM users")
    assert done.returncode == 1
    assert 'column "nope" does not exist' in done.stderr
    assert "LINE 2:   nope FROM users" in done.stderr
    assert "          ^" in done.stderr.splitlines()
    verbose = gate.psql("-d", "shop", "-v", "VERBOSITY=verbose", "-c", "SELEC 1")
    # What the parser refuses never reaches the server, whose grammar may be another.
    assert "42501" in verbose.stderr
    assert "syntax error" in verbose.stderr
    divided = gate.psql("-d", "shop", "-v", "VERBOSITY=verbose", "-c", "SELECT 1/0")
    assert "22012" in divided.stderr
    assert "LOCATION:" in divided.stderr


def test_notices(gate: Stack) -> None:
    done = gate.psql("-c", "DO $$ BEGIN RAISE NOTICE 'hear %', 'hear'; END $$")
    assert done.returncode == 0
    assert "NOTICE:  hear hear" in done.stderr
    done = gate.psql("-c", "DROP TABLE IF EXISTS nowhere")
    assert 'table "nowhere" does not exist, skipping' in done.stderr


def test_transaction_states_in_the_prompt(gate: Stack) -> None:
    script = "\n".join([
        "SELECT 1;", "\\echo state :SQLSTATE", "BEGIN;", "SELECT 1/0;",
        "\\echo state :SQLSTATE", "SELECT 1;", "\\echo state :SQLSTATE", "COMMIT;",
    ])  # fmt: skip
    done = gate.psql(stdin=script + "\n")
    assert "state 22012" in done.stdout
    assert "state 25P02" in done.stdout
    assert done.stdout.endswith("ROLLBACK\n")


def test_single_transaction(gate: Stack, tmp_path: Path) -> None:
    script = tmp_path / "script.sql"
    script.write_text("CREATE TABLE never (x int);\nSELECT 1/0;\n")
    done = gate.psql(
        "-d", "shop", "--single-transaction", "-v", "ON_ERROR_STOP=1", "-f", str(script)
    )
    assert done.returncode == 3
    assert shop(gate, "-c", "SELECT to_regclass('never') IS NULL") == "t\n"
    script.write_text("CREATE TABLE ever (x int);\nINSERT INTO ever VALUES (1);\n")
    shop(gate, "--single-transaction", "-f", str(script))
    assert shop(gate, "-c", "SELECT * FROM ever", "-c", "DROP TABLE ever") == "1\nDROP TABLE\n"


def test_a_large_result_by_cursor(gate: Stack) -> None:
    sql = "SELECT n, repeat('x', 100) FROM generate_series(1, 20000) n"
    lines = shop(gate, "-v", "FETCH_COUNT=1000", "-c", sql).splitlines()
    assert len(lines) == 20_000
    assert lines[-1] == "20000|" + "x" * 100
    whole = shop(gate, "-c", sql).splitlines()
    assert whole == lines


def test_large_objects(gate: Stack, tmp_path: Path) -> None:
    source, copy = tmp_path / "a", tmp_path / "b"
    source.write_bytes(os.urandom(100_000))
    out = shop(
        gate, stdin=f"\\lo_import {source}\n\\lo_export :LASTOID {copy}\n\\lo_unlink :LASTOID\n"
    )
    assert re.search(r"lo_import \d+", out)
    assert copy.read_bytes() == source.read_bytes()


def test_big_statement(gate: Stack) -> None:
    text = "x" * 300_000
    assert shop(gate, stdin=f"SELECT length('{text}');\n") == "300000\n"


def test_connect_again_from_within(gate: Stack) -> None:
    assert shop(gate, stdin="\\c postgres\nSELECT current_database();\n").endswith("postgres\n")
