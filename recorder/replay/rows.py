"""Which columns a DataRow has: followed through what was asked and answered."""

from __future__ import annotations

from collections import deque
from typing import Any

from protocols.errors import WireError
from protocols.postgres.fields import Field, parse_row_description
from recorder.replay.messages import Message

_REMEMBERED = 4096
Columns = tuple[Field, ...]


class RowShapes:
    """Told of each request as it is sent and of each recorded answer as it is
    compared. Knows too little at times; then there are no columns, and rows are compared
    as they are."""

    def __init__(self) -> None:
        self._statements: dict[bytes, Columns] = {}
        self._portals: dict[bytes, bytes] = {}
        self._asked: deque[tuple[str, bytes]] = deque()
        """Describes and Executes that are not answered yet."""
        self.columns: Columns | None = None

    def asked(self, message: Message) -> None:
        """A request leaves."""
        kind, body = chr(message.kind), message.body
        if not message.known:
            return
        if kind == "B":
            portal, _, rest = body.partition(b"\0")
            self._portals[portal] = rest.partition(b"\0")[0]
            self._trim(self._portals)
        elif kind == "D" and body[:1] == b"S":
            self._asked.append(("statement", body[1:-1]))
        elif kind == "D":
            self._asked.append(("portal", self._portals.get(body[1:-1], b"")))
        elif kind == "E":
            self._asked.append(("execute", self._portals.get(body.partition(b"\0")[0], b"")))
        elif kind in "QF":
            self._asked.append(("query", b""))
        elif kind == "S":
            self._asked.append(("sync", b""))

    def answered(self, message: Message) -> None:
        """A recorded answer is next."""
        kind = chr(message.kind)
        head = self._asked[0] if self._asked else ("", b"")
        if kind == "T":
            try:
                self.columns = parse_row_description(message.body)
            except WireError:
                self.columns = None
            if head[0] in ("statement", "portal"):
                self._asked.popleft()
                if self.columns is not None:
                    self._statements[head[1]] = self.columns
                    self._trim(self._statements)
        elif kind == "n" and head[0] in ("statement", "portal"):
            self._asked.popleft()
        elif kind in "D\0" and head[0] == "execute":
            self.columns = self._statements.get(head[1])
        elif kind in "CsI" and head[0] == "execute":
            self._asked.popleft()
        elif kind == "Z":
            while self._asked and self._asked[0][0] not in ("sync", "query"):
                self._asked.popleft()
            if self._asked:
                self._asked.popleft()

    @staticmethod
    def _trim(table: dict[bytes, Any]) -> None:
        while len(table) > _REMEMBERED:
            del table[next(iter(table))]
