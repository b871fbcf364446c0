"""Is what the server says now what it said then?

Messages are compared field by field (PostgreSQL manual, "Message Formats"). A field that
differs in every run of a server by its nature has a normaliser with a name; the report
says which was used. Nothing is normalised unless its normaliser is switched on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from protocols.errors import WireError
from protocols.postgres.fields import Field, parse_row_description
from recorder.replay.messages import Message

DEFAULT = ("backend-key", "server-parameters", "table-oid", "type-oid", "error-place", "pid",
           "large-object-oid", "gateway-session")  # fmt: skip
"""On unless the comparison is to be exact."""
MASKS = "masks"
DECLARED = ("timestamps", "txid", "explain", "login-user", MASKS)
"""On where they are asked for. MASKS: what a mask stands in is not compared (the client's
leg against a server that masks nothing); that there is such a message is."""

SERVER_PARAMETERS = frozenset(("server_version", "in_hot_standby", "scram_iterations"))
"""ParameterStatus values that are the server's, not the session's."""
_USERS = frozenset(("session_authorization", "is_superuser"))
_FIRST_USER_OID = 16384
_TIMES = frozenset((1082, 1083, 1114, 1184, 1266, 1186))
_TXIDS = frozenset((28, 5069, 2970, 5038, 3220))
"""xid, xid8, txid_snapshot, pg_snapshot, pg_lsn"""
_TXID_NAMES = re.compile(r"(pg_current_xact_id|txid_current)\w*")
_FIGURES = re.compile(rb"\d+(?:\.\d+)?")
_EXPLAINED = re.compile(rb"actual|cost=|Time:|Memory|Buffers|Rows Removed|Planning|Execution")
SHOWN = 200
_SESSION = re.compile(rb"\b[Ss]ession 0[0-9A-HJKMNP-TV-Z]{25}\b")
_APPROVAL = re.compile(rb"\bapproval AP-\d{1,9}\b")

ERROR_FIELDS = {
    "S": "severity", "V": "severity", "C": "code", "M": "message", "D": "detail", "H": "hint",
    "P": "position", "p": "internal position", "q": "internal query", "W": "where", "s": "schema",
    "t": "table", "c": "column", "d": "type", "n": "constraint", "F": "file", "L": "line",
    "R": "routine",
}  # fmt: skip
NAMES = {
    "1": "ParseComplete", "2": "BindComplete", "3": "CloseComplete", "A": "NotificationResponse",
    "C": "CommandComplete", "D": "DataRow", "E": "ErrorResponse", "G": "CopyInResponse",
    "H": "CopyOutResponse", "I": "EmptyQueryResponse", "K": "BackendKeyData",
    "N": "NoticeResponse", "R": "Authentication", "S": "ParameterStatus", "T": "RowDescription",
    "V": "FunctionCallResponse", "W": "CopyBothResponse", "Z": "ReadyForQuery", "c": "CopyDone",
    "d": "CopyData", "n": "NoData", "s": "PortalSuspended", "t": "ParameterDescription",
    "v": "NegotiateProtocolVersion", "\0": "(withheld)",
}  # fmt: skip


def name_of(kind: int) -> str:
    """A server message's name."""
    return NAMES.get(chr(kind), f"message {kind:#04x}")


class Difference(NamedTuple):
    """A field that is not the same; the values are cut to SHOWN bytes."""

    field: str
    expected: bytes | None
    got: bytes | None


@dataclass(slots=True)
class Compared:
    """The outcome for one pair: ``normalised`` names the normalisers that were needed."""

    differences: list[Difference] = field(default_factory=list)
    normalised: set[str] = field(default_factory=set)


def _cut(value: bytes | None) -> bytes | None:
    return value if value is None or len(value) <= SHOWN else value[:SHOWN] + b"..."


@dataclass(slots=True)
class Comparer:
    """Compares with the normalisers in ``on``; ``columns`` are names of result columns
    whose values are not compared; ``oids``: numbers of large objects, then and now."""

    on: frozenset[str] = frozenset(DEFAULT)
    columns: frozenset[str] = frozenset()
    oids: dict[int, int] = field(default_factory=dict)

    def compare(self, then: Message, now: Message, row: tuple[Field, ...] | None) -> Compared:
        """``row`` describes the DataRow, where that is known."""
        result = Compared()
        if then.raw == now.raw:
            return result
        if then.kind != now.kind:
            pair = name_of(then.kind).encode(), name_of(now.kind).encode()
            result.differences.append(Difference("message", *pair))
            return result
        try:
            before, after = list(_fields(then)), list(_fields(now))
        except (WireError, ValueError, IndexError):
            before, after = [("body", then.body)], [("body", now.body)]
        if [name for name, _ in before] != [name for name, _ in after]:
            lost = dict(before), dict(after)
            for name in dict.fromkeys([n for n, _ in before] + [n for n, _ in after]):
                self._one(then, name, lost[0].get(name), lost[1].get(name), row, result)
            return result
        for (name, a), (_, b) in zip(before, after, strict=True):
            if a != b:
                self._one(then, name, a, b, row, result)
        return result

    def _one(  # noqa: PLR0917
        self,
        then: Message,
        name: str,
        a: bytes | None,
        b: bytes | None,
        row: tuple[Field, ...] | None,
        result: Compared,
    ) -> None:
        if a == b:
            return
        rule = self._rule(then, name, a, b, row)
        if rule and (rule in self.on or rule.startswith("column ")):
            result.normalised.add(rule)
            return
        if row is not None and chr(then.kind) == "D" and name.startswith("value "):
            number = int(name[6:]) - 1
            if number < len(row):
                name = f"{name} ({row[number].name})"
        result.differences.append(Difference(name, _cut(a), _cut(b)))

    def _rule(
        self,
        then: Message,
        name: str,
        a: bytes | None,
        b: bytes | None,
        row: tuple[Field, ...] | None,
    ) -> str:
        """The normaliser that would explain the difference, "" for none."""
        kind = chr(then.kind)
        if kind == "K":
            return "backend-key"
        if kind == "S":
            setting = then.body.partition(b"\0")[0].decode("utf-8", "surrogateescape")
            return self.parameter(setting)
        if kind == "T":
            if name.endswith("table oid"):
                return "table-oid"
            if name.endswith("type oid") and a and b and min(int(a), int(b)) >= _FIRST_USER_OID:
                return "type-oid"
            return ""
        if kind in "EN":
            if name in ("file", "line", "routine"):
                return "error-place"
            alike = a is not None and b is not None and _named(a) == _named(b)
            return "gateway-session" if alike else ""
        if kind == "A":
            return "pid" if name == "pid" else ""
        if kind == "V":
            return "large-object-oid" if self._same_object(a, b) else ""
        if kind == "D" and row is not None and name.startswith("value "):
            return self._cell(row, int(name[6:]) - 1, a, b)
        return ""

    @staticmethod
    def parameter(name: str) -> str:
        """The normaliser of a ParameterStatus, "" for none."""
        if name in SERVER_PARAMETERS:
            return "server-parameters"
        return "login-user" if name in _USERS else ""

    def _cell(self, row: tuple[Field, ...], number: int, a: bytes | None, b: bytes | None) -> str:
        if number >= len(row) or a is None or b is None:
            return ""
        column = row[number]
        if column.name in self.columns:
            return f"column {column.name}"
        if column.type_oid in _TIMES:
            return "timestamps"
        if column.type_oid in _TXIDS or _TXID_NAMES.fullmatch(column.name):
            return "txid"
        if column.name == "pg_backend_pid":
            return "pid"
        if column.name == "QUERY PLAN" and _EXPLAINED.search(a):
            return "explain" if _FIGURES.sub(b"#", a) == _FIGURES.sub(b"#", b) else ""
        return "large-object-oid" if self._same_object(a, b) else ""

    def _same_object(self, a: bytes | None, b: bytes | None) -> bool:
        if a is None or b is None:
            return False
        for old, new in self.oids.items():
            if (a, b) in (
                (b"%d" % old, b"%d" % new),
                (old.to_bytes(4, "big"), new.to_bytes(4, "big")),
            ):
                return True
        return False


def _named(text: bytes) -> bytes:
    """A text of the gateway's without the numbers that it gave to session and approval."""
    return _APPROVAL.sub(b"approval AP-#", _SESSION.sub(b"session #", text))


def _fields(message: Message) -> Iterator[tuple[str, bytes | None]]:
    """The fields of a server message by name."""
    kind, body = chr(message.kind), message.body
    if kind == "T":
        for n, column in enumerate(parse_row_description(body), 1):
            words = ("name", "table oid", "column number", "type oid", "size", "modifier", "format")
            for word, value in zip(words, column, strict=True):
                yield f"column {n} {word}", str(value).encode("utf-8", "surrogateescape")
    elif kind == "D":
        for n, value in enumerate(cells(body), 1):
            yield f"value {n}", value
    elif kind in "EN":
        for part in body.split(b"\0"):
            if part:
                letter = chr(part[0])
                # S is V in the server's language.
                word = "severity (localised)" if letter == "S" else ERROR_FIELDS.get(letter, letter)
                yield word, part[1:]
    elif kind == "S":
        name, _, value = body[:-1].partition(b"\0")
        yield "name", name
        yield name.decode("utf-8", "surrogateescape"), value
    elif kind == "C":
        yield "tag", body.rstrip(b"\0")
    elif kind == "Z":
        yield "transaction", body
    elif kind == "A":
        yield "pid", str(int.from_bytes(body[:4], "big")).encode()
        yield "channel", body[4:].partition(b"\0")[0]
        yield "payload", body[4:].partition(b"\0")[2].rstrip(b"\0")
    elif kind == "V":
        yield "value", None if body[:4] == b"\xff" * 4 else body[4:]
    elif kind == "t":
        for n in range(int.from_bytes(body[:2], "big")):
            oid = int.from_bytes(body[2 + 4 * n : 6 + 4 * n], "big")
            yield f"parameter {n + 1} type oid", str(oid).encode()
    else:
        yield "body", body


def cells(body: bytes) -> Iterator[bytes | None]:
    """The values of a DataRow's body, None for NULL. ValueError when it is malformed."""
    count, at = int.from_bytes(body[:2], "big"), 2
    for _ in range(count):
        size = int.from_bytes(body[at : at + 4], "big", signed=True)
        at += 4
        if size < 0:
            yield None
            continue
        if at + size > len(body):
            raise ValueError("a row that is cut short")
        yield body[at : at + size]
        at += size
