"""A rule, compiled: what it matches, as closures, and what it gives."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from gateway.policy.conditions import Condition, Judged
from gateway.policy.globs import Test, compile_globs
from gateway.policy.names import wide
from gateway.policy.principal import Principal
from gateway.policy.verdicts import Verdict
from protocols.contract import Part

DEFAULT = "default"
"""The id of what happens where no rule says anything."""
INCOMPLETE = "incomplete"
"""The id of the refusal of a part that may do more than it shows."""
OBJECTS = frozenset(("tables", "reads_tables", "columns", "reads_columns", "functions"))
"""Facts about which data is read. A view or a function reads under a name of its
own, so a mask rule on these applies to columns by their origins too."""
RESERVED = frozenset((DEFAULT, INCOMPLETE, "masks"))
WORDS = ("action", "principal", "rule", "target")
"""What a message may name besides facts."""
SHOWN = 300
"""Characters that one placeholder may take up in a message."""


Template: TypeAlias = "tuple[tuple[str, str | None], ...]"


@dataclass(frozen=True, slots=True)
class MaskItem:
    """``columns`` are patterns: with a dot, of a base column's name
    (``public.users.email``); without, of its last segment or of the result's
    label; after ``column:``, of the label only."""

    columns: tuple[str, ...]
    name: str
    args: Mapping[str, object]
    by_label: Test = field(repr=False)
    by_origin: Test = field(repr=False)
    needs_origin: bool
    """Could a column of unknown origin be one of ``columns``?"""


def mask_item(columns: tuple[str, ...], name: str, args: Mapping[str, object]) -> MaskItem:
    origins = [p for p in columns if not p.startswith("column:")]
    labels = [p.removeprefix("column:") for p in columns if p not in origins or "." not in p]
    return MaskItem(
        columns, name, args, compile_globs(labels), wide(origins), needs_origin=bool(origins)
    )


@dataclass(frozen=True, slots=True)
class Approve:
    groups: tuple[str, ...]
    count: int = 1
    ttl: float = 1800.0


@dataclass(frozen=True, slots=True)
class Rule:
    """``actions`` are all that it speaks about, spelt out. ``conditions`` are
    in the order in which they are tried. ``spells_unparsed``: it names the
    action of what wasn't understood, not through a pattern."""

    id: str
    line: int
    actions: frozenset[str]
    target: tuple[str, ...] | None
    conditions: tuple[Condition, ...]
    verdict: Verdict
    shadow: bool = False
    incomplete: bool = False
    spells_unparsed: bool = False
    approve: Approve | None = None
    masks: tuple[MaskItem, ...] = ()
    detect: frozenset[str] = frozenset()
    unresolved: str = "block"
    message: Template = ()
    who: tuple[Judged, ...] = field(default=(), repr=False)
    """The tests that look at the principal only."""
    static: tuple[Judged, ...] = field(default=(), repr=False)
    """The tests of its verdict's own reading that look at text and parts."""
    volatile: tuple[Judged, ...] = field(default=(), repr=False)
    """Those that look at parameters or the time."""
    permits: tuple[Judged, ...] = field(default=(), repr=False)
    """A mask rule's tests in the permitting reading."""
    objects: tuple[Judged, ...] = field(default=(), repr=False)
    """Those of a mask rule's static tests that look at which data is read."""
    besides: tuple[Judged, ...] = field(default=(), repr=False)
    """A mask rule's other static tests."""

    def accepts(self, part: Part) -> bool:
        """May this rule permit ``part`` as far as its completeness goes?"""
        if part.complete or self.incomplete:
            return True
        return self.spells_unparsed and part.action.endswith(".unparsed")


def render(rule: Rule, part: Part, principal: Principal, target: str) -> str:
    """The rule's message with its placeholders filled in, for a person: what
    comes from the command is cut short and can't carry control characters."""
    pieces = rule.message
    if not pieces:
        # That a rule blocks is told with its id, by each protocol in its own words.
        return f"held for approval by rule {rule.id}" if rule.verdict is Verdict.HOLD else ""
    if len(pieces) == 1 and pieces[0][1] is None:
        return pieces[0][0]
    return "".join(
        literal if name is None else literal + _shown(name, rule, part, principal, target)
        for literal, name in pieces
    )


def _shown(name: str, rule: Rule, part: Part, principal: Principal, target: str) -> str:
    own = {"action": part.action, "principal": principal.subject, "rule": rule.id}
    value = target if name == "target" else own[name] if name in own else part.facts.get(name)
    if value is None:
        return "(unknown)"
    return plain(", ".join(value) if isinstance(value, tuple) else str(value))


def plain(text: str) -> str:
    """``text`` for a terminal: cut short, control characters made visible."""
    if len(text) > SHOWN:
        text = text[: SHOWN - 1] + "…"
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


def template(message: str) -> Template:
    """``message`` in pieces: a literal, and the name of what follows it, or
    None. ValueError where it isn't a plain template."""
    pieces = []
    for literal, name, spec, conversion in string.Formatter().parse(message):
        if name is not None and (spec or conversion or not name.isidentifier()):
            raise ValueError(f'"{{{name}}}" is no plain placeholder')
        pieces.append((literal, name))
    return tuple(pieces)
