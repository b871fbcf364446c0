"""What the tables ask of a database. Places of arguments are ``?``; an error of its own
is raised as ``DatabaseTrouble``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

Row = Sequence[Any]

SCHEMA = 1
"""Grows with every change of what an index holds; an index of another is built anew."""


class DatabaseTrouble(Exception):
    """The index can't be read or written. ``damaged``: building it anew may help."""

    def __init__(self, text: str, damaged: bool = False) -> None:
        super().__init__(text)
        self.damaged = damaged


class Database(Protocol):
    """An open database with the tables in it."""

    def rows(self, sql: str, arguments: Sequence[object] = ()) -> Iterator[Row]:
        """The rows of a query, as they are asked for."""

    def run(self, sql: str, arguments: Iterable[Sequence[object]]) -> None:
        """Execute a statement once for each."""

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing of what is written in it. Nobody else adds meanwhile."""

    def put_text(self, page: int, text: str) -> None:
        """Make a page's text searchable."""

    def drop_text(self, page: int, text: Callable[[], str]) -> None:
        """And no more. ``text`` gives what was put."""

    def text_source(self, grams: Sequence[Sequence[str]]) -> tuple[str, str, list[object]]:
        """A table expression named ``g``, a condition and its arguments, that give ``g.id``
        for the pages whose text has all of one of ``grams``."""

    def empty(self) -> None:
        """Forget everything that it holds."""

    def size(self) -> int:
        """Its bytes."""

    def close(self) -> None:
        """Close it."""
