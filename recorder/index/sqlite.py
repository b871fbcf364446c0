"""The index in a file of SQLite: WAL, and FTS5 for text.

What is committed may be lost with the power (``synchronous=normal``): it is a cache.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from recorder.index.database import SCHEMA, DatabaseTrouble, Row

BUSY_SECONDS = 30.0
_TABLES = """
create table day (home text not null, day text not null, mtime integer not null,
    primary key (home, day)) without rowid;
create table session (id integer primary key, home text not null, name text not null,
    place text not null, day text not null, inode integer not null, size integer not null,
    mtime integer not null, body blob not null);
create unique index session_place on session (home, place);
create index session_day on session (home, day);
create index session_name on session (name);
create table word (id integer primary key, kind text not null, value text not null,
    unique (kind, value));
create table mark (word integer not null, session integer not null,
    primary key (word, session)) without rowid;
create index mark_session on mark (session);
create table page (id integer primary key, session integer not null,
    first integer not null, verdicts integer not null, body blob not null);
create index page_session on page (session, id, verdicts);
create virtual table gram using fts5(text, content='', columnsize=0, detail=none,
    tokenize='trigram case_sensitive 1');
"""


class SqliteDatabase:
    """See ``Database``. Made if it is not there; of mode 0600."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise DatabaseTrouble(f"{path}: {error}") from None
        try:
            with self._told():
                for pragma in ("journal_mode=wal", "synchronous=normal", "trusted_schema=off",
                               "cell_size_check=on", "mmap_size=268435456"):  # fmt: skip
                    self._db.execute(f"pragma {pragma}")
                (found,) = self._db.execute("pragma user_version").fetchone()
                if not found:
                    with self.transaction():
                        (found,) = self._db.execute("pragma user_version").fetchone()
                        if not found:
                            for statement in _TABLES.split(";\n"):
                                self._db.execute(statement)
                            self._db.execute(f"pragma user_version = {SCHEMA}")
                            found = SCHEMA
            if found != SCHEMA:
                raise DatabaseTrouble(f"{path} is of version {found}, not {SCHEMA}", damaged=True)
        except BaseException:
            self._db.close()
            raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            # Busy, full, read-only. Missing tables are damage.
            bad = "no such" in str(error) or "malformed" in str(error)
            raise DatabaseTrouble(f"{self.path}: {error}", damaged=bad) from None
        except sqlite3.Error as error:
            raise DatabaseTrouble(f"{self.path}: {error}", damaged=True) from None

    def rows(self, sql: str, arguments: Sequence[object] = ()) -> Iterator[Row]:
        """See ``Database``."""
        with self._told():
            # Not ``yield from``: it would close the cursor, perhaps after the database.
            for row in self._db.execute(sql, arguments):  # noqa: UP028
                yield row

    def run(self, sql: str, arguments: Iterable[Sequence[object]]) -> None:
        """See ``Database``."""
        with self._told():
            self._db.executemany(sql, arguments)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """See ``Database``."""
        with self._told():
            self._db.execute("begin immediate")
            try:
                yield
                self._db.execute("commit")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("rollback")
                raise

    def put_text(self, page: int, text: str) -> None:
        """See ``Database``."""
        with self._told():
            self._db.execute("insert into gram(rowid, text) values (?, ?)", (page, text))

    def drop_text(self, page: int, text: Callable[[], str]) -> None:
        """See ``Database``."""
        with self._told():
            sql = "insert into gram(gram, rowid, text) values ('delete', ?, ?)"
            self._db.execute(sql, (page, text()))

    def text_source(self, grams: Sequence[Sequence[str]]) -> tuple[str, str, list[object]]:
        """See ``Database``."""
        source = "(select rowid as id from gram where gram match ?) g"
        return (
            source,
            "",
            [" OR ".join(f"({' AND '.join(map(_quoted, every))})" for every in grams)],
        )

    def empty(self) -> None:
        """See ``Database``."""
        with self._told():
            for table in ("day", "session", "word", "mark", "page"):
                self._db.execute(f"delete from {table}")
            self._db.execute("insert into gram(gram) values ('delete-all')")

    def size(self) -> int:
        """See ``Database``."""
        with self._told():
            (pages,) = self._db.execute("pragma page_count").fetchone()
            (size,) = self._db.execute("pragma page_size").fetchone()
            return int(pages) * int(size)

    def close(self) -> None:
        """See ``Database``."""
        self._db.close()


def _quoted(gram: str) -> str:
    return '"' + gram.replace('"', '""') + '"'
