"""Legal holds: sessions that must not be deleted, whatever the rules say.

A file of JSON lines that only grows, ``holds.jsonl``: each line adds a hold or takes one away. A
line that can't be read stops all deletion.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recorder.catalog import Line
from recorder.index.wanted import Wanted
from recorder.lines import append_line, whole_lines

NAME = "holds.jsonl"
SCHEMA = "wirewarden.hold/1"
TEXTS = ("principal", "group", "run", "target", "database", "protocol", "status")
"""What a hold can choose sessions by, beside tags and times."""


class HoldError(Exception):
    """The holds can't be read, or there is none of that id."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Either of one ``session``, or of all that ``wanted`` chooses, also later ones. ``at``,
    ``by``, ``reason``: of who put it there."""

    id: str
    at: str
    by: str
    reason: str
    session: str = ""
    wanted: Wanted | None = None

    def covers(self, line: Line) -> bool:
        """Whether it is about that session."""
        if self.wanted is None:
            return line.session == self.session
        return self.wanted.session(line)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        told: dict[str, Any] = {"id": self.id, "at": self.at, "by": self.by, "reason": self.reason}
        if self.wanted is None:
            return {**told, "session": self.session}
        return {**told, "filter": filter_of(self.wanted)}


def filter_of(wanted: Wanted) -> dict[str, Any]:
    """What of ``wanted`` a hold keeps; ``ValueError`` for nothing at all or what it can't."""
    if wanted.about_items or wanted.approval or wanted.denied or wanted.held or wanted.masked:
        raise ValueError("a hold chooses by who, where and when only")
    told: dict[str, Any] = {
        key: getattr(wanted, key) for key in TEXTS if getattr(wanted, key) is not None
    }
    if wanted.tags:
        told["tags"] = [list(tag) for tag in wanted.tags]
    for key in ("since", "until"):
        when = getattr(wanted, key)
        if when is not None:
            told[key] = when.isoformat()
    if not told:
        raise ValueError("a hold on everything needs a filter that says so (--since 2000-01-01)")
    return told


@contextmanager
def locked(state: Path) -> Iterator[None]:
    """Between a look at the holds and a deletion nobody may add one."""
    lock = os.open(state / "retention.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def holds(state: Path) -> list[Hold]:
    """Those that stand. Raises ``HoldError``, ``OSError``."""
    standing: dict[str, Hold] = {}
    for number, text in enumerate(whole_lines(state / NAME), 1):
        try:
            told = json.loads(text.decode("ascii"))
            if told["schema"] != SCHEMA:
                raise ValueError(told["schema"])
            if told["event"] == "removed":
                standing.pop(told["id"])
                continue
            hold = Hold(told["id"], told["at"], told["by"], told["reason"])
            if "session" in told:
                standing[hold.id] = replace(hold, session=told["session"])
            else:
                standing[hold.id] = replace(hold, wanted=_wanted(told["filter"]))
        except (ValueError, KeyError, TypeError) as error:
            raise HoldError(f"{state / NAME}, line {number} can't be read: {error}") from None
    return [*standing.values()]


def _wanted(told: dict[str, Any]) -> Wanted:
    unknown = {*told} - {*TEXTS, "tags", "since", "until"}
    if unknown or not told:
        raise ValueError(f"unknown filters: {', '.join(sorted(unknown))}")
    texts: dict[str, Any] = {key: str(told[key]) for key in TEXTS if key in told}
    times = {k: datetime.fromisoformat(told[k]) for k in ("since", "until") if k in told}
    tags = tuple((str(key), str(value)) for key, value in told.get("tags", []))
    return Wanted(**texts, tags=tags, since=times.get("since"), until=times.get("until"))


def put_hold(state: Path, by: str, reason: str, on: str | Wanted) -> Hold:
    """Hold a session, or what a filter chooses. Durable when it returns. ``ValueError`` for a
    filter that a hold can't have; ``HoldError``, ``OSError``."""
    if not by or not reason:
        raise ValueError("a hold says who put it there and why")
    at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    hold = Hold(f"hold-{secrets.token_hex(4)}", at, by, reason)
    hold = replace(hold, session=on) if isinstance(on, str) else replace(hold, wanted=on)
    told = {"schema": SCHEMA, "event": "added", **hold.as_dict()}
    with locked(state):
        holds(state)
        append_line(state / NAME, told)
    return hold


def lift_hold(state: Path, hold: str, by: str, reason: str) -> None:
    """Take a hold away. Raises ``HoldError``, ``ValueError``, ``OSError``."""
    if not by or not reason:
        raise ValueError("taking a hold away says who did it and why")
    with locked(state):
        if hold not in {each.id for each in holds(state)}:
            raise HoldError(f"no hold {hold}")
        at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        told = {"schema": SCHEMA, "event": "removed", "id": hold, "at": at}
        append_line(state / NAME, {**told, "by": by, "reason": reason})
