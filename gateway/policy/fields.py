"""Reading one table of a policy strictly.

Each method asks for one key in one form; a wrong form is put on the list of
faults and None stands in, so that reading goes on to the next fault.  ``close``
reports the keys that nobody asked for, with the nearest valid one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from gateway.policy import globs
from gateway.policy.errors import Faults
from gateway.policy.lines import Path
from gateway.policy.words import nearest

T = TypeVar("T")
_SPAN = re.compile(r"([0-9]{1,6})(s|m|h|d)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

Sets = Mapping[str, tuple[str, ...]]


class Table:
    """The table at ``path``; ``sets`` are what ``"@name"`` may stand for."""

    __slots__ = ("_known", "faults", "path", "raw", "sets")

    def __init__(self, faults: Faults, path: Path, raw: Mapping[str, object], sets: Sets) -> None:
        self.faults = faults
        self.path = path
        self.raw = raw
        self.sets = sets
        self._known: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self.raw

    @property
    def line(self) -> int:
        return self.faults.line(self.path)

    def fault(self, key: str | int | None, message: str) -> None:
        self.faults.add(self.path if key is None else (*self.path, key), message)

    def close(self) -> None:
        for key in self.raw:
            if key not in self._known:
                self.fault(key, f'unknown key "{key}"{nearest(key, self._known)}')

    def _take(self, key: str, kind: type[T], form: str) -> T | None:
        self._known.add(key)
        value = self.raw.get(key)
        # bool is an int to isinstance, and never what is meant.
        if value is None or (isinstance(value, kind) and (type(value) is not bool or kind is bool)):
            return value
        self.fault(key, f"must be {form}")
        return None

    def text(self, key: str) -> str | None:
        return self._take(key, str, "a string")

    def flag(self, key: str) -> bool | None:
        return self._take(key, bool, "true or false")

    def whole(self, key: str, low: int, high: int) -> int | None:
        value = self._take(key, int, "a whole number")
        if value is None or low <= value <= high:
            return value
        self.fault(key, f"must be from {low} to {high}")
        return None

    def word(self, key: str, known: Iterable[str]) -> str | None:
        value = self.text(key)
        if value is None or value in (words := list(known)):
            return value
        self.fault(key, f'unknown {key} "{value}"{nearest(value, words)}')
        return None

    def seconds(self, key: str, low: float, high: float) -> float | None:
        """A span of time such as ``"30m"``, in seconds."""
        value = self.text(key)
        if value is None:
            return None
        found = _SPAN.fullmatch(value)
        span = float(found.group(1)) * _SECONDS[found.group(2)] if found else -1.0
        if low <= span <= high:
            return span
        self.fault(key, f'must be a span of time such as "30m", {low:g} s to {high:g} s long')
        return None

    def table(self, key: str) -> Table | None:
        value = self._take(key, dict, "a table")
        return None if value is None else Table(self.faults, (*self.path, key), value, self.sets)

    def tables(self, key: str) -> list[Table] | None:
        """An array of tables; one table alone counts as an array of one."""
        self._known.add(key)
        value = self.raw.get(key)
        if value is None:
            return None
        if isinstance(value, dict):
            return [Table(self.faults, (*self.path, key), value, self.sets)]
        if isinstance(value, list) and all(isinstance(item, dict) for item in value):
            if not value:
                self.fault(key, "an empty list says nothing")
            return [
                Table(self.faults, (*self.path, key, n), item, self.sets)
                for n, item in enumerate(value)
            ]
        self.fault(key, "must be a table or an array of tables")
        return None

    def strings(
        self, key: str, check: Callable[[str], str] | None = None, *, empty: bool = False
    ) -> tuple[str, ...] | None:
        """A string or a list of them, sets expanded, each looked at by
        ``check`` (which returns a complaint or ""). None when it is missing
        or faulty. An empty list is a fault, unless ``empty``."""
        self._known.add(key)
        if key not in self.raw:
            return None
        raw = self.raw[key]
        items = raw if isinstance(raw, list) else [raw]
        if not items and not empty:
            self.fault(key, "an empty list can never match")
            return None
        found: list[str] = []
        good = True
        for number, item in enumerate(items):
            place: Path = (*self.path, key, number) if isinstance(raw, list) else (*self.path, key)
            if not isinstance(item, str):
                self.faults.add(place, "must be a string or a list of strings")
                good = False
                continue
            if item.startswith("@"):
                if item[1:] not in self.sets:
                    near = nearest(item[1:], self.sets)
                    self.faults.add(place, f'unknown set "{item}"{near}')
                    good = False
                    continue
                members: tuple[str, ...] = self.sets[item[1:]]
            else:
                members = (item,)
            for member in members:
                if complaint := check(member) if check else "":
                    self.faults.add(place, complaint)
                    good = False
                found.append(member)
        return tuple(dict.fromkeys(found)) if good else None

    def globs(self, key: str, *, empty: bool = False) -> tuple[str, ...] | None:
        """Patterns (see ``globs``)."""
        return self.strings(key, globs.complaint, empty=empty)

    def words(
        self, key: str, known: Iterable[str], what: str, *, empty: bool = False
    ) -> tuple[str, ...] | None:
        """A list whose members must be ``known``."""
        names = frozenset(known)

        def check(word: str) -> str:
            return "" if word in names else f'unknown {what} "{word}"{nearest(word, names)}'

        return self.strings(key, check, empty=empty)
