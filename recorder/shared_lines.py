"""Lines that several gateways share and that are only ever added to, in a schema of their own
on PostgreSQL: legal holds. Reading and adding fail clearly where it is out of reach."""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from recorder.database_words import told

NAME = "wirewarden_holds_1"
_LOCK = 0x57574844
_TABLES = (
    f"create schema {NAME}",
    f"create table {NAME}.line (number bigint generated always as identity primary key,"
    " at timestamptz not null default clock_timestamp(), text text not null)",
    f"create function {NAME}.refused() returns trigger language plpgsql as"
    " $$ begin raise exception 'lines are append-only' using errcode ="
    " 'integrity_constraint_violation'; end $$",
    f"create trigger kept before update or delete on {NAME}.line"
    f" for each row execute function {NAME}.refused()",
    f"create trigger whole before truncate on {NAME}.line execute function {NAME}.refused()",
)
_open: dict[str, SharedLines] = {}


class SharedLinesError(Exception):
    """The database can't be asked."""


class SharedLines:
    """The lines at ``url``. Raises ``SharedLinesError``."""

    def __init__(self, url: str) -> None:
        self.url = url
        with _told():
            self._db = psycopg.connect(
                url, autocommit=True, connect_timeout=10, application_name="wirewarden"
            )
            self._db.execute("set lock_timeout = '60s'")
            self._db.execute("set statement_timeout = '90s'")
            there = "select 1 from pg_namespace where nspname = %s"
            if self._db.execute(there, [NAME]).fetchone() is None:
                with self._db.transaction():
                    # Two may come at once; whoever waits finds it made.
                    self._db.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
                    if self._db.execute(there, [NAME]).fetchone() is None:
                        for statement in _TABLES:
                            self._db.execute(statement.encode())

    @property
    def lost(self) -> bool:
        """Whether another connection is needed."""
        return self._db.closed or self._db.broken

    def lines(self) -> list[str]:
        """All of them, oldest first."""
        with _told():
            sql = f"select text from {NAME}.line order by number"
            return [str(row[0]) for row in self._db.execute(sql.encode())]

    def add(self, line: str) -> None:
        """One more, durably."""
        with _told(), self._db.transaction():
            self._db.execute("set local synchronous_commit to on")
            self._db.execute(f"insert into {NAME}.line (text) values (%s)".encode(), [line])

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else is in here meanwhile."""
        with _told():
            self._db.execute("select pg_advisory_lock(%s, 1)", [_LOCK])
        try:
            yield
        finally:
            # Without the connection the lock is gone, and what was done under it must be told.
            with _told():
                self._db.execute("select pg_advisory_unlock(%s, 1)", [_LOCK])

    def close(self) -> None:
        self._db.close()


def shared_lines(url: str) -> SharedLines:
    """One connection for each URL, made anew where it broke."""
    found = _open.get(url)
    if found is None or found.lost:
        if found is None and not _open:
            atexit.register(forget)
        found = _open[url] = SharedLines(url)
    return found


def forget() -> None:
    """Close all connections."""
    while _open:
        _open.popitem()[1].close()


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise SharedLinesError(told(error)) from None
