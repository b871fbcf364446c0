"""Approvals on PostgreSQL, for several gateways that share one list.

The rules are those of ``Approvals``; here are its tables, in a schema of their
own, and how a database on the network is spoken to: one connection per process,
made anew where it broke, on which writers take turns by an advisory lock and
hear of each other by NOTIFY.  Its clock is the one that counts, so gateways
whose clocks differ agree on what has expired.  While it can't be reached every
call fails, quickly.  Needs a session of its own: no pooler that shares
connections between transactions.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256

import psycopg

from gateway.approval_rows import SCHEMA_VERSION
from gateway.approval_store import check_instance
from gateway.store import Row, Rows, StoreError
from recorder.database_words import told

NAME = f"wirewarden_approvals_{SCHEMA_VERSION}"
CONNECT_SECONDS = 5
GRACE_SECONDS = 5.0
"""A gateway whose connection is gone this long is gone: it makes a new one at once."""
_LOCK = 0x57574150
_AGAIN_SECONDS = 1.0
_SESSION = (
    "set lock_timeout = '5s'",
    "set statement_timeout = '10s'",
    # A writer that hangs, or is cut off, must not keep the others waiting.
    "set idle_in_transaction_session_timeout = '10s'",
    "set tcp_keepalives_idle = 10",
    "set tcp_keepalives_interval = 5",
    "set tcp_keepalives_count = 3",
    # What was used once must stay used, also where the server may forget its last moments.
    "select set_config('synchronous_commit', 'on', false)"
    " where current_setting('synchronous_commit') in ('off', 'local')",
    f"set search_path to {NAME}",
    f"listen {NAME}",
)
SCHEMA = f"""
create schema {NAME};
set local search_path to {NAME};
create table approval (
    number bigint generated always as identity primary key,
    session text not null, run text not null,
    subject text not null, issuer text not null, groups text not null, actors text not null,
    target text not null, protocol text not null,
    digest text not null, text bytea not null, parameters text not null,
    needs text not null, rules text not null, reason text not null, policy text not null,
    created double precision not null, expires double precision not null, instance text not null,
    state text not null default 'pending' check (state in
        ('pending', 'approved', 'consumed', 'denied', 'expired', 'withdrawn')),
    ended double precision, why text not null default ''
);
create index approval_open on approval (expires) where state in ('pending', 'approved');
create table decision (
    number bigint generated always as identity primary key,
    approval bigint not null references approval (number),
    at double precision not null, subject text not null, issuer text not null,
    groups text not null, approve integer not null check (approve in (0, 1)), reason text not null,
    unique (approval, issuer, subject)
);
create table step (
    number bigint generated always as identity primary key,
    approval bigint not null references approval (number),
    at double precision not null, state text not null, why text not null
);
create function refused() returns trigger language plpgsql as
    $$ begin raise exception '% of % is append-only', tg_op, tg_table_name
    using errcode = 'integrity_constraint_violation'; end $$;
create function in_order() returns trigger language plpgsql as
    $$ declare was {NAME}.approval := old; begin
    was.state := new.state; was.ended := new.ended; was.why := new.why;
    if was is distinct from new then
        raise exception 'what was asked for never changes'
        using errcode = 'integrity_constraint_violation';
    end if;
    if old.state <> new.state and not
        (old.state = 'pending' and new.state in ('approved', 'denied', 'expired', 'withdrawn')
        or old.state = 'approved' and new.state in ('consumed', 'expired', 'withdrawn')) then
        raise exception 'no such step' using errcode = 'integrity_constraint_violation';
    end if;
    return new; end $$;
create trigger decision_kept before update or delete on decision
    for each row execute function refused();
create trigger decision_whole before truncate on decision execute function refused();
create trigger step_kept before update or delete on step
    for each row execute function refused();
create trigger step_whole before truncate on step execute function refused();
create trigger approval_kept before delete on approval
    for each row execute function refused();
create trigger approval_whole before truncate on approval execute function refused();
create trigger approval_bound before update on approval
    for each row execute function in_order()
"""
_BETWEEN = re.compile(r";\n(?=create|set local)")


class _Statements:
    """A transaction of a connection, with ``?`` for arguments."""

    def __init__(self, db: psycopg.Connection[Row]) -> None:
        self._db = db

    def execute(self, sql: str, arguments: Sequence[object] = (), /) -> psycopg.Cursor[Row]:
        return self._db.execute(sql.replace("?", "%s").encode(), arguments)


class SharedApprovalStore:
    """See ``ApprovalStore``. ``url`` is libpq's.  Connects when it is needed.
    ``clock`` instead of the database's, and another ``grace``, are for tests."""

    shared = True

    def __init__(
        self,
        url: str,
        clock: Callable[[], float] | None = None,
        grace: float = GRACE_SECONDS,
    ) -> None:
        self._url = url
        self._clock = clock
        self._grace = grace
        self._lock = threading.RLock()
        self._db: psycopg.Connection[Row] | None = None
        self._inside = False
        self._version = 0
        self._instance = ""
        self._owned = False
        self._missed: dict[str, float] = {}
        self._not_before = 0.0
        self._trouble = ""
        self._closed = False

    # -- the connection -------------------------------------------------------

    def _open(self) -> psycopg.Connection[Row]:
        if self._db is not None and not self._db.closed:
            return self._db
        if self._closed:
            raise StoreError("the approvals' database is closed")
        if time.monotonic() < self._not_before:
            raise StoreError(self._trouble)  # others just tried
        self._db = None
        self._version += 1  # whatever was told meanwhile was missed
        try:
            db = psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=CONNECT_SECONDS,
                application_name="wirewarden",
                keepalives_idle=10,
                keepalives_interval=5,
                keepalives_count=3,
                tcp_user_timeout=10_000,
            )
            try:
                self._set_up(db)
            except BaseException:
                db.close()
                raise
        except psycopg.Error as error:
            self._trouble = _told(error)
            self._not_before = time.monotonic() + _AGAIN_SECONDS
            raise StoreError(self._trouble) from None
        self._db = db
        return db

    def _set_up(self, db: psycopg.Connection[Row]) -> None:
        there = "select 1 from pg_namespace where nspname = %s"
        if db.execute(there, [NAME]).fetchone() is None:
            with db.transaction():
                # Two may come at once; whoever waits finds it made.
                db.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
                if db.execute(there, [NAME]).fetchone() is None:
                    for statement in _BETWEEN.split(SCHEMA):
                        db.execute(statement.encode())
        for statement in _SESSION:
            db.execute(statement.encode())
        self._owned = False
        self._take(db)

    def _take(self, db: psycopg.Connection[Row]) -> None:
        """The lock that says that this instance lives. The server may think for
        a while that a connection that broke still has it: then that one does."""
        if self._instance and not self._owned:
            row = db.execute("select pg_try_advisory_lock(%s)", [_key(self._instance)]).fetchone()
            self._owned = bool(row and row[0])

    def _forget(self) -> None:
        db, self._db = self._db, None
        self._owned = False
        if db is not None:
            db.close()

    def _first(self, sql: str, arguments: Sequence[object] = ()) -> psycopg.Cursor[Row]:
        """Outside of a transaction: a connection that broke since its last use is
        made anew, once."""
        if self._inside:
            return _Statements(self._open()).execute(sql, arguments)
        for last in (False, True):
            fresh = self._db is None
            db = self._open()
            try:
                return _Statements(db).execute(sql, arguments)
            except psycopg.Error:
                if last or fresh or not db.broken:
                    raise
                self._forget()
        raise AssertionError

    # -- the store ------------------------------------------------------------

    def now(self) -> float:
        """See ``ApprovalStore``."""
        if self._clock is not None:
            return self._clock()
        return float(self.read("select extract(epoch from clock_timestamp())::float8")[0][0])

    @contextmanager
    def transaction(self) -> Iterator[_Statements]:
        """See ``ApprovalStore``. Where the connection breaks at the commit it is
        not known what became of it: that counts as failed."""
        with self._lock:
            try:
                self._first("begin")
                assert self._db is not None
                db, self._inside = self._db, True
                try:
                    db.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
                    yield _Statements(db)
                    db.execute(f"notify {NAME}".encode())
                    db.execute("commit")
                except BaseException:
                    self._roll_back(db)
                    raise
                finally:
                    self._inside = False
            except psycopg.Error as error:
                raise StoreError(_told(error)) from None

    def _roll_back(self, db: psycopg.Connection[Row]) -> None:
        try:
            db.execute("rollback")
        except psycopg.Error:
            self._forget()

    def read(self, sql: str, arguments: Sequence[object] = ()) -> Rows:
        """See ``ApprovalStore``."""
        with self._lock:
            try:
                return self._first(sql, arguments).fetchall()
            except psycopg.Error as error:
                raise StoreError(_told(error)) from None

    def data_version(self) -> int:
        """See ``ApprovalStore``. Looks only at what the server sent by itself."""
        with self._lock:
            try:
                for _ in self._open().notifies(timeout=0):
                    self._version += 1
            except psycopg.Error:
                self._forget()
                self._open()
            return self._version

    def claim(self, instance: str) -> None:
        """See ``ApprovalStore``. Where the database is out of reach it is said
        once it is not."""
        check_instance(instance)
        with self._lock:
            self._instance = instance
            try:
                self._take(self._open())
            except psycopg.Error as error:
                self._forget()
                raise StoreError(_told(error)) from None
            except StoreError:
                return
            if not self._owned:
                self._instance = ""
                raise StoreError(f"an instance {instance} lives already")

    def ended(self, instances: Iterable[str]) -> list[str]:
        """See ``ApprovalStore``."""
        sql = (
            "select (classid::bigint << 32) | objid::bigint from pg_locks where locktype ="
            " 'advisory' and objsubid = 1 and granted and database ="
            " (select oid from pg_database where datname = current_database())"
        )
        with self._lock:
            alive = {int(row[0]) for row in self.read(sql)}
            try:
                self._take(self._open())
            except psycopg.Error as error:
                raise StoreError(_told(error)) from None
            now = time.monotonic()
            gone = [each for each in instances if _key(each) not in alive]
            self._missed = {each: self._missed.get(each, now) for each in gone}
            return [each for each in gone if now - self._missed[each] >= self._grace]

    def release(self, instance: str) -> None:
        """See ``ApprovalStore``."""
        self._missed.pop(instance, None)
        if instance == self._instance:
            self._instance = ""
            if self._owned:
                self.read("select pg_advisory_unlock(?)", [_key(instance)])
                self._owned = False

    def close(self) -> None:
        """See ``ApprovalStore``."""
        with self._lock:
            self._closed = True
            self._forget()


def _key(instance: str) -> int:
    return int.from_bytes(sha256(b"wirewarden\0" + instance.encode()).digest()[:8], signed=True)


def _told(error: psycopg.Error) -> str:
    return f"the approvals' database: {told(error)}"
