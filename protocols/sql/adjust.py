"""Parts seen in the light of what the text alone does not tell: prepared
statements, functions that shadow PostgreSQL's own, functions that the
operator vouches for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from protocols.contract import Part
from protocols.sql.findings import not_known, not_prepared, plain
from protocols.sql.words import Prepared, Statement


def resolve(statement: Statement, prepared: Prepared) -> tuple[Part, ...]:
    """The parts of a statement that executes ``prepared``: its own, now
    complete if the name was all that was missing, then the prepared ones.
    (A plain EXPLAIN EXECUTE is judged as if it ran.)"""
    own = [_without(part, [not_prepared(statement.execute or "")]) for part in statement.parts]
    verbs = tuple(dict.fromkeys(p.action.removeprefix("sql.") for p in (*own, *prepared.parts)))
    return tuple(replace(p, facts={**p.facts, "verbs": verbs}) for p in (*own, *prepared.parts))


def distrust(statement: Statement, shadows: frozenset[str]) -> tuple[Part, ...]:
    """The statement's parts when functions named ``shadows`` exist outside
    ``pg_catalog``: incomplete if it may call one of them unqualified."""
    return doubt(statement.parts, statement.unqualified & shadows)


def doubt(parts: tuple[Part, ...], taken: frozenset[str]) -> tuple[Part, ...]:
    """``parts`` when what they call by the names ``taken`` can't be told."""
    if not taken:
        return parts
    names = ", ".join(plain(name) for name in sorted(taken)[:10])
    why = f"{names} may be a function that is not PostgreSQL's own"
    return tuple(
        replace(
            p,
            complete=False,
            why_incomplete=f"{p.why_incomplete}; {why}" if p.why_incomplete else why,
            facts={**p.facts, "dynamic": True},
        )
        for p in parts
    )


def trust(parts: Iterable[Part], functions: frozenset[str]) -> tuple[Part, ...]:
    """The parts when the functions named (as facts name them: ``public.f``,
    ``f``) are known to have no effects: complete if that was all."""
    reasons = [not_known(name) for name in functions]
    return tuple(_without(part, reasons) for part in parts)


def _without(part: Part, reasons: list[str]) -> Part:
    if part.complete:
        return part
    left = part.why_incomplete
    for reason in reasons:
        left = "; ".join(w for w in left.split("; ") if w != reason)
    if left == part.why_incomplete:
        return part
    facts = part.facts if left else {**part.facts, "dynamic": False}
    return replace(part, complete=not left, why_incomplete=left, facts=facts)
