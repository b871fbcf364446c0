"""What a PostgreSQL client asked, as far as it tells how to read the answers: which text an
answer is for, in which form its values are, and what its columns are called.

For showing: never raises, and remembers a bounded number of things.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, NamedTuple

from recorder.binary_values import FUNCTIONS
from recorder.postgres_cutter import Said

_MOST: Final = 4096
Titles = tuple[tuple[str, int], ...]
"""Name and type of each column."""


class Asked(NamedTuple):
    """A request that gets an answer. ``what``: query, execute, call, statement, portal (their
    descriptions) or sync. ``forms``: of the columns, 0 text and 1 binary, one for all, or
    None where that is not known."""

    what: str
    text: str
    statement: bytes
    forms: tuple[int, ...] | None


class Requests:
    """Told what the client says (``said``) and, with ``titles``, what columns were described;
    gives the request that is answered now (``now``, ``answered``, ``ready``)."""

    def __init__(self) -> None:
        self._texts: dict[bytes, str] = {}
        self._titles: dict[bytes, Titles] = {}
        self._portals: dict[bytes, tuple[bytes, tuple[int, ...] | None]] = {}
        self._asked: deque[Asked] = deque()

    def said(self, message: Said) -> None:
        """The client said this."""
        kind, body = message.kind, message.body
        if kind == "Q":
            self._ask(Asked("query", _text(body.rstrip(b"\0")), b"", None))
        elif kind == "P":
            name, _, rest = body.partition(b"\0")
            self._texts[name] = _text(rest.partition(b"\0")[0])
            self._titles.pop(name, None)
            _trim(self._texts)
        elif kind == "B":
            portal, _, rest = body.partition(b"\0")
            forms = _forms(rest) if message.length == len(body) else None
            self._portals[portal] = rest.partition(b"\0")[0], forms
            _trim(self._portals)
        elif kind == "D":
            name = body[1:].rstrip(b"\0")
            if body[:1] == b"S":
                self._ask(Asked("statement", "", name, None))
            else:
                self._ask(Asked("portal", "", self._portals.get(name, (b"", None))[0], None))
        elif kind == "E":
            statement, forms = self._portals.get(body.partition(b"\0")[0], (b"", None))
            self._ask(Asked("execute", self._texts.get(statement, ""), statement, forms))
        elif kind == "F":
            oid = int.from_bytes(body[:4], "big")
            self._ask(Asked("call", FUNCTIONS.get(oid, f"function {oid}"), b"", None))
        elif kind == "S":
            self._ask(Asked("sync", "", b"", None))

    def _ask(self, asked: Asked) -> None:
        if len(self._asked) >= _MOST:
            self._asked.clear()  # too far ahead to tell any more
        self._asked.append(asked)

    @property
    def now(self) -> Asked | None:
        """What the next result is for."""
        return next((a for a in self._asked if a.what in ("query", "execute", "call")), None)

    @property
    def several(self) -> bool:
        """More than one request waits for its result."""
        return sum(a.what in ("query", "execute", "call") for a in self._asked) > 1

    def described(self, titles: Titles) -> bool:
        """The server told the columns (none: there are none). True: of the result that comes
        next, not of a statement that was only prepared."""
        head = self._asked[0] if self._asked else None
        if head is not None and head.what in ("statement", "portal"):
            self._asked.popleft()
            self._titles[head.statement] = titles
            _trim(self._titles)
        return head is None or head.what != "statement"

    def titles(self) -> Titles:
        """The columns of what is answered now, as they were told before."""
        return self._titles.get(self.now.statement, ()) if self.now is not None else ()

    def answered(self) -> None:
        """What an Execute or a call asked is complete. (A query may have further results.)"""
        while self._asked and self._asked[0].what in ("statement", "portal"):
            self._asked.popleft()
        if self._asked and self._asked[0].what == "execute":
            self._asked.popleft()

    def ready(self) -> None:
        """ReadyForQuery: what was asked up to a Sync, a query or a call is over."""
        while self._asked and self._asked.popleft().what not in ("sync", "query", "call"):
            pass


def _forms(rest: bytes) -> tuple[int, ...] | None:
    """The result formats of a Bind, from behind its portal's name."""
    at = rest.find(b"\0") + 1
    at += 2 + 2 * int.from_bytes(rest[at : at + 2], "big")
    count = int.from_bytes(rest[at : at + 2], "big")
    at += 2
    for _ in range(count):
        size = int.from_bytes(rest[at : at + 4], "big", signed=True)
        at += 4 + max(0, size)
        if at > len(rest):
            return None
    forms = [
        int.from_bytes(rest[n : n + 2], "big") for n in range(at + 2, len(rest) - 1, 2)
    ]  # fmt: skip
    return tuple(forms) or (0,)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _trim(table: dict[bytes, Any]) -> None:
    while len(table) > _MOST:
        del table[next(iter(table))]
