"""Row 67: a masked value leaves by no other message than a row, and masked there.

The oracle greps the bytes that the client got for the planted values in several
encodings. Goes red without ``veil.withheld`` (errors then show the value).
"""

from __future__ import annotations

import base64
import time

import pytest
from stack import Stack
from wire import FLUSH, SYNC, bind, describe, enter, execute, parse, query

EMAILS = (b"ada@example.com", b"grace@example.org")
SSNS = (b"219-09-9999", b"078-05-1120")
PLANTED = EMAILS + SSNS


def leaks(seen: bytes | bytearray) -> list[bytes]:
    """The planted values that ``seen`` shows, in any simple encoding."""
    low = bytes(seen).lower()
    found = []
    for value in PLANTED:
        forms = {
            value,
            value[::-1],
            value.hex().encode(),
            base64.b64encode(value).lower()[:-4],
            value.replace(b"-", b"").replace(b"@", b""),
            "".join(f"\\{b:03o}" for b in value).encode(),
            value.decode().encode("utf-16-le"),
            value.decode().encode("utf-16-be"),
        }
        found += [form for form in forms if form.lower() in low]
    return found


EXFIL = {
    "row": "SELECT email, ssn FROM users",
    "error by cast": "SELECT email::int FROM users WHERE id = 1",
    "error by json": "SELECT email::json FROM users",
    "error by division": "SELECT 1/(position('a' in email) - 1) FROM users WHERE email = 'x'",
    "error by date": "SELECT to_date(email, 'YYYY') FROM users",
    "error by regexp": "SELECT 'x' ~ ('(' || email) FROM users",
    "error by cursor": "SELECT * FROM cursor_to_xml(CAST((SELECT email FROM users LIMIT 1)"
    " AS refcursor), 1, true, false, '')",
    "error by setting": "SELECT current_setting(email) FROM users",
    "error by privilege": "SELECT has_table_privilege(email, 'select') FROM users",
    "error by role": "SELECT has_table_privilege(email, 'users', 'select') FROM users",
    "error by sequence": "SELECT pg_get_serial_sequence(email, 'x') FROM users",
    "error by regtype": "SELECT email::regtype FROM users",
    "error by regrole": "SELECT email::regrole FROM users",
    "error by config": "SELECT to_tsvector(email::regconfig, 'x') FROM users",
    "error by nextval": "SELECT currval(email) FROM users",
    "error by encoding": "SELECT encode('x', email) FROM users",
    "error by zone": "SELECT now() AT TIME ZONE email FROM users",
    "error by set_config": "SELECT set_config(email, 'x', false) FROM users",
    "error by regclass": "SELECT email::regclass FROM users",
    "error by enum": "SELECT format('%Z' || email, 1) FROM users",
    "error by constraint": "INSERT INTO users (id, name, email) SELECT 1, 'x', email FROM users",
    "error by null": "INSERT INTO users (id, name, email) SELECT 99, NULL, email FROM users",
    "error by unique": "CREATE UNIQUE INDEX ON users ((length(email) > 0))",
    "error by check": "ALTER TABLE users ADD CHECK (email = 'x')",
    "error by raise": "DO $$ DECLARE e text; BEGIN SELECT email INTO e FROM users LIMIT 1;"
    " RAISE EXCEPTION '%', e; END $$",
    "error by hint": "DO $$ DECLARE e text; BEGIN SELECT email INTO e FROM users LIMIT 1;"
    " RAISE EXCEPTION 'x' USING HINT = e, DETAIL = e, TABLE = e; END $$",
    "error by sqlstate": "DO $$ DECLARE e text; BEGIN SELECT ssn INTO e FROM users LIMIT 1;"
    " RAISE EXCEPTION USING ERRCODE = '22012', MESSAGE = e; END $$",
    "notice": "DO $$ DECLARE e text; BEGIN SELECT email INTO e FROM users LIMIT 1;"
    " RAISE NOTICE '%', e; END $$",
    "warning": "DO $$ DECLARE e text; BEGIN SELECT ssn INTO e FROM users LIMIT 1;"
    " RAISE WARNING '%', e; END $$",
    "notify": "LISTEN x; SELECT pg_notify('x', email) FROM users",
    "notify by do": "LISTEN x; DO $$ DECLARE e text; BEGIN SELECT email INTO e FROM users LIMIT 1;"
    " PERFORM pg_notify('x', e); END $$",
    "copy": "COPY users (id, name, email, ssn) TO STDOUT",
    "copy query": "COPY (SELECT email FROM users) TO STDOUT",
    "copy csv": "COPY users (ssn, email) TO STDOUT WITH (FORMAT csv, DELIMITER 'a')",
    "copy binary": "COPY (SELECT ssn, email FROM users) TO STDOUT WITH (FORMAT binary)",
    "copy transformed": "COPY (SELECT reverse(email) FROM users) TO STDOUT",
    "parameter status": "SELECT set_config('application_name', email, false) FROM users",
    "parameter status by do": "DO $$ DECLARE e text; BEGIN SELECT email INTO e FROM users LIMIT 1;"
    " PERFORM set_config('application_name', e, false); END $$",
    "custom setting": "SELECT set_config('a.b', email, false) FROM users; SHOW a.b",
    "command tag": "SELECT 1 FROM users WHERE email = 'x'",
    "explain": "EXPLAIN (ANALYZE) SELECT * FROM users WHERE email = 'ada@' || 'example.com'",
    "statistics": "ANALYZE users; SELECT most_common_vals, histogram_bounds FROM pg_stats"
    " WHERE tablename = 'users'",
    "cursor": "BEGIN; DECLARE c CURSOR FOR SELECT email, ssn FROM users; FETCH ALL FROM c; COMMIT",
    "cursor later": "BEGIN; DECLARE c SCROLL CURSOR FOR SELECT ssn, email FROM users; MOVE 1 IN c;"
    " FETCH BACKWARD 1 FROM c; COMMIT",
    "prepared": "PREPARE exfil AS SELECT email FROM users; EXECUTE exfil; DEALLOCATE exfil",
    "view": "SELECT * FROM contacts",
    "view transformed": "SELECT * FROM shouted",
    "returning": "UPDATE users SET name = name RETURNING email, ssn",
    "cte": "WITH x AS (SELECT ssn AS name FROM users) SELECT name FROM x",
    "union": "SELECT name FROM users UNION ALL SELECT ssn FROM users",
    "renamed": "SELECT u.a FROM users AS u (x, y, a)",
    "whole row": "SELECT u FROM users u",
    "row to json": "SELECT row_to_json(u) FROM users u",
    "json agg": "SELECT json_agg(u) FROM users u",
    "xml": "SELECT table_to_xml('users', true, false, '')",
    "query to xml": "SELECT query_to_xml('SELECT email FROM users', true, false, '')",
    "lateral": "SELECT x FROM users u, LATERAL (SELECT u.ssn) s (x)",
    "values": "SELECT * FROM (VALUES ((SELECT ssn FROM users WHERE id = 1))) v",
    "temp table": "CREATE TEMP TABLE t AS SELECT email AS harmless FROM users; SELECT * FROM t",
    "temp table 2": "CREATE TEMP TABLE t2 (harmless text); INSERT INTO t2 SELECT ssn FROM users;"
    " TABLE t2",
    "temp view": "CREATE TEMP VIEW v AS SELECT email AS harmless FROM users; SELECT * FROM v",
    "large object": "SELECT lo_from_bytea(0, convert_to(ssn, 'UTF8')) FROM users",
    "array": "SELECT ARRAY(SELECT email FROM users)",
    "encode": "SELECT encode(email::bytea, 'hex') FROM users",
    "base64": "SELECT encode(email::bytea, 'base64') FROM users",
    "reverse": "SELECT reverse(ssn) FROM users",
    "bytea": "SELECT email::bytea FROM users",
    "overlay": "SELECT replace(ssn, '-', '') FROM users",
    "json values": "SELECT extra FROM users WHERE false",
}

# A copy of the data that a superuser makes is a table of its own, which the rules
# of this policy don't name; and data beside the column is not the column.
COPIES = {"temp table", "temp table 2"}


@pytest.mark.parametrize("name", [n for n in EXFIL if n not in COPIES])
@pytest.mark.parametrize("way", ["simple", "extended"])
def test_it_stays_hidden(masked: Stack, name: str, way: str) -> None:
    text = EXFIL[name]
    with enter(masked) as wire:
        if way == "simple":
            wire.ask(text)
        elif ";" in text.split("$$")[0]:
            pytest.skip("more than one statement can't be prepared")
        else:
            for form in (0, 1):
                wire.send(
                    parse("", text), bind("", "", results=(form,)), describe("P"), execute(), FLUSH
                )
                wire.send(SYNC)
                wire.until()
        time.sleep(0.01)
        wire.send(query("ROLLBACK"), query("SELECT 1"))
        wire.until()
        wire.until()
        hits = [h for h in leaks(wire.seen) if not (name == "explain" and h in EMAILS)]
        assert hits == [], bytes(wire.seen[-600:])


def test_the_oracle_sees(anything: Stack) -> None:
    """Without masks each way does show a value: the tests above can fail."""
    shown = []
    for name, text in EXFIL.items():
        with enter(anything) as wire:
            wire.ask(text)
            time.sleep(0.01)
            wire.send(query("ROLLBACK"), query("SELECT 1"))
            wire.until()
            wire.until()
            if leaks(wire.seen):
                shown.append(name)
    assert len(shown) >= 35, sorted(set(EXFIL) - set(shown))


def test_another_session_is_not_told_by_notify(masked: Stack) -> None:
    with enter(masked) as listener, enter(masked) as sender:
        listener.ask("LISTEN leak")
        sender.ask("SELECT pg_notify('leak', email) FROM users")
        sender.ask(
            "DO $$ DECLARE e text; BEGIN SELECT email INTO e FROM users LIMIT 1;"
            " PERFORM pg_notify('leak', e); END $$"
        )
        time.sleep(0.1)
        listener.ask("SELECT 1")
        assert leaks(listener.seen) == []
