"""Row 57: the gateway and the server must read the same text. So the two settings
that the server's lexer depends on are forced, and no statement changes them.

Goes red without ``LEXER_GUARD`` (``Intent.guarded``).
"""

from __future__ import annotations

import pytest
from stack import Stack
from wire import Answer, bind, enter, execute, parse, query

STATEMENTS = [
    "SET client_encoding = 'SJIS'",
    "SET client_encoding TO sjis",
    "SET CLIENT_ENCODING = 'BIG5'",
    "SET NAMES 'SJIS'",
    "SET LOCAL client_encoding = 'GBK'",
    "SET SESSION client_encoding = 'GBK'",
    "SET standard_conforming_strings = off",
    "SET standard_conforming_strings = 'of'",
    "SET standard_conforming_strings TO DEFAULT; SET standard_conforming_strings TO 0",
    "RESET client_encoding",
    "RESET ALL",
    "DISCARD ALL; SET standard_conforming_strings = off",
    "SELECT set_config('client_encoding', 'SJIS', false)",
    "SELECT set_config('standard_' || 'conforming_strings', 'off', false)",
    "SELECT pg_catalog.set_config('Standard_Conforming_Strings', 'off', true)",
    "SELECT set_config(name, 'off', false) FROM pg_settings"
    " WHERE name = 'standard_conforming_strings'",
    "UPDATE pg_settings SET setting = 'off' WHERE name = 'standard_conforming_strings'",
    "WITH x AS (SELECT set_config('client_encoding', 'SJIS', false)) SELECT * FROM x",
    "BEGIN; SET client_encoding = 'SJIS'",
    "SELECT 1; SET standard_conforming_strings = off; SELECT 2",
    "ALTER ROLE postgres SET standard_conforming_strings = off",
    "ALTER ROLE ALL SET client_encoding = 'SJIS'",
    "ALTER DATABASE shop SET standard_conforming_strings = off",
    "ALTER SYSTEM SET standard_conforming_strings = off",
    "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql"
    " SET standard_conforming_strings = off AS 'SELECT 1'",
    "PREPARE x AS UPDATE pg_settings SET setting = 'off'",
]


def lexer(wire: object) -> list[list[bytes | None]]:
    return wire.ask(  # type: ignore[attr-defined]
        "SELECT current_setting('client_encoding'), current_setting('standard_conforming_strings')"
    ).rows


@pytest.mark.parametrize("text", STATEMENTS)
def test_the_lexer_settings_stay(anything: Stack, text: str) -> None:
    """Under a policy that allows everything, and as a superuser."""
    with enter(anything) as wire:
        simple = wire.ask(text)
        if simple.status == "E":
            wire.ask("ROLLBACK")
        assert lexer(wire) == [[b"UTF8", b"on"]], text
        if ";" not in text:
            wire.say(parse("", text), bind("", ""), execute())
            assert lexer(wire) == [[b"UTF8", b"on"]], text
    with enter(anything) as wire:
        assert lexer(wire) == [[b"UTF8", b"on"]], "and for the next session"


def test_a_statement_that_says_so_is_refused_with_a_reason(anything: Stack) -> None:
    with enter(anything) as wire:
        answer = wire.ask("SET client_encoding = 'SJIS'")
        assert answer.code == "42501"
        assert "lexer-guard" in str(answer.error)
        assert answer.status == "I"


@pytest.mark.parametrize(
    "text",
    [
        "DO $$ BEGIN PERFORM set_config('standard_conforming_strings', 'off', false); END $$",
        "DO $$ BEGIN EXECUTE 'SET client_encoding = ''SJIS'''; END $$",
        "DO $$ BEGIN SET standard_conforming_strings = off; END $$",
        "CREATE OR REPLACE FUNCTION pg_temp.evil() RETURNS text LANGUAGE sql AS"
        " $$ SELECT set_config('standard_conforming_strings', 'off', false) $$;"
        "SELECT pg_temp.evil()",
        "CREATE OR REPLACE PROCEDURE pg_temp.evil() LANGUAGE sql AS"
        " $$ SELECT set_config('client_encoding', 'SJIS', false) $$;CALL pg_temp.evil()",
    ],
)
@pytest.mark.parametrize("pipelined", [False, True], ids=["waits", "pipelined"])
def test_code_that_changes_the_lexer_costs_the_session(
    anything: Stack, text: str, pipelined: bool
) -> None:
    """What runs inside of the server can't be read beforehand (nor could what it
    did be undone); the server's own ParameterStatus tells on it, and the session
    ends before another statement is read under the wrong lexer."""
    with enter(anything) as wire:
        wire.ask("CREATE TABLE IF NOT EXISTS lexer_victims (id int)")
        wire.ask("TRUNCATE lexer_victims; INSERT INTO lexer_victims VALUES (1), (2)")
        wire.send(query(text))
        answer = Answer() if pipelined else wire.until("EZ")
        # One string to the gateway; a string and a DELETE without the setting.
        wire.send(query(r"SELECT 'a\''; DELETE FROM lexer_victims; --'"))
        answer += wire.rest()
        assert wire.ended
        assert answer.errors[-1]["S"] == "FATAL", answer
    with enter(anything) as wire:
        assert wire.ask("SELECT count(*) FROM lexer_victims").rows == [[b"2"]]


@pytest.mark.parametrize(
    "text",
    [
        b"SELECT '\x95\\'; DELETE FROM users; --'",
        b"SELECT '\xff'",
        b"SELECT '\xed\xa0\x80'",
        b"SELECT '\xc0\xa7; DELETE FROM users --'",
        b"SELECT '\xf8\x88\x80\x80\x80'",
        b"SELECT '\xc2'; DELETE FROM users --'",
    ],
)
def test_what_is_not_utf8_is_not_guessed_at(readers: Stack, text: bytes) -> None:
    with enter(readers) as wire:
        answer = wire.ask(text)
        assert answer.code == "42501", answer
        assert wire.ask("SELECT count(*) FROM users").rows == [[b"3"]]


SAME = [
    (r"SELECT 'a\'", rb"a\ "[:2]),
    (r"SELECT E'a\'; DELETE FROM users; --'", b"a'; DELETE FROM users; --"),
    (r"SELECT U&'\0061'", b"a"),
    ("SELECT U&'!0061' UESCAPE '!'", b"a"),
    ("SELECT 'a'\n'b'", b"ab"),
    ("SELECT $a$'; DELETE FROM users; --$a$", b"'; DELETE FROM users; --"),
    ("SELECT '/*' /* ' /* nested */ */", b"/*"),
    ("SELECT 'x' -- '; DELETE FROM users;\n", b"x"),
    ("SELECT 'x' -- a\r, 'y'", b"x"),
]


@pytest.mark.parametrize(("text", "value"), SAME)
def test_both_read_the_same(readers: Stack, text: str, value: bytes) -> None:
    with enter(readers) as wire:
        answer = wire.ask(text)
        assert answer.errors == []
        assert answer.rows[0][0] == value
        assert wire.ask("SELECT count(*) FROM users").rows == [[b"3"]]
