"""Legal holds: sessions that must not be deleted, whatever the rules say.

JSON lines that only grow: each adds a hold or takes one away. They lie in ``holds.jsonl``, and
where gateways share a database, there, for all of their sessions; what a gateway had before in
its file still stands. A line that can't be read, and a database that can't be asked, stop all
deletion.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recorder.catalog import Line
from recorder.index.wanted import Wanted
from recorder.lines import append_line, whole_lines
from recorder.store import StoreError, store_of_environment

if TYPE_CHECKING:
    from recorder.shared_lines import SharedLines

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
def locked(state: Path, shared: bool = True) -> Iterator[None]:
    """Between a look at the holds and a deletion nobody may add one. Not ``shared``: only nothing
    is deleted here meanwhile. Raises ``HoldError``, ``OSError``."""
    lock = os.open(state / "retention.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with ExitStack() as stack:
        stack.callback(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if shared:
            with _told() as book:
                if book is not None:
                    stack.enter_context(_locked(book))
        yield


def holds(state: Path) -> list[Hold]:
    """Those that stand. Raises ``HoldError``, ``OSError``."""
    found = _standing(whole_lines(state / NAME), str(state / NAME))
    with _told() as book:
        if book is not None:
            found |= _standing((line.encode() for line in book.lines()), "the shared holds")
    return [*found.values()]


def _standing(lines: Iterable[bytes], where: str) -> dict[str, Hold]:
    standing: dict[str, Hold] = {}
    for number, text in enumerate(lines, 1):
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
            raise HoldError(f"{where}, line {number} can't be read: {error}") from None
    return standing


@contextmanager
def _told() -> Iterator[SharedLines | None]:
    """What gateways share, if they do. ``HoldError`` where it can't be asked."""
    try:
        url = store_of_environment().index
    except StoreError as error:
        raise HoldError(str(error)) from None
    if not url:
        yield None
        return
    try:
        from recorder.shared_lines import SharedLinesError, shared_lines
    except ImportError:
        raise HoldError("PostgreSQL needs psycopg: install wirewarden[store]") from None
    try:
        yield shared_lines(url)
    except SharedLinesError as error:
        raise HoldError(f"the shared holds can't be asked: {error}") from None


@contextmanager
def _locked(book: SharedLines) -> Iterator[None]:
    from recorder.shared_lines import SharedLinesError

    try:
        with book.locked():
            yield
    except SharedLinesError as error:
        raise HoldError(f"the shared holds can't be asked: {error}") from None


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
        with _told() as book:
            _append(state, book, told)
    return hold


def _append(state: Path, book: SharedLines | None, told: dict[str, Any]) -> None:
    if book is None:
        append_line(state / NAME, told)
    else:
        book.add(json.dumps(told, ensure_ascii=True, separators=(",", ":")))


def lift_hold(state: Path, hold: str, by: str, reason: str) -> None:
    """Take a hold away. Raises ``HoldError``, ``ValueError``, ``OSError``."""
    if not by or not reason:
        raise ValueError("taking a hold away says who did it and why")
    with locked(state):
        if hold not in {each.id for each in holds(state)}:
            raise HoldError(f"no hold {hold}")
        at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        told = {"schema": SCHEMA, "event": "removed", "id": hold, "at": at}
        told |= {"by": by, "reason": reason}
        here = hold in _standing(whole_lines(state / NAME), str(state / NAME))
        with _told() as book:
            _append(state, None if here else book, told)
