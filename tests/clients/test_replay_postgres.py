"""Recorded sessions, driven again against a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from audit import wait_sealed
from stack import Stack

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("replay")]

MASKED = """
version = 1

[[rule]]
id = "all"
on = "sql.*"
incomplete = true
verdict = "allow"

[[rule]]
id = "no-mails"
on = "sql.select"
where = { reads_columns = "*.email" }
verdict = "mask"
mask = [{ columns = "*.email", with = "redact" }]

[[rule]]
id = "no-deletes"
on = "sql.delete"
verdict = "block"
message = "nothing is deleted here"
"""


@pytest.fixture(scope="module")
def gate(gateways: Callable[..., Stack]) -> Stack:
    stack: Stack = gateways(Stack)
    return stack


class Again:
    """One replay against the server itself: its exit code and its findings."""

    def __init__(
        self, gate: Stack, session: str, *options: str, to: str = "", password: str = ""
    ) -> None:
        server = gate.server
        environment = os.environ | {
            "WIREWARDEN_STATE": str(gate.state),
            "PGPASSWORD": password or server.password,
        }
        to = to or f"{server.host}:{server.port}"
        done = subprocess.run(
            [sys.executable, "-m", "recorder.cli", "replay", session, "--to", to, "--json",
             "--all", *options],
            capture_output=True, text=True, timeout=60, check=False, env=environment,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        self.code, self.stderr = done.returncode, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.items = [v for v in lines if v["schema"] == "wirewarden.replay-item/1"]
        self.summary = lines[-1] if lines else {}
        self.count = Counter(v["status"] for v in self.items)

    @property
    def bad(self) -> list[dict[str, Any]]:
        return [v for v in self.items if v["status"] not in ("equal", "normalised")]


def recorded(gate: Stack, work: Callable[[Any], object], **more: Any) -> str:
    """The session in which ``work`` was done with a connection."""
    before = {row["session"] for row in gate.sessions()}
    with gate.connect("shop", **more) as connection:
        work(connection)
    wait_sealed(gate)
    new = [row for row in gate.sessions() if row["session"] not in before]
    # A cancel request comes on a connection, and in a session, of its own.
    (session,) = [row["session"] for row in new if row["allowed"] + row["masked"]]
    return str(session)


def queries(c: Any) -> None:
    c.execute("SELECT id, name, email FROM users ORDER BY id")
    c.execute("SELECT * FROM users WHERE id = %s", [2])
    c.execute("SELECT n, repeat('x', 100) FROM generate_series(1, 2000) n")
    with pytest.raises(psycopg.errors.DivisionByZero):
        c.execute("SELECT 1 / %s::int", [0])
    with pytest.raises(psycopg.errors.UndefinedTable):
        c.execute("SELECT * FROM nowhere")
    c.execute("CREATE TEMP TABLE t (n int, s text)")
    c.execute("DO $$ BEGIN RAISE NOTICE 'hello'; END $$")
    for n in range(8):  # prepared by the sixth
        c.execute("INSERT INTO t VALUES (%s, %s)", [n, f"row {n}"])
    c.execute("LISTEN ping")
    c.execute("NOTIFY ping, 'pong'")


def test_the_same_session_is_equal(gate: Stack) -> None:
    again = Again(gate, recorded(gate, queries))
    assert again.code == 0, (again.bad, again.stderr)
    assert again.count["equal"] > 2000
    assert again.summary["exchanges"] >= 15
    assert set(again.summary["normalisers"]) <= {"table-oid", "pid"}
    assert again.summary["messages_not_sent"] == 0


def test_every_pace_comes_to_the_same(gate: Stack) -> None:
    session = recorded(gate, queries)
    for options in (("max",), ("original", "--jump-idle"), ("scaled=4",)):
        again = Again(gate, session, "--pace", *options)
        assert again.code == 0, (options, again.bad)
        assert again.count["equal"] > 2000


def test_copy_both_ways_and_a_copy_that_fails(gate: Stack) -> None:
    def work(c: Any) -> None:
        c.execute("CREATE TEMP TABLE t (n int, s text)")
        cursor = c.cursor()
        with cursor.copy("COPY t FROM STDIN") as copy:
            for n in range(3000):
                copy.write_row((n, "é" * 50))
        with cursor.copy("COPY t TO STDOUT") as copy:
            assert sum(1 for _ in copy) > 1
        with (
            pytest.raises(psycopg.errors.InvalidTextRepresentation),
            cursor.copy("COPY t (n) FROM STDIN") as copy,
        ):
            copy.write_row(("no number",))
        c.execute("SELECT count(*) FROM t")

    again = Again(gate, recorded(gate, work))
    assert again.code == 0, again.bad[:5]
    assert any(v["message"] == "CopyData" for v in again.items)
    assert any(v["message"] == "CopyInResponse" for v in again.items)


def test_a_pipeline_with_an_error_in_it(gate: Stack) -> None:
    def work(c: Any) -> None:
        with pytest.raises(psycopg.errors.DivisionByZero), c.pipeline() as pipe:
            for n in range(50):
                c.execute("SELECT %s::int * 2", [n])
            pipe.sync()
            c.execute("SELECT 1 / %s::int", [0])
            c.execute("SELECT 3")
            pipe.sync()

    again = Again(gate, recorded(gate, work))
    assert again.code == 0, again.bad[:5]


def test_large_objects_get_their_new_numbers(gate: Stack) -> None:
    def work(c: Any) -> None:
        with c.transaction():
            oid = c.execute("SELECT lo_creat(-1)").fetchone()[0]
            fd = c.execute("SELECT lo_open(%s, 131072)", [oid]).fetchone()[0]
            c.execute("SELECT lowrite(%s, %s)", [fd, b"large"])
            c.execute(f"SELECT lo_get({oid})")
            c.execute("SELECT lo_unlink(%s)", [oid])

    session = recorded(gate, work)
    again = Again(gate, session)
    assert again.code == 0, again.bad
    assert again.summary["normalisers"]["large-object-oid"] >= 1
    exact = Again(gate, session, "--exact")
    assert exact.code == 5
    assert any("does not exist" in v["note"] for v in exact.items if v["status"] == "extra")


def test_a_cancelled_query_is_cancelled_again(gate: Stack) -> None:
    def work(c: Any) -> None:
        threading.Timer(0.4, c.cancel).start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            c.execute("SELECT pg_sleep(100)")
        c.execute("SELECT 1")

    session = recorded(gate, work)
    began = time.monotonic()
    again = Again(gate, session)
    assert again.code == 0, again.bad
    assert time.monotonic() - began < 60


def test_differences_are_found_and_named(gate: Stack, direct: Any) -> None:
    direct.execute("CREATE TABLE moving (id int, v text)")
    direct.execute("INSERT INTO moving VALUES (1, 'one'), (2, 'two')")
    session = recorded(gate, lambda c: c.execute("SELECT id, v FROM moving ORDER BY id"))
    assert Again(gate, session).code == 0
    direct.execute("UPDATE moving SET v = 'ONE' WHERE id = 1")
    direct.execute("INSERT INTO moving VALUES (3, 'three')")
    again = Again(gate, session)
    assert again.code == 5
    first, tag = (v for v in again.items if v["status"] == "differs")
    assert first["differences"] == [{"field": "value 2 (v)", "expected": "one", "got": "ONE"}]
    assert "FROM moving" in first["request"]
    assert tag["differences"] == [{"field": "tag", "expected": "SELECT 2", "got": "SELECT 3"}]
    (extra,) = (v for v in again.items if v["status"] == "extra")
    assert "three" in extra["note"]
    direct.execute("DELETE FROM moving")
    again = Again(gate, session)
    assert again.count["missing"] == 2
    assert Again(gate, session, "--ignore-column", "v").count["missing"] == 2
    direct.execute("DROP TABLE moving")
    again = Again(gate, session)
    assert again.code == 5
    assert any('relation "moving" does not exist' in v["note"] for v in again.items)


def test_what_changes_by_nature_is_normalised_by_name_or_differs(gate: Stack) -> None:
    session = recorded(
        gate, lambda c: c.execute("SELECT now(), pg_current_xact_id(), pg_backend_pid(), random()")
    )
    again = Again(gate, session)
    (row,) = again.bad
    fields = {d["field"] for d in row["differences"]}
    assert fields == {
        "value 1 (now)", "value 2 (pg_current_xact_id)", "value 4 (random)",
    }  # fmt: skip
    options = ("--normalise", "timestamps", "--normalise", "txid", "--ignore-column", "random")
    again = Again(gate, session, *options)
    assert again.code == 0, again.bad
    assert {"pid", "timestamps", "txid", "column random"} <= set(again.summary["normalisers"])
    assert Again(gate, session, "--exact", *options).code == 5


def test_masks_and_refusals(gateways: Callable[..., Stack]) -> None:
    gate: Stack = gateways(Stack, policy=MASKED)

    def work(c: Any) -> None:
        rows = c.execute("SELECT id, email FROM users ORDER BY id").fetchall()
        assert "ada@example.com" not in str(rows)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            c.execute("DELETE FROM orders")
        c.execute("SELECT count(*) FROM orders")

    session = recorded(gate, work)
    # As the upstream saw it: what is behind masks is not on record, and never "equal".
    again = Again(gate, session)
    assert again.code == 3, again.bad
    assert again.count["not-on-record"] >= 1
    assert not again.summary["different"]
    # As the client meant it, past the gateway: the refusal and the masks are the difference.
    again = Again(gate, session, "--leg", "client", "--user", "postgres",
                  "--normalise", "login-user")  # fmt: skip
    assert again.code == 5
    assert any("email" in d["field"] for v in again.items for d in v["differences"])
    assert any("nothing is deleted" in v["note"] for v in again.items if v["status"] == "missing")
    with psycopg.connect(gate.server.dsn("shop"), autocommit=True) as direct:
        # It was said: the recorded commands run.
        assert direct.execute("SELECT count(*) FROM orders").fetchone() == (0,)
        direct.execute(
            "INSERT INTO orders SELECT n, 1 + n % 3, n + 0.5, 'open' FROM generate_series(1, 30) n"
        )


def test_a_masked_session_through_a_gateway_is_equal(gateways: Callable[..., Stack]) -> None:
    gate: Stack = gateways(Stack, policy=MASKED)

    def work(c: Any) -> None:
        c.execute("SELECT id, email FROM users ORDER BY id")
        c.execute("SELECT id, email FROM users WHERE id = %s", [2])
        with c.cursor().copy("COPY users (id, email) TO STDOUT") as copy:
            assert b"ada@example.com" not in b"".join(map(bytes, copy))
        c.execute("LISTEN ping")
        c.execute("NOTIFY ping, 'pong'")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            c.execute("DELETE FROM orders")

    session = recorded(gate, work)
    # What the client saw, from its own side, with a password for the gateway.
    again = Again(gate, session, "--leg", "client", "--user", "agent",
                  to=f"127.0.0.1:{gate.port}", password=gate.token())  # fmt: skip
    assert again.code == 0, (again.bad, again.stderr)
    assert "not-on-record" not in again.count
    assert again.summary["normalisers"]["gateway-session"] == 1
    # Past the gateway there are no masks; where they stood can be named.
    options = ("--leg", "client", "--user", "postgres", "--normalise", "login-user")
    again = Again(gate, session, *options, "--normalise", "masks", "--read-only")
    left = {v["request"] for v in again.bad if v["exchange"]}
    assert left == {"DELETE FROM orders"}
    assert again.summary["normalisers"]["masks"] >= 3
    # The upstream's leg: hidden rows are as many bytes as they were.
    again = Again(gate, session)
    assert again.code == 3, again.bad


def test_what_changes_by_nature_can_be_learned(gate: Stack, direct: Any) -> None:
    direct.execute("CREATE TABLE steady (v text)")
    direct.execute("INSERT INTO steady VALUES ('then')")
    session = recorded(
        gate, lambda c: (c.execute("SELECT random(), now()"), c.execute("SELECT v FROM steady"))
    )
    assert Again(gate, session).count["differs"] == 1
    again = Again(gate, session, "--learn")
    assert again.code == 0, again.bad
    assert again.summary["normalisers"]["learned"] == 1
    direct.execute("UPDATE steady SET v = 'now'")
    again = Again(gate, session, "--learn")
    assert [v["request"] for v in again.bad] == ["SELECT v FROM steady"]
    direct.execute("DROP TABLE steady")


def test_a_session_that_never_got_in(gate: Stack) -> None:
    with pytest.raises(psycopg.OperationalError):
        gate.connect("shop", token="no-token")
    wait_sealed(gate)
    session = max(row["session"] for row in gate.sessions())
    again = Again(gate, session, "--leg", "client")
    assert again.code == 1
    assert "login" in again.stderr


def test_tls_read_only_and_refusals_of_its_own(gate: Stack) -> None:
    session = recorded(gate, lambda c: c.execute("UPDATE orders SET status = status"))
    assert Again(gate, session, "--tls", "require").code == 0
    again = Again(gate, session, "--read-only")
    assert again.code == 5
    assert any("read-only transaction" in v["note"] for v in again.items)
    away = Again(gate, session, to="192.0.2.1:5432")
    assert away.code == 2
    assert "--i-understand-writes" in away.stderr
    wrong = Again(gate, session, "--user", "nobody-here")
    assert wrong.code == 1
    assert "refused" in wrong.stderr


def test_a_server_that_hangs_up_is_told(gate: Stack) -> None:
    session = recorded(gate, lambda c: c.execute("SELECT pg_backend_pid(), pg_sleep(0.1)"))
    killer = recorded(
        gate, lambda c: (c.execute("SELECT 1"), c.execute("SELECT 2"), c.execute("SELECT 3"))
    )
    assert Again(gate, session).code == 0
    with psycopg.connect(gate.server.dsn("shop"), autocommit=True) as direct:
        direct.execute("ALTER ROLE postgres SET statement_timeout = '50ms'")
        try:
            again = Again(gate, session)
        finally:
            direct.execute("ALTER ROLE postgres RESET statement_timeout")
    assert again.code == 5
    assert any("57014" in v["note"] for v in again.items)
    assert Again(gate, killer).code == 0
