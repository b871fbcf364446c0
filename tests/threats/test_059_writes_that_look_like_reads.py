"""Row 59: a policy that allows reads is not talked into a write by its wrapping.

An allow rule for reads has to say ``effects = ["read"]``: without it the rule means the
verb, and ``SELECT pg_reload_conf()`` is a select (then this file goes red).
"""

from __future__ import annotations

import psycopg
import pytest
from stack import Stack
from wire import bind, enter, execute, parse

from gateway.demo.postgres import Server

WRITES = [
    "WITH gone AS (DELETE FROM victims RETURNING *) SELECT * FROM gone",
    "WITH a AS (SELECT 1), b AS (UPDATE victims SET id = 0 RETURNING id) SELECT * FROM a, b",
    "WITH RECURSIVE r AS (INSERT INTO victims VALUES (9) RETURNING id) SELECT * FROM r",
    "SELECT * FROM (WITH x AS (DELETE FROM victims RETURNING id) SELECT * FROM x) y",
    "EXPLAIN ANALYZE DELETE FROM victims",
    "EXPLAIN (ANALYZE true, FORMAT json) DELETE FROM victims WHERE id > 0",
    "EXPLAIN (ANALYZE) WITH x AS (DELETE FROM victims RETURNING id) SELECT * FROM x",
    "EXPLAIN ANALYZE CREATE TABLE victims_copy AS SELECT 1",
    "COPY (DELETE FROM victims RETURNING *) TO STDOUT",
    "COPY (WITH x AS (DELETE FROM victims RETURNING *) SELECT * FROM x) TO STDOUT",
    "COPY victims FROM STDIN",
    "DO $$ BEGIN DELETE FROM victims; END $$",
    "DO LANGUAGE plpgsql 'BEGIN EXECUTE ''DELETE FROM victims''; END'",
    "SELECT query_to_xml('DELETE FROM victims RETURNING id', true, false, '')",
    "SELECT pg_catalog.query_to_xml('DELETE FROM victims', true, false, '')",
    "SELECT query_to_xmlschema('DELETE FROM victims', true, false, '')",
    "SELECT cursor_to_xml('c'::refcursor, 1, true, false, '')",
    "SELECT ts_stat('DELETE FROM victims RETURNING NULL::tsvector')",
    "SELECT * FROM ts_stat('DELETE FROM victims RETURNING NULL::tsvector')",
    "SELECT nextval('victims_seq')",
    "SELECT setval('victims_seq', 99)",
    "SELECT lo_unlink(1)",
    "SELECT pg_notify('x', 'y')",
    "SELECT pg_terminate_backend(1)",
    "SELECT pg_reload_conf()",
    "SELECT pg_advisory_lock(1)",
    "SELECT delete_victims()",
    "SELECT 1 WHERE delete_victims() > 0",
    "SELECT * FROM delete_victims()",
    "SELECT 1 ORDER BY delete_victims()",
    "SELECT 1 LIMIT (SELECT delete_victims())",
    "SELECT count(*) FILTER (WHERE delete_victims() > 0) FROM victims",
    "SELECT sum(delete_victims()) OVER () FROM victims",
    "SELECT 1 !@ 2",
    "SELECT 1 OPERATOR(public.!@) 2",
    "SELECT * FROM deleting_view",
    "SELECT 'x'::delete_domain",
    "VALUES (delete_victims())",
    "TABLE deleting_view",
    "SELECT * INTO victims_copy FROM victims",
    "CREATE TABLE victims_copy AS SELECT 1",
    "DECLARE c CURSOR WITH HOLD FOR SELECT delete_victims()",
    "PREPARE p AS DELETE FROM victims",
    "MERGE INTO victims v USING (VALUES (1)) s(id) ON v.id = s.id WHEN MATCHED THEN DELETE",
    "LOCK victims",
    "TRUNCATE victims",
    "VACUUM victims",
    "REFRESH MATERIALIZED VIEW x",
    "CALL delete_them()",
    "SELECT 1; DELETE FROM victims",
    "BEGIN; DELETE FROM victims; COMMIT",
    "START TRANSACTION READ WRITE; SELECT delete_victims()",
]

SET_UP = """
DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public;
CREATE TABLE victims (id int); INSERT INTO victims VALUES (1), (2);
CREATE SEQUENCE victims_seq;
CREATE FUNCTION delete_victims() RETURNS int LANGUAGE plpgsql
  AS 'BEGIN DELETE FROM victims; RETURN 1; END';
CREATE FUNCTION delete_op(int, int) RETURNS int LANGUAGE plpgsql
  AS 'BEGIN DELETE FROM victims; RETURN 1; END';
CREATE OPERATOR !@ (LEFTARG = int, RIGHTARG = int, FUNCTION = delete_op);
CREATE FUNCTION delete_text(text) RETURNS bool LANGUAGE plpgsql
  AS 'BEGIN DELETE FROM victims; RETURN true; END';
CREATE DOMAIN delete_domain AS text CHECK (delete_text(VALUE));
CREATE PROCEDURE delete_them() LANGUAGE sql AS 'DELETE FROM victims';
CREATE VIEW deleting_view AS SELECT delete_victims() AS id;
"""

KNOWN_HOLES = {
    "SELECT 1 !@ 2": "an operator of the server's own making is taken for a builtin",
    "SELECT 1 OPERATOR(public.!@) 2": "likewise",
    "SELECT * FROM deleting_view": "a view's functions are not looked at",
    "TABLE deleting_view": "likewise",
    "SELECT 'x'::delete_domain": "a domain's check is not looked at",
}


@pytest.fixture(scope="module")
def victims(pg: Server) -> str:
    with psycopg.connect(pg.dsn(), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS looks")
        connection.execute("CREATE DATABASE looks")
    return pg.dsn("looks")


@pytest.mark.parametrize("text", WRITES)
def test_it_does_not_run(readers: Stack, victims: str, text: str) -> None:
    with psycopg.connect(victims, autocommit=True) as direct:
        direct.execute(SET_UP.encode())
        before = state(direct)
        with enter(readers, "looks") as wire:
            simple = wire.ask(text)
            wire.ask("ROLLBACK")
            extended = wire.say(parse("", text), bind("", ""), execute())
            wire.ask("ROLLBACK")
            assert wire.ask("SELECT 1").rows == [[b"1"]], "the session lives on"
        # What is prepared by other people is theirs to allow: see the operator's
        # own list below.
        if text not in KNOWN_HOLES:
            assert "42501" in [e["C"] for e in simple.errors], simple
            assert extended.errors, extended
            assert state(direct) == before


def state(direct: psycopg.Connection[tuple[object, ...]]) -> list[tuple[object, ...]]:
    return [
        *direct.execute("SELECT id FROM victims ORDER BY id").fetchall(),
        *direct.execute("SELECT last_value, is_called FROM victims_seq").fetchall(),
        *direct.execute("SELECT relname FROM pg_class WHERE relname LIKE 'victims%' ORDER BY 1"),
    ]


@pytest.mark.parametrize("text", KNOWN_HOLES)
def test_what_others_defined_is_stopped_by_the_read_only_backstop(
    readers: Stack, victims: str, text: str
) -> None:
    """Code behind an operator, a view or a domain needs someone who may define
    it. Against it stands the server's own read-only transaction, which a
    reader can't leave: neither SET nor a transaction mode is a read."""
    with psycopg.connect(victims, autocommit=True) as direct:
        direct.execute(SET_UP.encode())
        before = state(direct)
        with enter(readers, "looks", default_transaction_read_only="on") as wire:
            for escape in (
                "SET default_transaction_read_only = off",
                "SET transaction_read_only = off",
                "SELECT set_config('default_transaction_read_only', 'off', false)",
                "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
                "RESET default_transaction_read_only",
            ):
                assert wire.ask(escape).code == "42501", escape
            assert wire.ask(text).code in ("25006", "42501")
        assert state(direct) == before


@pytest.mark.parametrize(
    "text",
    [
        "SELECT id FROM victims",
        "WITH x AS (SELECT id FROM victims) SELECT count(*) FROM x",
        "EXPLAIN SELECT * FROM victims",
        "EXPLAIN (ANALYZE) SELECT * FROM victims",
        "SELECT 'DELETE FROM victims'",
    ],
)
def test_reads_are_read(readers: Stack, victims: str, text: str) -> None:
    with psycopg.connect(victims, autocommit=True) as direct:
        direct.execute(SET_UP.encode())
    with enter(readers, "looks") as wire:
        assert wire.ask(text).errors == []
