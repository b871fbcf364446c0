"""A function of a user's that stands where PostgreSQL's own is meant."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from stack import Stack

from gateway.demo.postgres import Server

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("shadows")]

POLICY = """
version = 1
default = "deny"

[[rule]]
id = "reads"
on = "sql.select"
verdict = "allow"

[[rule]]
id = "makes"
on = ["sql.create", "sql.drop", "sql.transaction"]
incomplete = true
verdict = "allow"
"""
SHADOW = (
    "CREATE FUNCTION public.lower(integer) RETURNS text LANGUAGE sql"
    " AS $$UPDATE public.counted SET n = n + 1; SELECT 'shadow'$$"
)
SCHEMA = """
CREATE TABLE counted AS SELECT 0 AS n;
CREATE TABLE people AS SELECT 1 AS id;
CREATE FUNCTION peek(people) RETURNS text LANGUAGE sql
    AS $$UPDATE public.counted SET n = n + 1; SELECT 'peeked'$$;
-- With the very same arguments PostgreSQL's own wins: this is no shadow.
CREATE FUNCTION public.upper(text) RETURNS text LANGUAGE sql AS $$SELECT 'never'::text$$;
"""


def test_a_shadow_is_not_called_unseen(pg: Server, tmp_path: Path) -> None:
    with psycopg.connect(pg.dsn(), autocommit=True) as direct:
        direct.execute("CREATE DATABASE shadows")
    with psycopg.connect(pg.dsn("shadows"), autocommit=True) as direct:
        direct.execute(SCHEMA.encode())
        with (
            Stack(tmp_path, pg, policy=POLICY) as gate,
            gate.connect("shadows") as one,
            gate.connect("shadows") as other,
        ):
            assert one.execute("SELECT lower('ABC'), upper('a')").fetchone() == ("abc", "A")
            refused = ["SELECT p.peek FROM people p", "SELECT (p).peek FROM people p"]
            one.execute(SHADOW)
            assert one.execute("SELECT upper('a'), pg_catalog.lower('A')").fetchone()
            refused += ["SELECT lower(5)", "SELECT 1 WHERE lower('A') = 'a'"]
            for sql in refused:
                for connection in (one, other):
                    for prepare in (False, True):
                        with pytest.raises(psycopg.errors.InsufficientPrivilege):
                            connection.execute(sql, prepare=prepare)
            one.execute("DROP FUNCTION public.lower(integer)")
            assert other.execute("SELECT lower('ABC')").fetchone() == ("abc",)
            # Until its transaction ends, no other connection sees it.
            one.execute("BEGIN")
            one.execute(SHADOW)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                one.execute("SELECT lower(5)")
            one.execute("ROLLBACK")
            assert one.execute("SELECT lower('ABC')").fetchone() == ("abc",)
        assert direct.execute("SELECT n FROM counted").fetchone() == (0,)
