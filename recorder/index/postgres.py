"""The index on PostgreSQL, for several gateways that share one. What the tables are in
SQLite they are here, in a schema of their own; text is narrowed by a GIN index over numbers
of groups of three characters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from zlib import crc32

import psycopg

from recorder.database_words import told
from recorder.index.database import SCHEMA, DatabaseTrouble, Row

_LOCK = 0x57697265
"""Of all who add to an index: ids are given out by looking which are free."""
_ROWS = 500
_NAME = f"wirewarden_index_{SCHEMA}"
_TABLES = f"""
create schema {_NAME};
set search_path to {_NAME};
create table day (home text not null, day text not null, mtime bigint not null,
    primary key (home, day));
create table session (id bigint primary key, home text not null, name text collate "C" not null,
    place text not null, day text not null, inode bigint not null, size bigint not null,
    mtime bigint not null, body bytea not null, unique (home, place));
create index session_day on session (home, day);
create index session_name on session (name);
create table word (id bigint generated always as identity primary key, kind text not null,
    value text collate "C" not null);
create index word_value on word using hash (value);
create table mark (word bigint not null, session bigint not null, primary key (word, session));
create index mark_session on mark (session);
create table page (id bigint primary key, session bigint not null, first bigint not null,
    verdicts bigint not null, body bytea not null);
create index page_session on page (session, id);
create table gram (id bigint primary key, grams integer[] not null);
create index gram_grams on gram using gin (grams) with (fastupdate = off);
"""


def numbers(grams: Iterable[str]) -> list[int]:
    """Groups of characters as signed 32-bit numbers. Two may share one: that only adds."""
    return sorted({crc32(gram.encode("utf-8", "replace")) - (1 << 31) for gram in grams})


class PostgresDatabase:
    """See ``Database``. ``url`` is libpq's; the tables are made if they are not there."""

    def __init__(self, url: str) -> None:
        with _told():
            self._db = psycopg.connect(url, connect_timeout=10, application_name="wirewarden")
        try:
            with _told():
                if not self._there():
                    # Two may come at once; whoever waits finds it made.
                    self._db.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
                    if not self._there():
                        for statement in _TABLES.split(";\n"):
                            if statement.strip():
                                self._db.execute(statement.encode())
                    self._db.commit()
                self._db.execute(f"set search_path to {_NAME}".encode())
                self._db.execute("set jit to off")  # what it compiles runs for less time
                self._db.commit()
        except BaseException:
            self._db.close()
            raise

    def _there(self) -> bool:
        sql = "select 1 from pg_namespace where nspname = %s"
        return self._db.execute(sql, [_NAME]).fetchone() is not None

    def rows(self, sql: str, arguments: Sequence[object] = ()) -> Iterator[Row]:
        """See ``Database``. Those of an ordered query come in lots."""
        with _told():
            query = sql.replace("?", "%s").encode()
            if not sql.endswith((" asc", " desc")):
                yield from self._db.execute(query, arguments).fetchall()
                return
            self._cursors += 1
            with self._db.cursor(f"rows_{self._cursors}") as cursor:
                cursor.execute(query, arguments)
                while some := cursor.fetchmany(_ROWS):
                    yield from some

    _cursors = 0

    def run(self, sql: str, arguments: Iterable[Sequence[object]]) -> None:
        """See ``Database``."""
        with _told(), self._db.cursor() as cursor:
            cursor.executemany(sql.replace("?", "%s").encode(), [*arguments])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """See ``Database``."""
        with _told():
            self._db.rollback()  # the end of what was only reading
            try:
                self._db.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
                yield
                self._db.commit()
            except BaseException:
                self._db.rollback()
                raise

    def put_text(self, page: int, text: str) -> None:
        """See ``Database``."""
        every = numbers(text[at : at + 3] for at in range(len(text) - 2))
        self.run("insert into gram (id, grams) values (?, ?)", [(page, every)])

    def drop_text(self, page: int, text: Callable[[], str]) -> None:
        """See ``Database``."""
        self.run("delete from gram where id = ?", [(page,)])

    def text_source(self, grams: Sequence[Sequence[str]]) -> tuple[str, str, list[object]]:
        """See ``Database``."""
        either = " or ".join(["grams @> ?::integer[]"] * len(grams))
        return f"(select id from gram where {either}) g", "", [numbers(every) for every in grams]

    def empty(self) -> None:
        """See ``Database``."""
        with self.transaction(), _told():
            self._db.execute("truncate day, session, word, mark, page, gram")

    def size(self) -> int:
        """See ``Database``."""
        sql = "select sum(pg_total_relation_size(oid)) from pg_class where relnamespace = "
        sql += "?::regnamespace and relkind = 'r'"
        return int(next(self.rows(sql, [_NAME]))[0])

    def close(self) -> None:
        """See ``Database``."""
        self._db.close()


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise DatabaseTrouble(f"the index's database: {told(error)}") from None
