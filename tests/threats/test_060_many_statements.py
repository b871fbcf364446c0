"""Row 60: every statement of a text is judged, however they are put together, and
a NUL inside of a text ends the session.

Goes red when ``judge`` looks at the first part only.
"""

from __future__ import annotations

import pytest
from stack import Stack
from wire import bind, enter, execute, frame, parse, query

JOINED = [
    "SELECT 1; DELETE FROM users",
    "SELECT 1;DELETE FROM users;",
    ";;;;DELETE FROM users",
    "/* x */ DELETE /* y */ FROM users",
    "/*/**/*/DELETE FROM users",
    "/* SELECT 1 /* nested */ still */ DELETE FROM users",
    "SELECT 1 -- \n; DELETE FROM users",
    "SELECT 1 -- \r; DELETE FROM users",
    "SELECT 1 --\x0b\n; DELETE FROM users",
    "SELECT 1 -- \u2028; DELETE FROM users\n; DELETE FROM users",
    "SELECT 1 -- x\r\nDELETE\r\n; DELETE FROM users",
    "SELECT 1\f;\x0bDELETE\tFROM users",
    'SELECT 1 AS ";"; DELETE FROM users',
    "SELECT $$;$$; DELETE FROM users",
    "SELECT ';'; DELETE FROM users",
    "SELECT E'\\';'; DELETE FROM users",
    "BEGIN; SELECT 1; DELETE FROM users; COMMIT",
    "SELECT 1 \\; DELETE FROM users",
    "DELETE FROM ONLY users",
    "DELETE FROM users*",
    "DELETE FROM users AS u USING orders o",
    'DELETE FROM "users"',
    'DELETE FROM U&"\\0075sers"',
    "DELETE\u00a0FROM users",
    "dElEtE fRoM public.users",
    "DELETE FROM users WHERE (SELECT 1)=1 RETURNING *; SELECT 1",
    "CREATE RULE r AS ON INSERT TO orders DO ALSO DELETE FROM users",
    "SELECT 1; " * 500 + "DELETE FROM users",
]


@pytest.mark.parametrize("text", JOINED, ids=range(len(JOINED)))
def test_each_statement_is_judged(readers: Stack, text: str) -> None:
    with enter(readers) as wire:
        answer = wire.ask(text)
        assert answer.code in ("42501", "42601"), answer
        assert answer.code == "42501" or not answer.tags
        assert not answer.rows, "nothing of a blocked text runs"
        wire.ask("ROLLBACK")
        answer = wire.say(parse("", text), bind("", ""), execute())
        assert answer.errors
        wire.ask("ROLLBACK")
        assert wire.ask("SELECT count(*) FROM users").rows == [[b"3"]]


@pytest.mark.parametrize(
    "raw",
    [
        frame("Q", b"SELECT 1\0; DELETE FROM users\0"),
        frame("Q", b"SELECT 1\0\0"),
        frame("Q", b"\0DELETE FROM users\0"),
        frame("P", b"\0SELECT 1\0DELETE FROM users\0\0\0"),
        frame("P", b"a\0b\0SELECT 1\0\0\0"),
    ],
)
def test_a_nul_ends_the_session(readers: Stack, raw: bytes) -> None:
    with enter(readers) as wire:
        answer = wire.send(raw, query("SELECT 'canary'")).rest()
        assert answer.errors[-1]["S"] == "FATAL"
        assert answer.rows == []


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1; SELEC 2; DELETE FROM users",
        "SELECT 1; SELECT '",
        "SELECT (((((",
        "DELETE FROM users WHERE id = ?",
        "\\d users",
        "SELECT 1; \x01 DELETE FROM users",
        "(" * 20_000,
        "SELECT " + "+" * 2000 + "1",
        "/*" * 2000 + "*/" * 2000 + "DELETE FROM users",
    ],
    ids=range(9),
)
def test_what_can_not_be_parsed_does_not_run(readers: Stack, text: str) -> None:
    with enter(readers) as wire:
        answer = wire.ask(text)
        assert answer.code == "42501", answer
        assert not answer.tags
        assert wire.ask("SELECT count(*) FROM users").rows == [[b"3"]]


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_nothing_is_allowed(readers: Stack, text: str) -> None:
    """Drivers ping with it."""
    with enter(readers) as wire:
        assert wire.ask(text).kinds == "IZ"
