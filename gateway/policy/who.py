"""``who`` and ``except``: conditions on the principal.

``kind``, ``issuer``, ``subject``, ``run`` are patterns, ``groups`` names of
which the principal is in at least one, ``tags`` and ``claims`` tables of
patterns, all of which must hold.  A principal is proven, so a tag or claim that
it doesn't have is absent and not unknown: it matches nothing, in any rule.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from gateway.policy.conditions import Condition, Judged, Shape, Shown
from gateway.policy.fields import Table
from gateway.policy.globs import compile_globs
from gateway.policy.principal import Principal
from gateway.policy.words import nearest
from protocols.contract import Command, Part

KINDS = ("agent", "ci", "person")
Read = Callable[[Principal], "str | None"]


def read_who(table: Table, known_groups: frozenset[str] | None) -> list[Condition]:
    """The conditions of a ``who`` table."""
    found: list[Condition] = []
    kinds = table.words("kind", KINDS, "kind of principal")
    if kinds is not None:
        found.append(_matching("who.kind", kinds, lambda who: who.kind))
    texts: tuple[tuple[str, Read], ...] = (
        ("issuer", lambda who: who.issuer),
        ("subject", lambda who: who.subject),
        ("run", lambda who: who.run or None),
    )
    for key, read in texts:
        patterns = table.globs(key)
        if patterns is not None:
            found.append(_matching(f"who.{key}", patterns, read))
    groups = group_names(table, "groups", known_groups)
    if groups is not None:
        found.append(_in_groups(groups))
    for key in ("tags", "claims"):
        inner = table.table(key)
        for name in inner.raw if inner else ():
            assert inner is not None
            patterns = inner.globs(name)
            if patterns is not None:
                found.append(_matching(f"who.{key}.{name}", patterns, _reader(key, name)))
        if inner is not None and not inner.raw:
            table.fault(key, "an empty table says nothing")
    table.close()
    if not table.raw:
        table.fault(None, "an empty table says nothing")
    return found


def read_except(table: Table, known_groups: frozenset[str] | None) -> Condition | None:
    """``except``: the rule isn't for principals that meet all of this."""
    conditions = read_who(table, known_groups)
    if not conditions:
        return None

    def judge(part: Part, command: Command, principal: Principal, now: datetime | None) -> bool:
        return not all(c.permit(part, command, principal, now) for c in conditions)

    def show(part: Part, command: Command, principal: Principal, now: datetime | None) -> object:
        return {c.key[4:]: c.show(part, command, principal, now) for c in conditions}

    shape = Shape("except", tuple(sorted((c.key, c.shape.items) for c in conditions)))
    return Condition("except", shape, judge, judge, show)


def group_names(table: Table, key: str, known: frozenset[str] | None) -> tuple[str, ...] | None:
    """A list of groups, each of which must be known, if it is known which are."""
    if known is None:
        return table.strings(key, lambda name: "" if name else "an empty name")
    return table.strings(
        key, lambda name: "" if name in known else f'unknown group "{name}"{nearest(name, known)}'
    )


def _reader(key: str, name: str) -> Read:
    if key == "tags":
        return lambda who: who.tags.get(name)
    return lambda who: who.claims.get(name)


def _matching(key: str, patterns: tuple[str, ...], read: Read) -> Condition:
    test = compile_globs(patterns)

    def judge(part: Part, command: Command, principal: Principal, now: datetime | None) -> bool:
        value = read(principal)
        return value is not None and test(value)

    show: Shown = lambda part, command, principal, now: read(principal)  # noqa: E731
    return Condition(key, Shape("globs", tuple(sorted(patterns))), judge, judge, show)


def _in_groups(groups: tuple[str, ...]) -> Condition:
    wanted = frozenset(groups)
    judge: Judged = (  # noqa: E731
        lambda part, command, principal, now: not wanted.isdisjoint(principal.groups)
    )
    show: Shown = lambda part, command, principal, now: sorted(principal.groups)  # noqa: E731
    return Condition("who.groups", Shape("words", tuple(sorted(wanted))), judge, judge, show)
