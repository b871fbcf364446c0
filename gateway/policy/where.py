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
                      ``only``: no name that doesn't match (none at all is fine);
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
from gateway.policy.globs import Test, compile_globs
from gateway.policy.names import narrow, wide
from gateway.policy.principal import Principal
from gateway.policy.words import nearest
from protocols.contract import Command, FactKind, Part

COMPLETE = "complete"
"""A flag that every part has: all that it does is known."""

_QUANTIFIERS = ("any", "all", "only", "none", "outside")

Value = Callable[[object], bool]


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
    def value(part: Part, command: Command, principal: Principal, now: datetime | None) -> object:
        return part.complete if fact == COMPLETE else part.facts.get(fact)

    def judged(test: Value, unknown: bool) -> Judged:
        def judge(part: Part, command: Command, principal: Principal, now: datetime | None) -> bool:
            known = part.facts.get(fact)
            return unknown if known is None else test(known)

        return judge

    def whole(test: Value) -> Judged:
        return lambda part, command, principal, now: test(part.complete)

    return Condition(
        key=f"where.{fact}",
        shape=shape,
        restrict=whole(restrict) if fact == COMPLETE else judged(restrict, True),
        permit=whole(permit) if fact == COMPLETE else judged(permit, False),
        show=value,
        index=None if index is None else (fact, index),
    )


def _flag(table: Table, fact: str) -> Condition | None:
    wanted = table.flag(fact)
    if wanted is None:
        return None
    test: Value = (lambda known: known is True) if wanted else (lambda known: known is False)
    return _condition(fact, Shape("words", (wanted,)), test, test)


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
            test,  # type: ignore[arg-type]
            test,  # type: ignore[arg-type]
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
        loose, strict = wide(patterns), narrow(patterns, relation=relation)
        tails = frozenset(p.rpartition(".")[2] for p in patterns)
        return _condition(
            fact,
            Shape("names", tuple(sorted(patterns))),
            _quantify("any", loose),
            _quantify("all", strict),
            tails if not any("*" in tail for tail in tails) else None,
        )
    parts = _quantified(table, fact, _QUANTIFIERS)
    if parts is None:
        return None
    restrict: list[Value] = []
    permit: list[Value] = []
    for word, patterns in parts.items():
        loose, strict = wide(patterns), narrow(patterns, relation=relation)
        if word in ("none", "outside"):  # matching less is what errs to matching more
            loose, strict = strict, loose
        restrict.append(_quantify(word, loose))
        permit.append(_quantify(word, strict))
    return _condition(
        fact, Shape("names table", tuple(sorted(parts.items()))), _every(restrict), _every(permit)
    )


def _every(tests: list[Value]) -> Value:
    return tests[0] if len(tests) == 1 else lambda known: all(test(known) for test in tests)


def _quantify(word: str, test: Test) -> Value:
    def some(known: tuple[str, ...]) -> bool:
        # A generator expression would cost more than the tests.
        for name in known:  # noqa: SIM110
            if test(name):
                return True
        return False

    def only(known: tuple[str, ...]) -> bool:
        for name in known:  # noqa: SIM110
            if not test(name):
                return False
        return True

    forms: dict[str, Callable[[tuple[str, ...]], bool]] = {
        "any": some,
        "all": lambda known: bool(known) and only(known),
        "only": only,
        "none": lambda known: not some(known),
        "outside": lambda known: not only(known),
    }
    return forms[word]  # type: ignore[return-value]


def _quantified(
    table: Table, fact: str, words: tuple[str, ...]
) -> dict[str, tuple[str, ...]] | None:
    """The lists of a table such as ``{any = [...], none = [...]}``."""
    inner = table.table(fact)
    assert inner is not None
    found = {}
    for word in words:
        patterns = inner.globs(word)
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
