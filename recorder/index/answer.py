"""Opens the index of a state directory and answers with it; where there is trouble with
it, says so and answers without."""

from __future__ import annotations

import heapq
import os
import secrets
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from recorder.catalog import Line
from recorder.index.content import DamagedIndex
from recorder.index.database import DatabaseTrouble
from recorder.index.items import Item
from recorder.index.search import Found, Search
from recorder.index.sqlite import SqliteDatabase
from recorder.index.tables import Index
from recorder.index.upkeep import again, catch_up
from recorder.index.wanted import Wanted
from recorder.live import live_sessions
from recorder.store import INDEX, StoreError, store_of_environment

NAME = "index.db"
URL = INDEX
_SLOW = 2.0
"""Seconds after which a catch-up says that it is at work."""
_TROUBLE = (DatabaseTrouble, DamagedIndex, OSError)
T = TypeVar("T")
Notice = Callable[[str], None]
Sorting = Callable[[Line], str | float]


def opened(state: Path, notice: Notice) -> Index | None:
    """The index of ``state``, with every Log in it; None, and a notice, where there can be
    none. One that is damaged or of another version is built anew."""
    if not state.is_dir():
        return None
    try:
        url = store_of_environment().index
    except StoreError as error:
        notice(f"without the index: {error}")
        return None
    for last in (False, True):
        index: Index | None = None
        try:
            index = shared(url, state) if url else Index(SqliteDatabase(state / NAME))
            if last and url:
                index.forget()
            catch_up(index, state, _progress(notice))
            return index
        except _TROUBLE as error:
            if index is not None:
                index.database.close()
            if last or not may_mend(error):
                notice(f"without the index: {error}")
                return None
            notice(f"the index is built anew: {error}")
            if not url and not removed(state, notice):
                return None
    return None


def shared(url: str, state: Path) -> Index:
    """The index on PostgreSQL. Raises ``DatabaseTrouble``, ``OSError``."""
    if not url.startswith(("postgresql://", "postgres://")):
        raise DatabaseTrouble(f"{URL} must be a postgresql:// URL")
    try:
        from recorder.index.postgres import PostgresDatabase
    except ImportError:
        raise DatabaseTrouble("PostgreSQL needs psycopg: install wirewarden[store]") from None
    return Index(PostgresDatabase(url), home_of(state))


def home_of(state: Path) -> str:
    """By what a shared index knows the Logs of ``state``: chance, in a file of its own."""
    place = state / "home"
    aside = state / f".home-{secrets.token_hex(8)}"
    if not place.exists():
        aside.write_text(secrets.token_hex(8))
        try:
            os.link(aside, place)  # unlike a rename, it leaves the first one's be
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    home = place.read_text().strip()
    if len(home) != 16 or not home.isalnum():
        raise DatabaseTrouble(f"{place} does not hold 16 letters and digits")
    return home


def may_mend(error: Exception) -> bool:
    """Whether building the index anew may help."""
    return isinstance(error, DamagedIndex) or (isinstance(error, DatabaseTrouble) and error.damaged)


def removed(state: Path, notice: Notice) -> bool:
    """Delete the file; False, and a notice, if that fails."""
    try:
        for tail in ("-wal", "-shm", ""):
            (state / (NAME + tail)).unlink(missing_ok=True)
    except OSError as error:
        notice(f"without the index: {error}")
        return False
    return True


def _progress(notice: Notice) -> Callable[[int], None]:
    due = time.monotonic() + _SLOW

    def told(count: int) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + 5 * _SLOW
            notice(f"the index takes in new sessions: {count} so far")

    return told


def _mended(index: Index, state: Path, notice: Notice) -> None:
    """Make room for a new one."""
    try:
        if index.home:
            index.forget()
        index.database.close()
    except DatabaseTrouble as error:
        notice(str(error))
    if not index.home:
        removed(state, notice)


class Answer:
    """What is wanted of ``state``, from the index unless ``plain``."""

    def __init__(self, state: Path, wanted: Wanted, notice: Notice, plain: bool = False) -> None:
        self._state = state
        self._wanted = wanted
        self._notice = notice
        self._plain = plain
        self.breaks: dict[str, str] = {}
        self._mended = False

    def sessions(self, newest_first: bool = False) -> Generator[Found, None, None]:
        """Each session once, by the time it began."""
        live = [*live_sessions(self._state / "journal")]
        index = None if self._plain else opened(self._state, self._notice)
        search = Search(self._state, self._wanted, index, newest_first, live)
        done: set[str] = set()
        try:
            for found in search.sessions():
                yield found
                done.add(found.line.session)
        except (DatabaseTrouble, DamagedIndex) as error:
            self._notice(f"the rest without the index: {error}")
            if may_mend(error) and index is not None:
                _mended(index, self._state, self._notice)
                index = None
            search = Search(self._state, self._wanted, None, newest_first, live)
            yield from (f for f in search.sessions() if f.line.session not in done)
        finally:
            self.breaks = search.breaks
            if index is not None:
                self._mend(index, search.stale)
                index.database.close()

    def _mend(self, index: Index, stale: set[str]) -> None:
        self._mended = bool(stale)
        try:
            for place in sorted(stale):
                again(index, self._state, place)
        except _TROUBLE as error:
            self._notice(f"the index could not take in a changed Log: {error}")

    def lines(self, limit: int = 0, key: Sorting | None = None) -> list[Line]:
        """Rows of sessions; the newest ``limit`` of them. ``key``: the greatest by that
        instead, and in that order."""
        found = self._settled(partial(self._lines, limit, key))
        return found[::-1] if limit else found

    def _lines(self, limit: int, key: Sorting | None) -> list[Line]:
        def place(line: Line) -> tuple[str | float, str, str, str]:
            return key(line) if key else "", line.started, line.session, line.path

        with closing(self.sessions(newest_first=bool(limit) and key is None)) as sessions:
            every = (found.line for found in sessions)
            if key is None:
                return [*islice(every, limit)] if limit else [*every]
            return heapq.nlargest(limit, every, place) if limit else sorted(every, key=place)

    def items(self, limit: int = 0) -> Iterator[tuple[Line, Item]]:
        """Items with the rows of their sessions, in order; the last ``limit`` of them."""
        if not limit:
            for found in self.sessions():
                yield from ((found.line, item) for item in found.items)
            return
        yield from reversed(self._settled(partial(self._last, limit)))

    def _last(self, limit: int) -> list[tuple[Line, Item]]:
        with closing(self.sessions(newest_first=True)) as sessions:
            every = ((found.line, item) for found in sessions for item in found.items)
            return [*islice(every, limit)]

    def _settled(self, ask: Callable[[], list[T]]) -> list[T]:
        """Where the index was found behind a Log and mended, the order was not right."""
        for _ in range(3):
            self._mended = False
            found = ask()
            if not self._mended:
                break
        return found


def complain(text: str) -> None:
    """A notice on stderr."""
    print(f"recorder: {text}", file=sys.stderr)


def rebuilt(state: Path, notice: Notice) -> tuple[int, int, int] | None:
    """Build the index anew: sessions, pages, bytes. None, and a notice, if that fails."""
    index: Index | None = None
    try:
        url = store_of_environment().index
        if url:
            index = shared(url, state)
            index.forget()
            index.database.close()
        elif not removed(state, notice):
            return None
        index = opened(state, notice)
        if index is None:
            return None
        return *index.count(), index.database.size()
    except (*_TROUBLE, StoreError) as error:
        notice(str(error))
        return None
    finally:
        if index is not None:
            index.database.close()
