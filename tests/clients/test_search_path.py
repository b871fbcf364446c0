"""What names without a schema mean is the gateway's to say."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from stack import Stack

from gateway.demo.postgres import Server

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("paths")]


def test_the_path_is_public_and_comes_back(pg: Server, tmp_path: Path) -> None:
    with psycopg.connect(pg.dsn(), autocommit=True) as direct:
        direct.execute("CREATE DATABASE paths")
    with psycopg.connect(pg.dsn("paths"), autocommit=True) as direct:
        direct.execute("CREATE SCHEMA postgres; CREATE TABLE postgres.which AS SELECT 'mine' AS w")
        direct.execute("CREATE TABLE public.which AS SELECT 'everyone''s' AS w")
        direct.execute("ALTER ROLE postgres IN DATABASE paths SET search_path = postgres")
    with Stack(tmp_path, pg) as gate, gate.connect("paths") as connection:
        for reset in ("SELECT 1", "RESET search_path", "RESET ALL", "DISCARD ALL"):
            connection.execute("SET search_path = postgres")
            assert connection.execute("SELECT w FROM which").fetchone() == ("mine",)
            if reset != "SELECT 1":
                connection.execute(reset, prepare=False)
                assert connection.execute("SHOW search_path").fetchone() == ("public",)
                assert connection.execute("SELECT w FROM which").fetchone() == ("everyone's",)


@pytest.mark.parametrize(("path", "shown"), [("pg_catalog, public", "pg_catalog, public"),
                                             ("", '"$user", public')])  # fmt: skip
def test_the_path_is_the_targets_and_doubted(
    pg: Server, tmp_path: Path, path: str, shown: str
) -> None:
    extra = f'[target.db.settings]\nsearch_path = "{path}"'
    with Stack(tmp_path, pg, extra=extra) as gate:
        with gate.connect("shop") as connection:
            assert connection.execute("SHOW search_path").fetchone() == (shown,)
        done = gate.gateway("check")
        assert "search_path is" in done.stderr
        assert done.returncode == 0, done.stderr
