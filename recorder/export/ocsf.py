"""Commands as OCSF 1.1 events (Open Cybersecurity Schema Framework), for SIEMs.

SQL and key-value commands are Datastore Activity (class 6005), git's API Activity (6003), in
category 6, with the profile ``security_control``. ``time`` is Unix milliseconds, ``type_uid`` is
``class_uid * 100 + activity_id``. What OCSF has no attribute for is in ``unmapped``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from recorder.catalog import Line, describe
from recorder.errors import FormatError
from recorder.reader import Record, Recording, decoded
from recorder.records import CommandEntry, Event
from recorder.timeline import verdict_name

VERSION = "1.1.0"
_DATASTORE = {"read": 1, "update": 2, "connect": 3, "query": 4, "write": 5, "create": 6,
              "delete": 7}  # fmt: skip
_NAMES = {number: name.capitalize() for name, number in _DATASTORE.items()}
_SQL = {"select": 4, "table": 4, "values": 4, "with": 4, "show": 1, "fetch": 1, "explain": 1,
        "update": 2, "alter": 2, "merge": 2, "insert": 5, "copy": 5, "create": 6, "delete": 7,
        "drop": 7, "truncate": 7, "get": 1, "set": 5, "del": 7}  # fmt: skip
_GIT = {"list": (2, "Read"), "fetch": (2, "Read"), "archive": (2, "Read"), "push": (3, "Update")}
_OTHER = (99, "Other")
_HOLD, _BLOCK = 2, 3
_OUTCOME = ("severity_id", "status_id", "action_id", "disposition_id")
# Whether the server did what was let through, its answer says, which nobody has read here: the
# status (1 Success, 2 Failure) is 0, Unknown, then.
_ALLOWED = (1, 0, 1, 1)
_APPROVED = (2, 0, 1, 8)
_DELAYED = (2, 0, 0, 14)
"""Held; what became of it is not on record, or not yet."""
_BLOCKED = (3, 2, 2, 2)
_WAITING = 10_000
"""Events that wait for the answer to one that is held, before they go as they are."""


def events(recording: Recording) -> Iterator[dict[str, Any]]:
    """One event per command; of a held one, with what became of it. FormatError where the
    recording breaks, after all that is before."""
    held, about = _Held(), describe(recording)
    wall = int(recording.header["wall"])
    try:
        for record in decoded(recording):
            yield from held.taken(_told(wall, record, about, held))
    except FormatError:
        yield from held.rest()
        raise
    end = recording.end
    if end is not None and end.status in ("closed", "terminated"):
        held.settle(_BLOCKED, {"state": "unanswered"})
    yield from held.rest()


class _Held:
    """What waits for the answer to a command, in order, and what is known so far."""

    def __init__(self) -> None:
        self.who: dict[str, Any] = {}
        self.upstream = ""
        self._line: list[dict[str, Any]] = []
        self._open: list[dict[str, Any]] = []

    def wait(self, event: dict[str, Any]) -> None:
        """A command that runs only when somebody approves it."""
        self._open.append(event)

    def hear(self, entry: Event) -> None:
        """It says what became of the commands that are held."""
        if entry.kind == "identity":
            self.who = dict(entry.fields)
        elif entry.kind == "destination":
            self.upstream = str(entry.fields.get("upstream", ""))
        elif entry.kind == "refusal":
            self.settle(_BLOCKED, {})
        elif entry.kind == "approval":
            state = str(entry.fields.get("state", ""))
            told = {name: entry.fields[name] for name in ("id", "state", "approvers")
                    if name in entry.fields}  # fmt: skip
            if state in ("approved", "consumed"):
                self.settle(_APPROVED, told)
            elif state != "pending":
                self.settle(_BLOCKED, told)

    def settle(self, outcome: tuple[int, int, int, int], told: dict[str, Any]) -> None:
        """This became of them."""
        for event in self._open:
            event.update(zip(_OUTCOME, outcome, strict=True))
            if told:
                event["unmapped"]["approval"] = told
        self._open.clear()

    def taken(self, made: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Those that need not wait any more."""
        for event in made:
            self._line.append(event)
        if not self._open or len(self._line) > _WAITING:
            yield from self.rest()

    def rest(self) -> Iterator[dict[str, Any]]:
        """All of them, as they are."""
        line, self._line = self._line, []
        self._open.clear()
        yield from line


def _told(wall: int, record: Record, about: Line, held: _Held) -> Iterator[dict[str, Any]]:
    for entry in record.entries:
        if isinstance(entry, Event):
            held.hear(entry)
        elif isinstance(entry, CommandEntry):
            event = _event(wall, record, entry, about, held)
            if entry.verdict == _HOLD and entry.phase == "run":
                held.wait(event)
            yield event


def _event(
    wall: int, record: Record, entry: CommandEntry, about: Line, held: _Held
) -> dict[str, Any]:
    who = held.who
    word = (entry.text.split() or [""])[0].lower()
    git = about.protocol == "git-ssh"
    if git:
        activity, named = _GIT.get(word, _OTHER)
    else:
        activity = _SQL.get(word, 99)
        named = _NAMES.get(activity, "Other")
    kind = 6003 if git else 6005
    outcome = {_HOLD: _DELAYED, _BLOCK: _BLOCKED}.get(entry.verdict, _ALLOWED)
    groups = who.get("groups", about.groups)
    event: dict[str, Any] = {
        "activity_id": activity,
        "activity_name": named,
        "category_uid": 6,
        "category_name": "Application Activity",
        "class_uid": kind,
        "class_name": "API Activity" if git else "Datastore Activity",
        "type_uid": kind * 100 + activity,
        "time": (wall + record.at) // 1_000_000,
        **dict(zip(_OUTCOME, outcome, strict=True)),
        "message": entry.reason or verdict_name(entry.verdict),
        "metadata": {
            "version": VERSION,
            "profiles": ["security_control"],
            "product": {"name": "Wirewarden", "vendor_name": "Wirewarden"},
            "uid": f"{about.session}/{record.seq}/{entry.number}",
            "log_name": about.session,
        },
        "actor": {
            "user": {
                "name": who.get("subject", about.principal),
                "uid": who.get("subject", about.principal),
                "groups": [{"name": str(name)} for name in groups],
            },
            "session": {"uid": about.session, "issuer": who.get("issuer", about.issuer)},
        },
        # The schema wants one of its names or addresses at least.
        "src_endpoint": _endpoint(about.peer) or {"name": "unknown"},
        "dst_endpoint": _endpoint(held.upstream) | {"name": about.target or "unknown"},
        "unmapped": {
            "protocol": about.protocol, "phase": entry.phase, "run": about.run,
            "verdict": verdict_name(entry.verdict), "rules": list(entry.rules),
            "masks": list(entry.masks), "policy": entry.policy, "tags": about.tags,
        },
    }  # fmt: skip
    if git:
        event["api"] = {"operation": word, "request": {"uid": str(entry.number)},
                        "service": {"name": "git"}}  # fmt: skip
        event["unmapped"]["text"] = entry.text
    else:
        event["type_id"] = 1
        event["database"] = {"name": about.database, "type_id": 1}
        event["query_info"] = {"query_string": entry.text}
    return event


def _endpoint(place: str) -> dict[str, Any]:
    """``10.0.0.1``, ``10.0.0.1:5432``, ``[::1]:5432``, ``db:5432`` as a network endpoint."""
    host, _, port = place.rpartition(":")
    if not (host and port.isascii() and port.isdecimal()) or _is_address(place):
        host, port = place, ""
    host = host.removeprefix("[").removesuffix("]")
    found: dict[str, Any] = {}
    if host:
        found["ip" if _is_address(host) else "hostname"] = host
    if port:
        found["port"] = int(port)
    return found


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
