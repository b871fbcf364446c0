"""Masks follow the data: attempts to read a masked column under another name,
in another shape or through something that computes, and what must stay usable.
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from audit import HOPS
from stack import Stack

from gateway.demo.postgres import Server
from recorder.reader import open_recording
from recorder.streams import Streams

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("origin")]

SECRETS = ("219-09-7531", "078-05-8642")
SCHEMA = """
CREATE DOMAIN ssn_type AS text;
CREATE TABLE users (id int PRIMARY KEY, name text, ssn text, typed ssn_type);
INSERT INTO users VALUES (1, 'Ada', '219-09-7531', '219-09-7531'),
    (2, 'Grace', '078-05-8642', '078-05-8642');
CREATE TABLE orders (id int PRIMARY KEY, user_id int, total numeric, status text);
INSERT INTO orders SELECT n, 1 + n % 2, n, 'open' FROM generate_series(1, 10) n;
CREATE TABLE spare (id int, note text);
INSERT INTO spare VALUES (1, 'kept');
CREATE TABLE notes (id int, note text);
INSERT INTO notes VALUES (1, '219-09-7531-note');
CREATE VIEW plain AS SELECT id, ssn AS code FROM users;
CREATE VIEW twice AS SELECT id, code AS deep FROM plain;
CREATE VIEW computed AS SELECT id, lower(ssn) AS low FROM users;
CREATE VIEW nested AS SELECT id, low || '' AS lower FROM computed;
CREATE VIEW filtered AS SELECT o.id, (SELECT max(u.ssn) FROM users u) AS best FROM orders o;
CREATE MATERIALIZED VIEW stored AS SELECT id, ssn AS kept, upper(ssn) AS upped FROM users;
CREATE TABLE parted (id int, ssn text) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (1) TO (100);
INSERT INTO parted SELECT id, ssn FROM users;
CREATE TABLE users_child () INHERITS (users);
INSERT INTO users_child SELECT 10 + id, name, ssn, typed FROM ONLY users;
CREATE FUNCTION peek(int) RETURNS text LANGUAGE sql STABLE
    AS 'SELECT ssn FROM users WHERE id = $1';
CREATE FUNCTION all_users() RETURNS SETOF users LANGUAGE sql STABLE AS 'SELECT * FROM users';
CREATE VIEW hidden AS SELECT id, peek(user_id) AS peeked FROM orders;
CREATE VIEW "public.orders" AS SELECT ssn AS status FROM users;
"""

POLICY = """
version = 1
default = "deny"

[[rule]]
id = "everything"
on = "sql.*"
incomplete = true
verdict = "allow"

[[rule]]
id = "numbers"
on = "sql.*"
where = { tables = ["public.users", "public.parted"] }
verdict = "mask"
mask = [{ columns = ["*.ssn", "*.typed"], with = "keep-last", args = { n = 2 } }]
unresolved = "UNRESOLVED"
"""


@pytest.fixture(scope="module")
def vault(pg: Server) -> str:
    with psycopg.connect(pg.dsn(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE vault")
    with psycopg.connect(pg.dsn("vault"), autocommit=True) as connection:
        connection.execute(SCHEMA.encode())
    return "vault"


@pytest.fixture(scope="module", params=["block", "mask"])
def gate(
    request: Any, pg: Server, vault: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    policy = POLICY.replace("UNRESOLVED", request.param)
    with Stack(tmp_path_factory.mktemp("origin"), pg, policy=policy) as stack:
        yield stack


def secret_in(data: bytes) -> str:
    """Which form of which secret is in ``data``, "" for none."""
    low = data.lower()
    for secret in SECRETS:
        raw = secret.encode()
        for form in (raw, raw[:9], raw[::-1], raw.hex().encode(), b64encode(raw)):
            if form.lower() in low:
                return f"{secret} as {form!r}"
    return ""


def seen_by(stack: Stack, session: str) -> bytes:
    """What the client was given, as recorded; open sessions as far as they are."""
    recording = open_recording(stack.state, session)
    try:
        return b"".join(p.raw or b"" for p in Streams(recording).pieces(HOPS["client out"]))
    finally:
        recording.close()


def new_sessions(stack: Stack, before: set[str]) -> list[str]:
    end = time.monotonic() + 5
    while True:
        rows = [row for row in stack.sessions() if row["session"] not in before]
        if (rows and all(row["status"] != "open" for row in rows)) or time.monotonic() > end:
            return [row["session"] for row in rows]
        time.sleep(0.05)


ATTACKS = {
    "itself": ["SELECT ssn FROM users"],
    "star": ["SELECT * FROM users"],
    "table": ["TABLE users"],
    "renamed": ["SELECT x FROM users AS u(a, b, x)"],
    "view": ["SELECT code FROM plain"],
    "view on view": ["SELECT deep FROM twice", "SELECT * FROM twice"],
    "view that computes": ["SELECT low FROM computed", "SELECT * FROM computed"],
    "view on one that computes": ["SELECT lower FROM nested"],
    "view with a subquery": ["SELECT best FROM filtered"],
    "view with a function": ["SELECT peeked FROM hidden", "SELECT upper(peeked) FROM hidden"],
    "expression on a view": ["SELECT upper(deep) FROM twice", "SELECT reverse(low) FROM nested n"
                             " JOIN computed c ON n.id = c.id"],
    "function": ["SELECT peek(1)", "SELECT * FROM peek(2)", "SELECT ssn FROM all_users()",
                 "SELECT * FROM all_users()", "SELECT (all_users()).ssn",
                 "SELECT upper(peek(1)) FROM orders"],
    "subquery": ["SELECT (SELECT ssn FROM users LIMIT 1)",
                 "SELECT s.t FROM (SELECT ssn AS t FROM users) s",
                 "SELECT (SELECT max(code) FROM plain) FROM orders"],
    "cte": ["WITH w AS (SELECT ssn AS t FROM users) SELECT t FROM w",
            "WITH w AS (SELECT ssn || '' AS t FROM users) SELECT upper(t) FROM w",
            "WITH RECURSIVE w(t, n) AS (SELECT ssn, 1 FROM users UNION ALL"
            " SELECT t, n + 1 FROM w WHERE n < 2) SELECT t FROM w"],
    "set operations": ["SELECT name FROM users UNION SELECT ssn FROM users",
                       "SELECT status FROM orders UNION ALL SELECT code FROM plain",
                       "SELECT s FROM (SELECT status AS s FROM orders UNION ALL"
                       " SELECT ssn FROM users) q",
                       "SELECT ssn FROM users EXCEPT SELECT 'x'",
                       "SELECT ssn FROM users INTERSECT SELECT code FROM plain"],
    "values": ["VALUES ((SELECT ssn FROM users LIMIT 1))"],
    "row": ["SELECT u FROM users u", "SELECT users FROM users", "SELECT row(u.*) FROM users u",
            "SELECT (u).ssn FROM users u", "SELECT p FROM plain p", "SELECT u::text FROM users u",
            "SELECT s FROM stored s"],
    "json": ["SELECT to_jsonb(u) FROM users u", "SELECT row_to_json(p) FROM plain p",
             "SELECT json_agg(u) FROM users u", "SELECT to_jsonb(u) -> 'ssn' FROM users u",
             "SELECT jsonb_each_text(to_jsonb(u)) FROM users u",
             "SELECT value FROM users u, jsonb_each_text(to_jsonb(u))",
             "SELECT json_build_object('a', code) FROM plain"],
    "aggregates": ["SELECT string_agg(ssn, ',') FROM users", "SELECT array_agg(ssn) FROM users",
                   "SELECT min(ssn), max(code) FROM users, plain", "SELECT min(code) FROM plain",
                   "SELECT mode() WITHIN GROUP (ORDER BY ssn) FROM users",
                   "SELECT xmlagg(xmlelement(name a, ssn)) FROM users"],
    "functions of it": ["SELECT substr(ssn, 1, 9) FROM users", "SELECT reverse(ssn) FROM users",
                        "SELECT encode(ssn::bytea, 'base64') FROM users",
                        "SELECT encode(code::bytea, 'hex') FROM plain",
                        "SELECT ssn::bytea FROM users", "SELECT concat(code, '') FROM plain",
                        "SELECT format('%s', deep) FROM twice",
                        "SELECT unnest(array[code]) FROM plain",
                        "SELECT regexp_split_to_table(ssn, 'x') FROM users",
                        "SELECT ssn::varchar(20) FROM users", "SELECT ssn || '' FROM users"],
    "case": ["SELECT CASE WHEN true THEN code END FROM plain", "SELECT coalesce(ssn) FROM users",
             "SELECT nullif(ssn, '') FROM users", "SELECT greatest(code, '') FROM plain"],
    "joins": ["SELECT ssn FROM users JOIN users_child USING (ssn)",
              "SELECT code FROM plain FULL JOIN (SELECT ssn AS code FROM users) s USING (code)",
              "SELECT * FROM users NATURAL JOIN users_child",
              "SELECT j.x FROM (users JOIN orders ON users.id = user_id) AS j(a, b, x)"],
    "lateral": ["SELECT l.z FROM orders o, LATERAL (SELECT ssn AS z FROM users u"
                " WHERE u.id = o.user_id) l",
                "SELECT l.z FROM plain p, LATERAL (SELECT p.code || '' AS z) l",
                "SELECT f FROM users u, LATERAL lower(u.ssn) f"],
    "windows": ["SELECT first_value(ssn) OVER () FROM users",
                "SELECT lag(code) OVER (ORDER BY id) FROM plain"],
    "returning": ["UPDATE users SET name = name RETURNING ssn",
                  "UPDATE users SET name = name RETURNING upper(ssn)",
                  "UPDATE users SET name = name RETURNING *",
                  "UPDATE orders o SET status = status FROM plain p RETURNING p.code",
                  "UPDATE orders o SET status = status FROM plain p RETURNING reverse(p.code)",
                  "INSERT INTO users VALUES (1) ON CONFLICT (id) DO UPDATE SET name = 'Ada'"
                  " RETURNING ssn || ''",
                  "WITH w AS (UPDATE users SET name = name RETURNING ssn) SELECT * FROM w"],
    "prepare": ["PREPARE p AS SELECT reverse(code) FROM plain", "EXECUTE p",
                "PREPARE q(int) AS SELECT ssn FROM users WHERE id = $1", "EXECUTE q(1)"],
    "cursor": ["BEGIN", "DECLARE c CURSOR FOR SELECT code, code || '' FROM plain", "FETCH ALL c",
               "MOVE BACKWARD ALL IN c", "FETCH 1 FROM c", "COMMIT"],
    "materialized": ["SELECT kept FROM stored", "SELECT upped FROM stored",
                     "SELECT reverse(upped) FROM stored"],
    "partitions": ["SELECT ssn FROM parted_1", "SELECT ssn || '' FROM parted_1",
                   "SELECT max(ssn) FROM parted"],
    "inheritance": ["SELECT ssn FROM users_child", "SELECT upper(ssn) FROM users_child"],
    "domain": ["SELECT typed FROM users", "SELECT typed::text FROM users",
               "SELECT typed FROM users_child"],
    "dotted name": ['SELECT reverse(status) FROM "public.orders"',
                    'SELECT status FROM "public.orders"'],
    "temporary": ["CREATE TEMP VIEW orders AS SELECT ssn AS status FROM users",
                  "SELECT status FROM orders", "SELECT reverse(status) FROM orders",
                  "CREATE TEMP TABLE keep AS SELECT ssn AS s FROM users",
                  "SELECT s FROM keep", "SELECT reverse(s) FROM keep"],
    "a temporary catalog": ["CREATE TEMP VIEW pg_class AS SELECT ssn AS relname FROM users",
                            "SELECT relname FROM pg_class", "SELECT reverse(relname) FROM pg_class",
                            "SELECT min(relname) FROM pg_class"],
    "path": ["CREATE SCHEMA IF NOT EXISTS evil",
             "CREATE OR REPLACE VIEW evil.orders AS SELECT ssn AS status FROM users",
             "SET search_path = evil, public", "SELECT max(status) FROM orders",
             "SELECT status FROM orders", "RESET search_path"],
    "settings": ["SELECT set_config('my.s', max(ssn), false) FROM users", "SHOW my.s",
                 "SELECT current_setting('my.s')"],
    "settings by update": ["UPDATE pg_settings SET setting = u.ssn FROM users u"
                           " WHERE pg_settings.name = 'application_name'",
                           "SHOW application_name", "SELECT current_setting('application_name')",
                           "SELECT setting FROM pg_settings WHERE name = 'application_name'"],
    "large objects": ["SELECT lo_from_bytea(4242, (SELECT ssn FROM users LIMIT 1)::bytea)",
                      "SELECT lo_get(4242)", "SELECT convert_from(lo_get(4242), 'UTF8')"],
    "errors": ["SELECT code::int FROM plain", "SELECT deep::date FROM twice",
               "SELECT peek(1)::int"],
    "statistics": ["SELECT most_common_vals FROM pg_stats WHERE tablename = 'users'",
                   "SELECT histogram_bounds::text FROM pg_stats WHERE tablename = 'users'"],
    "code": ["DO $$ BEGIN RAISE NOTICE '%', (SELECT max(ssn) FROM users); END $$",
             "DO $$ BEGIN RAISE EXCEPTION '%', (SELECT max(ssn) FROM users); END $$"],
    "notify": ["LISTEN c", "DO $$ BEGIN PERFORM pg_notify('c', max(ssn)) FROM users; END $$"],
}  # fmt: skip

COPIES = (
    "COPY users TO STDOUT", "COPY users (ssn) TO STDOUT", "COPY (SELECT ssn FROM users) TO STDOUT",
    "COPY (SELECT reverse(code) FROM plain) TO STDOUT", "COPY stored TO STDOUT",
    "COPY (SELECT deep FROM twice) TO STDOUT (FORMAT csv)", "COPY parted_1 TO STDOUT",
    "COPY (SELECT upper(ssn) FROM users) TO STDOUT (FORMAT binary)",
    "COPY (UPDATE users SET name = name RETURNING ssn || '') TO STDOUT",
    "COPY (SELECT low FROM computed) TO STDOUT", "COPY (TABLE plain) TO STDOUT",
)  # fmt: skip


def attempt(connection: Any, sql: str, **how: Any) -> list[Any]:
    try:
        cursor = connection.execute(sql, **how)
        return list(cursor.fetchall()) if cursor.description else []
    except psycopg.Error:
        return []


def test_no_attack_gets_a_secret(gate: Stack, tmp_path: Path) -> None:
    before = {row["session"] for row in gate.sessions()}
    found: list[str] = []
    asked = 0
    for name, statements in ATTACKS.items():
        for prepared in (False, True):
            with gate.connect("vault") as connection:
                said: list[str] = []
                connection.add_notice_handler(
                    lambda d, said=said: said.append(str(d.message_primary))
                )
                for sql in statements:
                    for binary in (False, True) if prepared else (False,):
                        how = {"prepare": True, "binary": binary} if prepared else {}
                        rows = attempt(connection, sql, **how)
                        asked += 1
                        leak = secret_in(repr(rows).encode())
                        if leak:
                            found.append(f"{name}: {sql!r} ({how}): {leak}")
                attempt(connection, "SELECT lo_unlink(4242)")
    for sql in COPIES:
        with gate.connect("vault") as connection, connection.cursor() as cursor:
            try:
                with cursor.copy(sql) as copy:
                    data = b"".join(bytes(block) for block in copy)
            except psycopg.Error:
                continue
            leak = secret_in(data)
            if leak:
                found.append(f"{sql!r}: {leak}")
    assert not found, "\n".join(found)
    assert asked > 200
    sessions = new_sessions(gate, before)
    assert sessions
    for session in sessions:
        assert not secret_in(seen_by(gate, session)), session


HARMLESS = (
    "SELECT now()", "SELECT 1", "SELECT version()", "SELECT sum(total) FROM orders",
    "SELECT count(*) FROM users", "SELECT count(*) FROM plain", "SELECT sum(total), status"
    " FROM orders GROUP BY status", "SELECT id FROM users ORDER BY ssn",
    "SELECT name FROM users", "SELECT u.name, o.total FROM users u JOIN orders o"
    " ON o.user_id = u.id", "SELECT id FROM twice", "SELECT upper(note) FROM public.spare",
    "SELECT current_database(), current_user", "SELECT current_setting('server_version_num')",
    "SELECT generate_series(1, 3)", "SELECT * FROM generate_series(1, 3)",
    "SELECT o.total * 2 FROM orders o, LATERAL (SELECT 1) l", "SELECT relname::text"
    " FROM pg_class WHERE relname = 'users'", "SELECT max(id) FROM notes", "VALUES (1, 'a')",
    "SELECT o FROM orders o",
    "SELECT pg_sleep(0)", "SELECT status || '!' FROM orders UNION SELECT 'x'",
    "UPDATE orders SET status = status RETURNING id, upper(status)", "SHOW server_version",
    "SELECT json_agg(o) FROM orders o", "EXPLAIN SELECT ssn FROM users", "SELECT 'a' || 'b'",
    "SELECT count(*) FILTER (WHERE total > 3) FROM orders", "SELECT $1::int + 1",
    "SELECT pg_catalog.set_config('search_path', '', false)",
    "SELECT max(note) FROM public.spare", "SELECT count(*) FROM public.orders",
)  # fmt: skip


def test_what_reads_nothing_masked_is_as_it_was(gate: Stack, pg: Server) -> None:
    with gate.connect("vault") as ours, psycopg.connect(pg.dsn("vault"), autocommit=True) as direct:
        for sql in HARMLESS:
            parameters = [1] if "$1" in sql else []
            asked = sql.replace("$1", "%s")
            got = ours.execute(asked, parameters).fetchall()
            if sql.startswith(("SELECT now", "EXPLAIN")):
                assert got[0][0] is not None
            else:
                assert got == direct.execute(asked, parameters).fetchall(), sql


def test_a_computed_value_near_a_masked_column_is_masked_whole(gate: Stack) -> None:
    with gate.connect("vault") as connection:
        rows = connection.execute("SELECT ssn, ssn || '', upper(name) FROM users").fetchall()
        assert {row[0] for row in rows} == {"****31", "****42"}
        assert {row[1:] for row in rows} == {("[redacted]", "[redacted]")}
        rows = connection.execute("SELECT code, code || '' FROM plain").fetchall()
        assert set(rows) == {("****31", "[redacted]"), ("****42", "[redacted]")}


@pytest.mark.parametrize(
    "command", [r"\d", r"\d users", r"\d+ plain", r"\dt+", r"\df", r"\dn", r"\l", r"\d parted"]
)
def test_psql_describes_as_without_a_gateway(
    gate: Stack, pg: Server, command: str, tool: Callable[[str], str]
) -> None:
    import subprocess

    tool("psql")
    done = gate.psql("-d", "vault", "-c", command)
    assert done.returncode == 0, done.stderr
    direct = subprocess.run(
        ["psql", "-X", "-A", "-t", pg.dsn("vault"), "-c", command],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == direct.stdout
