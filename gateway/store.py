"""A small SQLite store that several processes share: workers and commands.

WAL with ``synchronous=FULL``: what was committed survives a power cut.  Files
are 0600.  One ``Store`` may be used from several threads; its calls take turns.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

Row: TypeAlias = "tuple[Any, ...]"
Rows: TypeAlias = "list[tuple[Any, ...]]"

BUSY_SECONDS = 10.0
"""How long a call waits for another process' transaction."""


class StoreError(Exception):
    """The store can't be read or written: locked too long, full disk, damaged,
    made by another version. Nothing was changed by the call that raised it."""


class Store:
    """An open store.

    ``schema`` is run once, when the file is new; ``version`` is kept in it,
    and a file with another version is refused.  ``StoreError`` on anything
    that goes wrong.
    """

    def __init__(self, path: Path, schema: str, version: int) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._commits = 0
        self._db: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Several processes may start on a new file at once, and switching
            # to WAL waits for no lock by itself. This lock is a file of its own:
            # closing a descriptor of the database would drop SQLite's locks.
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            guard = os.open(path.with_name(path.name + ".lock"), flags, 0o600)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from error
        try:
            fcntl.flock(guard, fcntl.LOCK_EX)
            _make_private(path)
            self._db = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._set_up(self._db, schema, version)
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise StoreError(f"{path}: {error}") from error
        except BaseException:
            self.close()
            raise
        finally:
            os.close(guard)

    def _set_up(self, db: sqlite3.Connection, schema: str, version: int) -> None:
        db.execute("pragma journal_mode = wal")
        db.execute("pragma synchronous = full")
        # What a process wrote whose fsync failed is in the log and may not be on the disk,
        # and the next fsync would say that it is: begin a new log. (Not while others
        # are at it: then it is theirs.)
        with suppress(sqlite3.OperationalError):
            db.execute("pragma wal_checkpoint(truncate)").fetchone()
        db.execute("pragma foreign_keys = on")
        db.execute("pragma trusted_schema = off")
        (found,) = db.execute("pragma user_version").fetchone()
        if found == 0:
            db.executescript(f"begin immediate; {schema}; pragma user_version = {version}; commit")
        elif found != version:
            raise StoreError(f"{self.path} has schema {found}; this version needs {version}")

    @property
    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            raise StoreError(f"{self.path} is closed")
        return self._db

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """The connection, inside ``BEGIN IMMEDIATE``: no other process writes
        meanwhile. Commits at the end, rolls back on any exception."""
        with self._lock:
            db = self._open
            try:
                db.execute("begin immediate")
                try:
                    yield db
                    db.execute("commit")
                    self._commits += 1
                except BaseException:
                    if db.in_transaction:
                        db.execute("rollback")
                    raise
            except sqlite3.Error as error:
                raise StoreError(f"{self.path}: {error}") from error

    def read(self, sql: str, arguments: Sequence[object] = ()) -> Rows:
        """All rows of one query."""
        with self._lock:
            try:
                return self._open.execute(sql, arguments).fetchall()
            except sqlite3.Error as error:
                raise StoreError(f"{self.path}: {error}") from error

    def data_version(self) -> int:
        """A number that grows whenever this or any process has committed
        since the last call. Costs microseconds: fit for polling."""
        with self._lock:
            # SQLite's own counts the commits of other connections only.
            (others,) = self.read("pragma data_version")[0]
            return int(others) + self._commits

    def close(self) -> None:
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None


def _make_private(path: Path) -> None:
    """Create the file if need be; its mode is 0600 either way. SQLite gives
    the same mode to the -wal and -shm files beside it."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode):
            raise StoreError(f"{path} is not a regular file") from None
        if stat.S_IMODE(found.st_mode) != 0o600:
            os.chmod(path, 0o600)
