"""``where``: conditions on the facts of a part.

====================  =======================================================
fact                  a condition on it
====================  =======================================================
text                  a pattern or a list (any of them), ``{any, none}``
number                a number, a list, ``{min, max}``
flag                  ``true`` or ``false``
names                 a pattern or a list, or a table of
                      ``any``: some name matches;
                      ``all``: there is one, and every name matches;
                      ``only``: no name that doesn't match (``[]``: no name at all);
                      ``none``: no name matches;
                      ``outside``: some name doesn't match.
====================  =======================================================

A bare pattern on names means ``any`` in a rule that restricts and ``all`` in
one that permits: ``tables = "public.orders"`` in an allow rule doesn't let a
join with ``payroll`` through, and in a block rule it stops one.  What a table
says is taken as written in both.

A fact that is None or absent is unknown: it matches where the rule restricts
and doesn't where it permits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from gateway.policy.conditions import Condition, Judged, Shape
from gateway.policy.fields import Table
from gateway.policy.globs import compile_globs
from gateway.policy.names import narrow, wide
from gateway.policy.principal import Principal
from gateway.policy.quantifiers import QUANTIFIERS, Value, all_names, any_name, every, quantify
from gateway.policy.words import nearest
from protocols.contract import Command, FactKind, Part

COMPLETE = "complete"
"""A flag that every part has: all that it does is known."""


def read_where(table: Table, facts: Mapping[str, FactKind]) -> list[Condition]:
    """The conditions of a ``where`` table on ``facts``."""
    found: list[Condition] = []
    kinds = {**facts, COMPLETE: FactKind.FLAG}
    for fact in table.raw:
        kind = kinds.get(fact)
        if kind is None:
            table.fault(fact, f'unknown fact "{fact}"{nearest(fact, kinds)}')
        elif condition := _READERS[kind](table, fact):
            found.append(condition)
    return found


def _condition(
    fact: str,
    shape: Shape,
    restrict: Value,
    permit: Value,
    index: frozenset[str] | None = None,
) -> Condition:
    def restricts(part: Part, command: Command, principal: Principal, now: datetime | None) -> bool:
        known = part.facts.get(fact)
        return known is None or restrict(known)

    def permits(part: Part, command: Command, principal: Principal, now: datetime | None) -> bool:
        known = part.facts.get(fact)
        return known is not None and permit(known)

    return _on_fact(fact, shape, restricts, permits, index)


def _on_fact(
    fact: str,
    shape: Shape,
    restricts: Judged,
    permits: Judged,
    index: frozenset[str] | None = None,
) -> Condition:
    def value(part: Part, command: Command, principal: Principal, now: datetime | None) -> object:
        return part.complete if fact == COMPLETE else part.facts.get(fact)

    where = None if index is None else (fact, index)
    return Condition(f"where.{fact}", shape, restricts, permits, value, index=where)


def _flag(table: Table, fact: str) -> Condition | None:
    wanted = table.flag(fact)
    if wanted is None:
        return None
    unwanted = not wanted

    def whole(part: Part, command: Command, principal: Principal, now: datetime | None) -> bool:
        return part.complete is wanted

    def restricts(part: Part, command: Command, principal: Principal, now: datetime | None) -> bool:
        return part.facts.get(fact) is not unwanted

    def permits(part: Part, command: Command, principal: Principal, now: datetime | None) -> bool:
        return part.facts.get(fact) is wanted

    shape = Shape("words", (wanted,))
    if fact == COMPLETE:
        return _on_fact(fact, shape, whole, whole)
    return _on_fact(fact, shape, restricts, permits)


def _number(table: Table, fact: str) -> Condition | None:
    raw = table.raw[fact]
    if isinstance(raw, dict):
        bounds = table.table(fact)
        assert bounds is not None
        low, high = (
            bounds.whole("min", -(1 << 63), 1 << 63),
            bounds.whole("max", -(1 << 63), 1 << 63),
        )
        bounds.close()
        if low is None and high is None:
            if not bounds.raw:
                table.fault(fact, "needs min or max")
            return None
        if low is not None and high is not None and low > high:
            table.fault(fact, f"can never match: min {low} is above max {high}")
            return None
        least = float("-inf") if low is None else low
        most = float("inf") if high is None else high

        def inside(known: object) -> bool:
            return isinstance(known, int) and least <= known <= most

        return _condition(fact, Shape("range", (least, most)), inside, inside)
    items = raw if isinstance(raw, list) else [raw]
    if not items:
        table.fault(fact, "an empty list can never match")
        return None
    if not all(type(item) is int for item in items):
        table.fault(fact, "must be a number, a list of numbers, or {min, max}")
        return None
    wanted = frozenset(items)
    return _condition(
        fact, Shape("words", tuple(sorted(wanted))), wanted.__contains__, wanted.__contains__
    )


def _text(table: Table, fact: str) -> Condition | None:
    if not isinstance(table.raw[fact], dict):
        patterns = table.globs(fact)
        if patterns is None:
            return None
        test = compile_globs(patterns)
        literal = not any("*" in p or "." in p for p in patterns)
        return _condition(
            fact,
            Shape("globs", tuple(sorted(patterns))),
            test,
            test,
            frozenset(patterns) if literal else None,
        )
    parts = _quantified(table, fact, ("any", "none"))
    if parts is None:
        return None
    yes = compile_globs(parts["any"]) if "any" in parts else None
    no = compile_globs(parts["none"]) if "none" in parts else None

    def meets(known: object) -> bool:
        text = str(known)
        return (yes is None or yes(text)) and not (no is not None and no(text))

    return _condition(fact, Shape("text table", tuple(sorted(parts.items()))), meets, meets)


def _names(table: Table, fact: str) -> Condition | None:
    relation = fact.endswith(("tables", "columns"))
    if not isinstance(table.raw[fact], dict):
        patterns = table.globs(fact)
        if patterns is None:
            return None
        tails = frozenset(p.rpartition(".")[2] for p in patterns)
        return _on_fact(
            fact,
            Shape("names", tuple(sorted(patterns))),
            any_name(fact, wide(patterns)),
            all_names(fact, narrow(patterns, relation=relation)),
            tails if not any("*" in tail for tail in tails) else None,
        )
    parts = _quantified(table, fact, QUANTIFIERS)
    if parts is None:
        return None
    restrict: list[Value] = []
    permit: list[Value] = []
    for word, patterns in parts.items():
        loose, strict = wide(patterns), narrow(patterns, relation=relation)
        if word in ("none", "outside"):  # matching less is what errs to matching more
            loose, strict = strict, loose
        restrict.append(quantify(word, loose))
        permit.append(quantify(word, strict))
    return _condition(
        fact, Shape("names table", tuple(sorted(parts.items()))), every(restrict), every(permit)
    )


def _quantified(
    table: Table, fact: str, words: tuple[str, ...]
) -> dict[str, tuple[str, ...]] | None:
    """The lists of a table such as ``{any = [...], none = [...]}``."""
    inner = table.table(fact)
    assert inner is not None
    found = {}
    for word in words:
        patterns = inner.globs(word, empty=word == "only")
        if patterns is not None:
            found[word] = tuple(sorted(patterns))
    inner.close()
    if not found:
        if not inner.raw:
            table.fault(fact, "an empty table says nothing")
        return None
    refused = compile_globs(found.get("none", ()))
    for word in ("any", "all"):
        if word in found and all(refused(pattern) for pattern in found[word]):
            inner.fault(word, f'can never match: "none" refuses all that "{word}" wants')
            return None
    wanted = found.get("all", ()) + found.get("only", ())
    inside = compile_globs(found.get("outside", ()))
    if wanted and all(inside(pattern) for pattern in wanted):
        inner.fault("outside", "can never match: no name that may be there is outside")
        return None
    return found


_READERS: dict[FactKind, Callable[[Table, str], Condition | None]] = {
    FactKind.TEXT: _text,
    FactKind.NUMBER: _number,
    FactKind.FLAG: _flag,
    FactKind.NAMES: _names,
}
