"""Commands as OCSF 1.1 events (Open Cybersecurity Schema Framework), for SIEMs.

SQL and key-value commands are Datastore Activity (class 6005), git's API Activity (6003), in
category 6, with the profile ``security_control``. ``time`` is Unix milliseconds, ``type_uid`` is
``class_uid * 100 + activity_id``. What OCSF has no attribute for is in ``unmapped``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from recorder.catalog import describe
from recorder.reader import Recording, decoded
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
_SEVERITY = {0: 1, 1: 1, 2: 2, 3: 3}
"""By verdict: informational, low (held), medium (blocked)."""


def events(recording: Recording) -> Iterator[dict[str, Any]]:
    """One event per command. FormatError where the recording breaks."""
    about = describe(recording)
    header = recording.header
    upstream = ""
    who: dict[str, Any] = {}
    for record in decoded(recording):
        for entry in record.entries:
            if isinstance(entry, Event):
                if entry.kind == "identity":
                    who = dict(entry.fields)
                elif entry.kind == "destination":
                    upstream = str(entry.fields.get("upstream", ""))
                continue
            if not isinstance(entry, CommandEntry):
                continue
            word = (entry.text.split() or [""])[0].lower()
            git = about.protocol == "git-ssh"
            if git:
                activity, named = _GIT.get(word, _OTHER)
            else:
                activity = _SQL.get(word, 99)
                named = _NAMES.get(activity, "Other")
            kind = 6003 if git else 6005
            blocked = entry.verdict == 3
            groups = who.get("groups", about.groups)
            event: dict[str, Any] = {
                "activity_id": activity,
                "activity_name": named,
                "category_uid": 6,
                "category_name": "Application Activity",
                "class_uid": kind,
                "class_name": "API Activity" if git else "Datastore Activity",
                "type_uid": kind * 100 + activity,
                "time": (header["wall"] + record.at) // 1_000_000,
                "severity_id": _SEVERITY.get(entry.verdict, 1),
                "status_id": 2 if blocked else 1,
                "action_id": 2 if blocked else 1,
                "disposition_id": 2 if blocked else 1,
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
                "src_endpoint": _endpoint(about.peer),
                "dst_endpoint": _endpoint(upstream) | {"name": about.target},
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
                event["database"] = {"name": about.database, "type_id": 1}
                event["query_info"] = {"query_string": entry.text}
            yield event


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
