"""What is said of texts, held against what a real PostgreSQL does with them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from test_sql_facts import READS, WRITES
from test_sql_museum import EFFECTS, HARMLESS, HIDDEN_WRITES, INCOMPLETE, UNBOUND

from protocols.contract import EffectKind
from protocols.sql import analyse, trace_view

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
pytestmark = [
    pytest.mark.clients,
    pytest.mark.timeout(90),
    pytest.mark.skipif(not BINARIES, reason="no PostgreSQL server here"),
]

TABLES = """
create table t (a int primary key, b int, i int, id int, name text);
create table users (id int, email text, name text);
create table orders (id int, x text);
create table secrets (x int, a int);
create table u (a int, id int);
create schema s;
create table s.users (id int, email text);
create table "We ird" ("Col" text);
create view base as select email from users;
"""

VIEWS = [
    "select u.email, u.email e2, lower(u.email) l, 1 one, count(*) over () from users u",
    "select * from users",
    "select * from users join orders using (id)",
    "select * from users natural full join orders",
    "select u.*, o.x from users u left join orders o on o.id = u.id",
    "with c as (select email, id from users) select c.email, d.id from c, c d",
    "with recursive c as (select id, email from users union all select id + 1, email from c) "
    "select * from c",
    "select a, b, c from users as q(a, b, c)",
    "select (q).email from users q",
    "select l.x from users u, lateral (select u.email x) l",
    "select (select email from users limit 1) from orders",
    "select email::varchar, email || 'x' y, coalesce(email, '') from users",
    "values (1, 'a'), (2, 'b')",
    "select f.* from generate_series(1, 2) f(n), unnest(array['a']) g",
    "select max(email), email from users group by grouping sets ((email), ())",
    "select email from only users tablesample system (10)",
    "select s.users.email from s.users",
    "select a.e from (select b.e from (select email e from users) b) a",
    "select email from base",
    'select "We ird"."Col" from "We ird"',
]


@pytest.fixture(scope="module")
def where() -> Iterator[str]:
    """A server of our own on a socket; yields what to connect to."""
    binaries = BINARIES[-1].parent
    folder = Path(tempfile.mkdtemp(prefix="sql"))
    become: list[str] = []
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
        become = ["runuser", "-u", "postgres", "--"]

    def run(*words: str) -> None:
        quiet = subprocess.DEVNULL
        subprocess.run([*become, *words], cwd=folder, check=True, stdout=quiet, stderr=quiet)

    data = str(folder / "data")
    run(str(binaries / "initdb"), "-D", data, "-A", "trust", "-U", "postgres", "-N")
    control = (str(binaries / "pg_ctl"), "-D", data, "-w")
    options = f"-k {folder} -c listen_addresses= -c fsync=off"
    run(*control, "-o", options, "-l", str(folder / "log"), "start")
    try:
        yield f"host={folder} user=postgres dbname=postgres"
    finally:
        run(*control, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def made(where: str) -> str:
    with psycopg.connect(where, autocommit=True) as connection:
        connection.execute(TABLES)
    return where


def test_no_write_that_the_server_knows_is_missed(made: str) -> None:
    """Whatever a read-only transaction refuses has an effect besides reading
    here, or is incomplete."""
    rows: list[tuple[object, ...]] = [*HIDDEN_WRITES, *UNBOUND, *EFFECTS, *READS, *WRITES]
    texts = [str(row[0]) for row in rows] + INCOMPLETE + HARMLESS
    # Left out: what would end the server or wait, and what speaks COPY.
    loud = ("pg_reload", "pg_terminate", "pg_sleep", "alter system", "/tmp/", "load '", "copy ")
    refused = 0
    for text in texts:
        if any(word in text for word in loud):
            continue
        with psycopg.connect(made, autocommit=True) as connection:
            connection.execute("begin read only")
            try:
                connection.execute(text.encode())
            except psycopg.errors.ReadOnlySqlTransaction:
                refused += 1
                parts = analyse(text).parts
                kinds = {effect.kind for part in parts for effect in part.effects}
                assert kinds - {EffectKind.READ} or not all(p.complete for p in parts), text
            except psycopg.Error:
                pass
    assert refused > 60


@pytest.mark.parametrize("query", VIEWS)
def test_traces_agree_with_the_server(made: str, query: str) -> None:
    """Where the server names a base column for an output, a trace names the
    same or is unknown; where it names none, a trace names none."""
    with psycopg.connect(made) as connection:
        connection.execute("drop view if exists v")
        connection.execute(f"create view v as {query}".encode())
        row = connection.execute("select pg_get_viewdef('v'::regclass)").fetchone()
        assert row is not None
        names = connection.execute("select * from v limit 0").description or []
        result = connection.execute(row[0].rstrip(";").encode()).pgresult
        assert result is not None
        traced = trace_view(row[0], [column.name for column in names])
        assert len(traced) == result.nfields
        for place, origins in enumerate(traced):
            found = connection.execute(
                "select nspname, relname, attname from pg_attribute join pg_class c on "
                "attrelid = c.oid join pg_namespace n on n.oid = relnamespace "
                "where c.oid = %s and attnum = %s",
                (result.ftable(place), result.ftablecol(place)),
            ).fetchone()
            if found is None:
                assert not origins
            elif origins is not None:
                ((schema, table, column),) = origins
                assert (schema or "public", table, column) == found
        connection.rollback()
