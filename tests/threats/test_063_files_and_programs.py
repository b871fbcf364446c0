"""Row 63: ways to the server's files, programs and network; and CopyData, which
can't carry messages of the protocol.

Goes red when ``COPY ... PROGRAM`` is taken for a copy to the client.
"""

from __future__ import annotations

import psycopg
import pytest
from stack import Stack
from wire import bind, enter, execute, frame, parse, query

from gateway.demo.postgres import Server

BROAD = """
version = 1
default = "deny"

[[rule]]
id = "work"
on = ["sql.select", "sql.insert", "sql.update", "sql.delete", "sql.copy*", "sql.transaction"]
verdict = "allow"

[[rule]]
id = "nothing-beyond-the-tables"
on = "sql.*"
effects = ["control", "define", "grant"]
verdict = "block"
message = "{verb} reaches beyond the tables"
"""


@pytest.fixture(scope="module")
def workers(started: object, pg: Server) -> Stack:
    made: Stack = started(pg, policy=BROAD)  # type: ignore[operator]
    return made


REFUSED = [
    "COPY orders TO PROGRAM 'cat > /tmp/x'",
    "COPY orders FROM PROGRAM 'id'",
    "COPY (SELECT 1) TO PROGRAM 'id'",
    "COPY orders TO '/tmp/threat63'",
    "COPY orders FROM '/etc/passwd'",
    "COPY (SELECT 1) TO '/tmp/threat63'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_catalog.pg_read_binary_file('/etc/passwd')",
    "SELECT * FROM pg_ls_dir('/')",
    "SELECT pg_stat_file('/etc/passwd')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT lo_export(1, '/tmp/threat63')",
    "SELECT pg_logdir_ls()",
    "SELECT * FROM dblink('host=127.0.0.1', 'DELETE FROM users') AS t(a int)",
    "SELECT dblink_exec('x', 'DELETE FROM users')",
    "CREATE EXTENSION dblink",
    "CREATE EXTENSION IF NOT EXISTS plpython3u CASCADE",
    "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw",
    "CREATE FOREIGN DATA WRAPPER w",
    "CREATE FOREIGN TABLE f (a int) SERVER s",
    "CREATE USER MAPPING FOR postgres SERVER s",
    "IMPORT FOREIGN SCHEMA public FROM SERVER s INTO public",
    "CREATE LANGUAGE plpython3u",
    "CREATE FUNCTION f() RETURNS int LANGUAGE c AS '/tmp/x.so'",
    "CREATE FUNCTION f() RETURNS int LANGUAGE plpython3u AS 'import os'",
    "LOAD '/tmp/x.so'",
    "ALTER SYSTEM SET archive_command = 'id'",
    "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1' PUBLICATION p",
    "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f()",
    "SELECT pg_execute_server_program('id')",
    "SELECT pg_file_write('/tmp/x', 'y', false)",
    "SELECT * FROM pg_read_server_files('x')",
    "SELECT pg_rotate_logfile()",
    "SELECT pg_promote()",
    "SELECT pg_create_logical_replication_slot('x', 'test_decoding')",
    "SELECT database_to_xml(true, false, '')",
    "GRANT ALL ON users TO PUBLIC",
    "ALTER ROLE postgres PASSWORD 'x'",
    "CREATE ROLE x SUPERUSER LOGIN",
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION postgres",
    "REASSIGN OWNED BY postgres TO x",
    "SECURITY LABEL ON TABLE users IS 'x'",
]


@pytest.mark.parametrize("text", REFUSED)
def test_refused(workers: Stack, text: str) -> None:
    with enter(workers) as wire:
        answer = wire.ask(text)
        assert answer.code == "42501", answer
        assert "rule" in str(answer.error), "by us, not by the server"
        assert wire.say(parse("", text), bind("", ""), execute()).code == "42501"


def test_copy_data_is_only_data(workers: Stack, pg: Server) -> None:
    """Bytes of messages inside of CopyData stay bytes."""
    evil = query("DELETE FROM users").decode("latin1").replace("\0", ".").encode()
    with psycopg.connect(pg.dsn("shop"), autocommit=True) as direct:
        direct.execute("DROP TABLE IF EXISTS copied")
        direct.execute("CREATE TABLE copied (t text)")
        with enter(workers) as wire:
            wire.send(query("COPY copied FROM STDIN"))
            assert wire.until("G").kinds == "G"
            wire.send(frame("d", evil + b"\n"), frame("d", b"more"), frame("d", b"\n\\.\n"))
            wire.send(frame("c"))
            assert wire.until().tags == ["COPY 2"]
        row = direct.execute("SELECT min(t) FROM copied").fetchone()
        assert row is not None
        rows = {r[0].encode() for r in direct.execute("SELECT t FROM copied").fetchall()}
        assert rows == {evil, b"more"}


@pytest.mark.parametrize(
    "raw",
    [
        query("DELETE FROM users"),
        parse("", "DELETE FROM users"),
        bind("", ""),
        execute(),
        frame("F", bytes(10)),
        frame("p", b"x\0"),
    ],
    ids=["Q", "P", "B", "E", "F", "p"],
)
def test_no_other_message_inside_of_copy(workers: Stack, pg: Server, raw: bytes) -> None:
    """The server would take it for an end of the copy, and we can't know how the
    bytes behind it will be read."""
    with psycopg.connect(pg.dsn("shop"), autocommit=True) as direct:
        direct.execute("DROP TABLE IF EXISTS copied")
        direct.execute("CREATE TABLE copied (t text)")
    with enter(workers) as wire:
        wire.send(query("COPY copied FROM STDIN"))
        assert wire.until("G").kinds == "G"
        answer = wire.send(frame("d", b"a\n"), raw, frame("c")).rest()
        assert answer.errors[-1]["S"] == "FATAL"
    with psycopg.connect(pg.dsn("shop")) as direct:
        assert direct.execute("SELECT count(*) FROM users").fetchone() == (3,)


def test_copy_data_without_a_copy(workers: Stack) -> None:
    """The server ignores it, and so must we: nothing shifts."""
    with enter(workers) as wire:
        wire.send(frame("d", query("DELETE FROM users")), frame("c"), frame("f", b"no\0"))
        assert wire.ask("SELECT count(*) FROM users").rows == [[b"3"]]
        wire.send(query("SELECT 1"), frame("d", b"x" * 100_000), query("SELECT 2"))
        assert wire.until().rows == [[b"1"]]
        assert wire.until().rows == [[b"2"]]


def test_a_blocked_copy_takes_its_data_along(workers: Stack) -> None:
    """A client that sends its data at once, without waiting for the go-ahead."""
    with enter(workers) as wire:
        wire.send(
            query("COPY orders FROM PROGRAM 'id'"),
            frame("d", b"9\t9\t9\t9\n"),
            frame("c"),
            query("SELECT 5"),
        )
        assert wire.until().code == "42501"
        assert wire.until().rows == [[b"5"]]
