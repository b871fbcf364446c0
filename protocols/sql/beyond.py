"""What a statement does beyond its verb, as parts of their own.

``SELECT set_config(…)`` is a SET in other clothes, ``SELECT pg_reload_conf()`` an
administrator's act. A rule that allows ``sql.select`` means reading, so what a
function call does besides gets a part with the action that it amounts to, and has
to be permitted, or is blocked, as that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from protocols.contract import Effect, EffectKind, Part

_QUERIES: Final = frozenset(
    f"sql.{verb}"
    for verb in ("select", "insert", "update", "delete", "merge", "copy_in", "copy_out", "explain")
)
_WRITERS: Final = _QUERIES - {"sql.select", "sql.copy_out", "sql.explain"}
_HARMLESS: Final = frozenset({"pg_sleep", "pg_sleep_for", "pg_sleep_until"})
"""They hold nothing but their own session up."""


def beyond(parts: Iterable[Part]) -> tuple[Part, ...]:
    """``parts``, each followed by what it does beyond its action. Such a part
    has the facts of the one it comes from, but for ``verb``."""
    found: list[Part] = []
    for part in parts:
        found.append(part)
        if part.action not in _QUERIES:
            continue
        more: dict[str, list[Effect]] = {}
        for effect in part.effects:
            action = _amounts_to(effect, part.action)
            if action:
                more.setdefault(action, []).append(effect)
        for action, effects in more.items():
            facts = {**part.facts, "verb": action.removeprefix("sql.")}
            found.append(Part(action, tuple(effects), facts, part.complete, part.why_incomplete))
    return tuple(found)


def _amounts_to(effect: Effect, action: str) -> str:
    """The action of ``effect`` on its own, "" where ``action`` covers it.
    Row locks of SELECT … FOR UPDATE count as part of the SELECT."""
    if effect.kind is EffectKind.CONTROL:
        if effect.of == "setting":
            return "sql.set"
        if effect.of == "function":
            if effect.object in _HARMLESS:
                return ""
            if effect.object == "pg_notify":
                return "sql.notify"
            return "sql.lock" if effect.object.startswith("pg_advisory_") else "sql.admin"
        return ""
    if effect.kind is EffectKind.WRITE and effect.of != "relation":
        # A sequence that an INSERT moves on is part of inserting.
        return "" if effect.of == "sequence" and action in _WRITERS else "sql.call"
    return ""
