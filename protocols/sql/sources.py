"""Which relations the computed columns of a result may come from.

Which way it errs: to None (unknown). A statement's values come from what it
reads, unless a function in it reads something that the text doesn't show: so
only functions are let through that compute, or whose answer is a number or a
truth of the server's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from protocols.contract import Part
from protocols.sql.analyse import analyse
from protocols.sql.harmless import HARMLESS, HARMLESS_SCHEMA
from protocols.sql.nodes import listed

_TELL_NOTHING = frozenset(
    listed("""
nextval setval currval lastval set_config lo_creat lo_create lo_from_bytea lo_put lo_unlink
pg_advisory_lock pg_advisory_lock_shared pg_advisory_unlock pg_advisory_unlock_all
pg_advisory_unlock_shared pg_advisory_xact_lock pg_advisory_xact_lock_shared
pg_try_advisory_lock pg_try_advisory_lock_shared pg_try_advisory_xact_lock
pg_try_advisory_xact_lock_shared pg_sleep pg_sleep_for pg_sleep_until pg_cancel_backend
pg_terminate_backend pg_notify pg_reload_conf pg_rotate_logfile pg_switch_wal
pg_create_restore_point pg_stat_reset pg_stat_reset_shared
""")
)
"""They do something, and what they return holds no value of a table. (What
``set_config`` is given is a constant in a complete part.)"""
_ANSWERS = HARMLESS | HARMLESS_SCHEMA | _TELL_NOTHING
_KEPT = "current_setting"


class Sources(NamedTuple):
    """``tables``: names of relations, as facts write them; ``columns`` likewise,
    with more than is read where the text leaves it open. ``settings``: a value
    may be that of a setting."""

    tables: tuple[str, ...]
    columns: tuple[str, ...] = ()
    settings: bool = False


def sources(parts: Iterable[Part]) -> Sources | None:
    """What the parts of one statement read; None when that can't be told."""
    tables: dict[str, None] = {}
    columns: dict[str, None] = {}
    settings = False
    for part in parts:
        facts = part.facts
        named, read, called = facts.get("tables"), facts.get("columns"), facts.get("functions")
        if not part.complete or part.action == "sql.call":
            return None
        if not (isinstance(named, tuple) and isinstance(read, tuple) and isinstance(called, tuple)):
            return None
        for name in called:
            if name.removeprefix("pg_catalog.") not in _ANSWERS:
                return None
            settings = settings or name == _KEPT
        settings = settings or part.action == "sql.show"
        tables.update(dict.fromkeys(named))
        columns.update(dict.fromkeys(read))
    return Sources(tuple(tables), tuple(columns), settings)


def sources_of_view(text: str) -> Sources | None:
    """The same of the SELECT that defines a view."""
    statements = analyse(text, 1 << 18).statements
    return sources(statements[0].parts) if len(statements) == 1 else None
