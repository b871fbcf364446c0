"""Where approvals lie: what ``Approvals`` asks of a store, and the one on SQLite.

Statements are written once, in SQL that SQLite and PostgreSQL share; places of
arguments are ``?``.  All methods may be called from any thread and raise
``StoreError``.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from gateway.approval_rows import SCHEMA, SCHEMA_VERSION
from gateway.config import Config
from gateway.store import Row, Rows, Store, StoreError

_INSTANCE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")


class Answered(Protocol):
    """What came of a statement."""

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Row | None: ...


class Transaction(Protocol):
    """Takes statements; all of them happen, or none."""

    def execute(self, sql: str, arguments: Sequence[object], /) -> Answered: ...


class ApprovalStore(Protocol):
    """Rows of approvals, and which gateway processes live."""

    shared: bool
    """Of several machines: it may be out of reach for a while."""

    def now(self) -> float:
        """Unix seconds, by the one clock that counts for this store."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Nobody else writes meanwhile. Commits at the end."""

    def read(self, sql: str, arguments: Sequence[object] = ()) -> Rows:
        """All rows of one query."""

    def data_version(self) -> int:
        """Grows when anything changed, here or elsewhere. Fit for polling."""

    def claim(self, instance: str) -> None:
        """Say, for as long as this process lives, that it is ``instance``.
        ``ValueError`` for a name that can't be one."""

    def ended(self, instances: Iterable[str]) -> list[str]:
        """Those whose process is surely gone."""

    def release(self, instance: str) -> None:
        """Forget an instance that ended."""

    def close(self) -> None: ...


def check_instance(instance: str) -> None:
    """``ValueError`` for what can't be the name of one."""
    if _INSTANCE.fullmatch(instance) is None:
        raise ValueError("an instance id has letters, digits, '_', '.' and '-' only")


class LocalApprovalStore:
    """See ``ApprovalStore``. In a file, for the processes of one machine. An
    instance holds a lock file while it lives, however it ends."""

    shared = False

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._store = Store(path, SCHEMA, SCHEMA_VERSION)
        self._locks = path.with_name(path.name + ".alive")
        self._held: dict[str, int] = {}
        self.now = clock
        self.transaction = self._store.transaction
        self.read = self._store.read
        self.data_version = self._store.data_version

    def claim(self, instance: str) -> None:
        """See ``ApprovalStore``."""
        check_instance(instance)
        try:
            self._locks.mkdir(mode=0o700, exist_ok=True)
            descriptor = self._lock(instance)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as error:
            raise StoreError(f"{self._locks / instance}: {error.strerror}") from error
        self._held[instance] = descriptor

    def ended(self, instances: Iterable[str]) -> list[str]:
        """See ``ApprovalStore``."""
        found = []
        for instance in instances:
            descriptor = self._lock(instance)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # lives
            else:
                found.append(instance)
            finally:
                os.close(descriptor)
        return found

    def release(self, instance: str) -> None:
        """See ``ApprovalStore``."""
        (self._locks / instance).unlink(missing_ok=True)
        descriptor = self._held.pop(instance, -1)
        if descriptor >= 0:
            os.close(descriptor)

    def close(self) -> None:
        """See ``ApprovalStore``."""
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()
        self._store.close()

    def _lock(self, instance: str) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self._locks / instance, flags, 0o600)


def approval_store(config: Config, clock: Callable[[], float]) -> ApprovalStore:
    """The store that ``config`` names: the shared one, else a file in the state
    directory, made if it is not there."""
    if not config.store.index:
        return LocalApprovalStore(approvals_file(config), clock)
    try:
        from gateway.approval_postgres import SharedApprovalStore
    except ImportError:
        raise StoreError("PostgreSQL needs psycopg: install wirewarden[store]") from None
    return SharedApprovalStore(config.store.index)


def approvals_file(config: Config) -> Path:
    """Where approvals lie that are not shared."""
    return config.state / "approvals.db"
