"""A rule, compiled: what it matches, as closures, and what it gives."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.policy.conditions import Condition, Judged
from gateway.policy.globs import Test, compile_globs
from gateway.policy.names import wide
from gateway.policy.principal import Principal
from gateway.policy.verdicts import Verdict
from protocols.contract import Command, Part

DEFAULT = "default"
"""The id of what happens where no rule says anything."""
INCOMPLETE = "incomplete"
"""The id of the refusal of a part that may do more than it shows."""
RESERVED = frozenset((DEFAULT, INCOMPLETE, "masks"))
WORDS = ("action", "principal", "rule", "target")
"""What a message may name besides facts."""
SHOWN = 300
"""Characters that one placeholder may take up in a message."""


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
    message: str = ""
    static: tuple[Judged, ...] = field(default=(), repr=False)
    """The tests of its verdict's own reading that look at text and principal."""
    volatile: tuple[Judged, ...] = field(default=(), repr=False)
    """Those that look at parameters or the time."""
    permits: tuple[Judged, ...] = field(default=(), repr=False)
    """A mask rule's tests in the permitting reading."""

    def accepts(self, part: Part) -> bool:
        """May this rule permit ``part`` as far as its completeness goes?"""
        if part.complete or self.incomplete:
            return True
        return self.spells_unparsed and part.action.endswith(".unparsed")


def render(rule: Rule, part: Part, command: Command, principal: Principal, target: str) -> str:
    """The rule's message with its placeholders filled in, for a person: what
    comes from the command is cut short and can't carry control characters."""
    if not rule.message:
        verb = {Verdict.BLOCK: "blocked", Verdict.HOLD: "held for approval"}.get(rule.verdict)
        return f"{verb} by rule {rule.id}" if verb else ""
    out = []
    for literal, name, _, _ in string.Formatter().parse(rule.message):
        out.append(literal)
        if name is not None:
            out.append(_shown(name, rule, part, principal, target))
    return "".join(out)


def _shown(name: str, rule: Rule, part: Part, principal: Principal, target: str) -> str:
    own = {"action": part.action, "principal": principal.subject}
    own |= {"rule": rule.id, "target": target}
    value = own[name] if name in own else part.facts.get(name)
    if value is None:
        return "(unknown)"
    text = ", ".join(value) if isinstance(value, tuple) else str(value)
    text = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def placeholders(message: str) -> list[str]:
    """The names in ``message``; ValueError where it isn't a plain template."""
    names = []
    for _, name, spec, conversion in string.Formatter().parse(message):
        if name is None:
            continue
        if spec or conversion or not name.isidentifier():
            raise ValueError(f'"{{{name}}}" is no plain placeholder')
        names.append(name)
    return names
