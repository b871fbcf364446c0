"""Masks as real clients see them: nothing of a masked value may arrive, in any form."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Any

import asyncpg
import psycopg
import pytest
from stack import Stack

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("masks")]

POLICY = """
version = 1
default = "deny"

[[rule]]
id = "all"
on = "sql.*"
incomplete = true
verdict = "allow"

[[rule]]
id = "personal"
on = "sql.*"
verdict = "mask"
mask = [
    {{ columns = "*.email", with = "partial-email" }},
    {{ columns = "*.ssn", with = "keep-last", args = {{ n = 4 }} }},
    {{ columns = ["*.score", "*.born", "*.photo", "*.tags"], with = "redact" }},
    {{ columns = ["*.extra", "*.seen"], with = "redact" }},
]
unresolved = "{unresolved}"
detect = ["card", "ssn", "private-key"]
message = "personal data"
"""

CLEAR = (b"ada@example.com", b"grace@example.org", b"219-09-9999", b"078-05-1120", b"219-09")


@pytest.fixture(scope="module")
def masking(gateways: Callable[..., Stack]) -> Stack:
    return gateways(policy=POLICY.format(unresolved="mask"))


@pytest.fixture(scope="module")
def strict(gateways: Callable[..., Stack]) -> Stack:
    return gateways(policy=POLICY.format(unresolved="block"))


@pytest.fixture(autouse=True)
def _nothing_in_clear(request: pytest.FixtureRequest) -> Any:
    """Whatever a test does: what the witness saw leave holds no masked value."""
    yield
    for name in ("masking", "strict"):
        if name in request.fixturenames:
            stack = request.getfixturevalue(name)
            for wire in stack.client_tap.wires:
                for value in CLEAR:
                    # (What a client itself says comes back in no way either.)
                    assert value not in wire.to_client, (value, bytes(wire.to_client[-2000:]))


def shop(stack: Stack, *arguments: str, stdin: str | None = None) -> str:
    done = stack.psql("-d", "shop", *arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_by_origin(masking: Stack, direct: Any) -> None:
    out = shop(masking, "-c", "SELECT id, name, email, ssn FROM users ORDER BY id")
    rows = [line.split("|") for line in out.splitlines()]
    assert [row[:2] for row in rows] == [["1", "Ada"], ["2", "Grace"], ["3", "Nobody"]]
    assert rows[0][2].endswith("@example.com") or "*" in rows[0][2]
    assert rows[0][3].endswith("9999")
    assert "*" in rows[0][3]
    assert rows[2][2:] == ["", ""]  # NULL stays NULL
    assert direct.execute("SELECT email FROM users WHERE id = 1").fetchone() == ("ada@example.com",)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM users",
        "SELECT email AS name FROM users",
        "SELECT u.* FROM users u JOIN orders o ON o.user_id = u.id",
        "SELECT o.id, x.email FROM orders o, LATERAL (SELECT email FROM users LIMIT 1) x",
        "SELECT reach_at FROM contacts",
        "SELECT * FROM contacts",
        "SELECT * FROM shouted",
        "SELECT upper(email) || '' FROM users",
        "SELECT lower(upper(email)) FROM users",
        "SELECT array_agg(email) FROM users",
        "SELECT u FROM users u",
        "SELECT row_to_json(u) FROM users u",
        "SELECT json_agg(u) FROM users u",
        "SELECT (SELECT email FROM users WHERE id = 1)",
        "WITH w AS (SELECT email AS a FROM users) SELECT a FROM w",
        "SELECT email FROM users UNION ALL SELECT ssn FROM users",
        "SELECT CASE WHEN true THEN email END FROM users",
        "SELECT max(email), min(ssn) FROM users",
        "SELECT extra->>'mail' FROM users",
        "SELECT extra, tags, photo, born, score, seen FROM users",
        "SELECT string_agg(email, ',') OVER () FROM users",
        "TABLE users",
        "INSERT INTO users (id, name, email) SELECT 9, 'x', email FROM users WHERE id = 1"
        " RETURNING email",
        "UPDATE users SET name = name RETURNING *",
        "DELETE FROM users WHERE id = 9 RETURNING email",
        "EXPLAIN ANALYZE SELECT * FROM users WHERE email = 'x'",
        "SELECT most_common_vals::text, histogram_bounds::text FROM pg_stats",
    ],
)
def test_every_way_to_a_column(masking: Stack, sql: str) -> None:
    """By text and binary; the fixture looks at what arrived."""
    with masking.connect("shop") as c:
        for binary in (False, True):
            with c.transaction(force_rollback=True):
                assert c.execute(sql, binary=binary).fetchall() is not None


def test_expressions_where_the_rule_says_block(strict: Stack) -> None:
    with strict.connect("shop") as c:
        # Traced to its columns it is masked; where it can't be traced it is refused.
        assert "ADA@EXAMPLE.COM" not in str(c.execute("SELECT upper(email) FROM users").fetchall())
        assert c.execute("SELECT 1").fetchone() == (1,)
        assert c.execute("SELECT id, name FROM users WHERE id = 1").fetchone() == (1, "Ada")
        assert c.execute("SELECT email FROM users WHERE id = 3").fetchone() == (None,)
        assert c.execute("SELECT count(*) FROM users").fetchone() == (3,)


def test_binary_values_stay_decodable(masking: Stack) -> None:
    with masking.connect("shop") as c:
        row = c.execute("SELECT id, email, ssn FROM users WHERE id = 1", binary=True).fetchone()
    assert row[0] == 1
    assert isinstance(row[1], str)
    assert row[2].endswith("9999")


def test_asyncpg(masking: Stack) -> None:
    async def work() -> None:
        c = await asyncpg.connect(
            host="127.0.0.1", port=masking.port, user="agent", password=masking.token(),
            database="shop", ssl=False,
        )  # fmt: skip
        rows = await c.fetch("SELECT * FROM users ORDER BY id")
        assert [r["name"] for r in rows] == ["Ada", "Grace", "Nobody"]
        assert rows[0]["ssn"].endswith("9999")
        assert rows[0]["photo"] != b"\1\2"
        out = io.BytesIO()
        await c.copy_from_query("SELECT * FROM users", output=out, format="binary")
        assert out.getvalue().startswith(b"PGCOPY\n")
        async with c.transaction():
            seen = [r["email"] async for r in c.cursor("SELECT email FROM users", prefetch=1)]
        assert len(seen) == 3
        await c.close()

    asyncio.run(work())


@pytest.mark.parametrize("options", ["", "(FORMAT csv, HEADER)", "(FORMAT binary)"])
@pytest.mark.parametrize(
    "what", ["users", "users (id, email, ssn)", "(SELECT id, ssn, upper(email) FROM users)"]
)
def test_copy_out(masking: Stack, what: str, options: str) -> None:
    with masking.connect("shop") as c, c.cursor().copy(f"COPY {what} TO STDOUT {options}") as copy:
        whole = b"".join(bytes(piece) for piece in copy)
    assert b"ADA@EXAMPLE.COM" not in whole
    if "ssn" in what or what == "users":
        assert b"9999" in whole  # the last four, so something did arrive
    if "binary" not in options:
        assert whole.count(b"\n") >= 3


def test_cursors_and_fetch(masking: Stack) -> None:
    out = shop(
        masking,
        stdin="""
        BEGIN;
        DECLARE c CURSOR FOR SELECT email, ssn FROM users ORDER BY id;
        FETCH 1 FROM c;
        FETCH ALL FROM c;
        CLOSE c;
        COMMIT;
    """,
    )
    assert "9999" in out
    out = shop(masking, "-v", "FETCH_COUNT=1", "-c", "SELECT email, ssn FROM users ORDER BY id")
    assert "9999" in out


def test_prepared_in_sql(masking: Stack) -> None:
    out = shop(masking, stdin="PREPARE p AS SELECT ssn, email FROM users ORDER BY id; EXECUTE p;\n")
    assert "9999" in out


def test_errors_that_would_quote_a_value(masking: Stack) -> None:
    with masking.connect("shop") as c:
        for sql in (
            "SELECT email::int FROM users",
            "SELECT (ssn || 'x')::numeric FROM users",
            "DO $$ DECLARE e text; BEGIN SELECT email INTO e FROM users WHERE id = 1;"
            " RAISE EXCEPTION 'it is %', e; END $$",
        ):
            with pytest.raises(psycopg.Error):
                c.execute(sql).fetchall()
        c.execute(
            "DO $$ DECLARE e text; BEGIN SELECT email INTO e FROM users WHERE id = 1;"
            " RAISE NOTICE 'it is %', e; END $$"
        )
        assert c.execute("SELECT 1").fetchone() == (1,)


def test_notifications(masking: Stack) -> None:
    with masking.connect("shop") as listener:
        listener.execute("LISTEN leak")
        with masking.connect("shop") as speaker:
            speaker.execute("SELECT pg_notify('leak', email) FROM users WHERE id = 1")
        heard = list(listener.notifies(timeout=2, stop_after=1))
        assert len(heard) == 1


def test_detectors(masking: Stack, direct: Any) -> None:
    """A number that looks like a card, in whatever column it is."""
    card = "4111" + "1111" + "1111" + "1111"
    with masking.connect("shop") as c:
        direct.execute("CREATE TABLE IF NOT EXISTS notes (t text)")
        c.execute("INSERT INTO notes VALUES ('4111-'||'1111-'||'1111-'||'1111'), ('plain')")
        c.execute("INSERT INTO notes VALUES (repeat('41', 1) || repeat('1', 14))")
        got = [r[0] for r in c.execute("SELECT t FROM notes").fetchall()]
    assert "plain" in got
    assert not any(card in text.replace("-", "") for text in got), got


def test_the_gateways_own_secret_is_never_seen(masking: Stack, open_gate: Stack) -> None:
    secret = masking.server.password
    for stack in (masking, open_gate):
        with stack.connect("shop") as c:
            for sql, parameters in (
                (f"SELECT '{secret}'", None),
                ("SELECT 'a' || %s || 'b'", (secret,)),
                (f"SELECT E'x{secret}x' AS \"{secret}\"", None),
            ):
                for binary in (False, True):
                    cursor = c.execute(sql, parameters, binary=binary)
                    got = str(cursor.fetchone()[0])
                    assert secret not in got
                    assert "*" in got
            with c.cursor().copy(f"COPY (SELECT '{secret}') TO STDOUT") as copy:
                assert secret.encode() not in b"".join(bytes(p) for p in copy)
            with pytest.raises(psycopg.Error):  # the server quotes it, the client too
                c.execute(f"SELECT '{secret}'::int")
        for wire in stack.client_tap.wires:  # type: ignore[attr-defined]
            assert secret.encode() not in wire.to_client


def test_what_was_masked_is_on_record(masking: Stack) -> None:
    with masking.connect("shop") as c:
        c.execute("SELECT email FROM users").fetchall()
    session = masking.sessions()[-1]["session"]
    events = masking.events(session)
    plan = next(e["fields"] for e in events if e["event"] == "plan")
    assert plan["masks"] == [["email", "partial-email", "personal"]]
    command = next(e for e in events if e["event"] == "command")
    assert command["verdict"] == "mask"
    client = masking.recorder("cat", session, "--leg", "client", "--side", "out", text=False)
    assert b"ada@" not in client.stdout
    upstream = masking.recorder("cat", session, "--leg", "upstream", "--side", "in", text=False)
    assert upstream.returncode == 3  # the originals are withheld, and it says so
    assert b"ada@example.com" not in upstream.stdout
