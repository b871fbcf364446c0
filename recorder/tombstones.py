"""What was deleted, by which rule: JSON lines in ``tombstones.jsonl``, written before a
file goes. Each line has the SHA-256 of the one before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from recorder.catalog import Line
from recorder.lines import append_line, whole_lines

NAME = "tombstones.jsonl"
SCHEMA = "wirewarden.tombstone/1"
_FIRST = "0" * 64


class TombstoneError(Exception):
    """The tombstones are not what was written."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """``line`` is what ``list`` said of the session; ``root`` (hex) the root of its Log;
    ``size`` its bytes; ``verified`` what ``verify`` said of it; ``at`` RFC 3339 in UTC."""

    line: Line
    root: str
    size: int
    verified: str
    at: str
    rule: str
    by: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the row of the session, and what became of it."""
        told = {"deleted": self.at, "rule": self.rule, "by": self.by, "root": self.root}
        more = {"size": self.size, "verified": self.verified}
        return {**self.line.as_dict(), **told, **more}


def tombstones(state: Path) -> Iterator[Tombstone]:
    """All of them, oldest first. Raises ``TombstoneError`` where they break, ``OSError``."""
    for _, told in _lines(state):
        line = {field.name: told[field.name] for field in fields(Line)}
        line["groups"] = tuple(line["groups"])
        found = (told[key] for key in ("root", "size", "verified", "deleted", "rule", "by"))
        yield Tombstone(Line(**line), *found)


def _lines(state: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    previous = _FIRST
    for number, text in enumerate(whole_lines(state / NAME), 1):
        where = f"{state / NAME}, line {number}"
        try:
            told = json.loads(text.decode("ascii"))
            wanted = {field.name for field in fields(Line)} | {"root", "size", "verified"}
            if told["schema"] != SCHEMA or not wanted <= {*told}:
                raise ValueError("it is no tombstone")
            said = told["previous"]
        except (ValueError, KeyError, TypeError) as error:
            raise TombstoneError(f"{where} can't be read: {error}") from None
        if said != previous:
            raise TombstoneError(f"{where} does not follow what is before it")
        previous = hashlib.sha256(text).hexdigest()
        yield text, told


def put_tombstone(state: Path, stone: Tombstone) -> None:
    """Add one, durably. The caller holds the lock of ``holds.locked``. Raises as reading does."""
    previous = _FIRST
    for text, _ in _lines(state):
        previous = hashlib.sha256(text).hexdigest()
    # As ``jsonable`` would: a principal may hold what is no UTF-8.
    told = {"schema": SCHEMA, **stone.as_dict(), "previous": previous}
    append_line(state / NAME, told)
