"""Row 65: a function of the same name in another schema must not run in place of
the one that a rule means.

Names are resolved as the session began (``search_path`` is fixed, and a client
under a policy may change neither it nor the functions). What others have put
beside a builtin (``public.lower(varchar)`` is a better match than
``pg_catalog.lower(text)``, CVE-2018-1058) is told by the catalog only. Goes red
when ``search_path`` counts as a mild setting.
"""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from stack import Stack
from wire import Wire, bind, enter, execute, parse, startup

from gateway.demo.postgres import Server

SHADOWS = """
DROP TABLE IF EXISTS shadowed; DROP FUNCTION IF EXISTS public.lower(varchar);
DROP SCHEMA IF EXISTS evil CASCADE; CREATE SCHEMA evil;
CREATE TABLE shadowed (id int, name varchar(20)); INSERT INTO shadowed VALUES (1, 'X');
CREATE FUNCTION public.lower(varchar) RETURNS text LANGUAGE plpgsql
  AS 'BEGIN DELETE FROM shadowed; RETURN ''shadow''; END';
CREATE FUNCTION evil.upper(text) RETURNS text LANGUAGE plpgsql
  AS 'BEGIN DELETE FROM shadowed; RETURN ''shadow''; END';
CREATE TABLE evil.shadowed (id int, name varchar(20));
"""


@pytest.fixture
def shadows(pg: Server) -> object:
    with psycopg.connect(pg.dsn("shop"), autocommit=True) as connection:
        connection.execute(SHADOWS.encode())
        yield connection
        connection.execute("DROP FUNCTION public.lower(varchar)")
        connection.execute("DROP SCHEMA evil CASCADE")
        connection.execute("DROP TABLE shadowed")


@pytest.mark.parametrize(
    "text",
    [
        "CREATE FUNCTION public.lower(text) RETURNS text LANGUAGE sql AS 'SELECT 1'",
        "CREATE OR REPLACE FUNCTION pg_temp.lower(text) RETURNS text LANGUAGE sql AS 'SELECT 1'",
        "CREATE OPERATOR public.= (LEFTARG = int, RIGHTARG = int, FUNCTION = int4ne)",
        "CREATE TEMP TABLE users (id int)",
        "CREATE TEMP VIEW users AS SELECT 1",
        "SELECT * INTO TEMP users FROM orders",
        "CREATE CAST (text AS int) WITH INOUT",
        "CREATE DOMAIN public.int4 AS text",
        "SET search_path = evil, pg_catalog",
        "SET search_path TO DEFAULT",
        "SET LOCAL search_path = evil",
        "SET SCHEMA 'evil'",
        "SELECT set_config('search_path', 'evil, pg_catalog', false)",
        "SELECT set_config('search_path', name, false) FROM shadowed",
        "ALTER ROLE postgres SET search_path = evil, pg_catalog",
        "ALTER DATABASE shop SET search_path = evil, pg_catalog",
        "RESET search_path",
        "SET ROLE evil",
        "ALTER FUNCTION evil.upper(text) SET SCHEMA public",
        "SELECT evil.upper('x')",
        "SELECT * FROM evil.upper('x')",
        "SELECT OPERATOR(evil.+) 1",
    ],
)
def test_a_reader_can_not_prepare_the_ground(readers: Stack, shadows: object, text: str) -> None:
    with enter(readers) as wire:
        assert wire.ask(text).code == "42501"
        assert wire.say(parse("", text), bind("", ""), execute()).code == "42501"
        assert wire.ask("SELECT count(*) FROM shadowed").rows == [[b"1"]]


def test_the_search_path_is_the_gateways(readers: Stack, shadows: object) -> None:
    """Whatever role or database say."""
    shadows.execute("ALTER ROLE postgres SET search_path = evil, pg_catalog")  # type: ignore[attr-defined]
    try:
        with enter(readers) as wire:
            assert wire.ask("SHOW search_path").rows == [[b"public"]]
            assert wire.ask("SELECT upper('x'), count(*) FROM shadowed").rows == [[b"X", b"1"]]
        with Wire(readers.port) as wire:
            wire.send(startup({"user": "a", "database": "shop", "search_path": "evil"}))
            assert wire.rest().code == "42501"
    finally:
        shadows.execute("ALTER ROLE postgres RESET search_path")  # type: ignore[attr-defined]


def test_a_better_match_beside_a_builtin(
    started: Callable[..., Stack], pg: Server, readers: Stack, shadows: object
) -> None:
    """On a gateway that has not asked the catalog yet: what others define there
    while it runs is learnt within a minute."""
    with enter(started(pg, policy=readers.policy_file.read_text())) as wire:
        answer = wire.ask("SELECT lower(name) FROM shadowed")
        assert answer.code == "42501" or answer.rows == [[b"x"]]
        assert wire.ask("SELECT count(*) FROM shadowed").rows == [[b"1"]]
