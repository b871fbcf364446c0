"""What the computed columns of a run may come from, as far as its session lets
its names be understood.

In a session that changed its search path, or has temporary tables, or ran what
can't be read, an unqualified name may be anything.  Facts write names with
dots, and some for short; whether a text qualified them, only its bytes tell.
Errs to unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from protocols.postgres.flight import Flight
from protocols.postgres.intent import Intent
from protocols.postgres.portals import Run, Statement
from protocols.sql.sources import Sources, sources
from protocols.sql.words import Statement as SqlStatement

_BARE_SYSTEM: Final = re.compile(rb"(?<![\w.$])\"?pg_(?!catalog\")(?!catalog\b)", re.IGNORECASE)


def origins_of(
    flight: Flight, run: Run, statement: SqlStatement | None, place: int
) -> Sources | None:
    """The sources of statement ``place`` of ``run``, None when unknown."""
    intent = run.intent
    if intent is None or statement is None or run.doubtful:
        return None
    if intent.steps:
        # Which of them runs by name what this is about is not kept: all.
        found = sources(run.parts)
    else:
        if place not in intent.sources:
            intent.sources[place] = sources(statement.parts)
        found = intent.sources[place]
    if found is None or (found.settings and flight.murky):
        return None
    if flight.displaced and found.tables and not _qualified(found.tables, _texts(run, intent)):
        return None
    return found


def _texts(run: Run, intent: Intent) -> list[bytes]:
    texts = [intent.raw]
    for one in run.runs:
        if one is not None:
            texts.append(one.intent.raw if isinstance(one, Statement) else one.raw)
    return texts


def _qualified(names: Iterable[str], texts: Iterable[bytes]) -> bool:
    """Is every one of ``names`` written with its schema in ``texts``?"""
    if not all("." in name for name in names):
        return False
    system = any(name.startswith("pg_catalog.") for name in names)
    for text in texts:
        if b"u&" in text.lower() or (system and _BARE_SYSTEM.search(text)):
            return False
        # A quoted name may have a dot of its own.
        if any(b"." in piece and piece != b"." for piece in text.split(b'"')[1:-1]):
            return False
    return True
