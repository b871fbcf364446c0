"""What is being found out about one part, while the tree is walked."""

from __future__ import annotations

from collections.abc import Iterable

from protocols.contract import Effect, EffectKind, Fact, Part
from protocols.sql.words import FACTS

DDL_VERBS = frozenset({"create", "alter", "drop", "truncate", "grant", "revoke", "comment"})


class Findings:
    """Mutable; ``part`` makes the Part of it. Dicts stand for ordered sets."""

    __slots__ = (
        "analyze",
        "cascade",
        "columns",
        "copies_program",
        "dynamic",
        "effects",
        "explain",
        "functions",
        "has_limit",
        "has_where",
        "limit",
        "reads",
        "sets",
        "touches",
        "uses_copy",
        "verb",
        "where_is_constant",
        "why",
        "writes",
        "writes_columns",
    )

    def __init__(self, verb: str) -> None:
        self.verb = verb
        self.effects: dict[Effect, None] = {}
        self.reads: dict[str, None] = {}
        self.writes: dict[str, None] = {}
        self.touches: dict[str, None] = {}
        self.functions: dict[str, None] = {}
        self.columns: dict[str, None] = {}
        self.writes_columns: dict[str, None] = {}
        self.sets: dict[str, None] = {}
        self.why: dict[str, None] = {}
        self.has_where = True
        self.where_is_constant = False
        self.has_limit = False
        self.limit: int | None = None
        self.uses_copy = False
        self.copies_program = False
        self.explain = False
        self.analyze = False
        self.cascade = False
        self.dynamic = False

    def effect(self, kind: EffectKind, name: str, of: str) -> None:
        self.effects[Effect(kind, name, of)] = None

    def read(self, relation: str) -> None:
        self.reads[relation] = None
        self.effect(EffectKind.READ, relation, "relation")

    def write(self, relation: str) -> None:
        self.writes[relation] = None
        self.effect(EffectKind.WRITE, relation, "relation")

    def unknown(self, why: str) -> None:
        """There may be effects that are not listed."""
        self.why[why] = None

    def absorb(self, inner: Findings) -> None:
        """Take over what a nested data-modifying statement reads: what it
        returns may be seen through this one."""
        self.reads.update(inner.reads)
        self.columns.update(inner.columns)
        self.functions.update(inner.functions)
        for effect in inner.effects:
            if effect.kind is EffectKind.READ:
                self.effects[effect] = None

    def part(self, verbs: tuple[str, ...], count: int) -> Part:
        columns = tuple(self.columns)
        writes_columns = tuple(self.writes_columns)
        facts: dict[str, Fact] = {
            "verb": self.verb,
            "verbs": verbs,
            "tables": tuple({**self.writes, **self.touches, **self.reads}),
            "reads_tables": tuple(self.reads),
            "writes_tables": tuple(self.writes),
            "functions": tuple(self.functions),
            "columns": tuple({**self.writes_columns, **self.columns}),
            "reads_columns": columns,
            "writes_columns": writes_columns,
            "has_where": self.has_where,
            "where_is_constant": self.where_is_constant,
            "has_limit": self.has_limit,
            "limit": self.limit,
            "is_ddl": self.verb in DDL_VERBS,
            "statement_count": count,
            "uses_copy": self.uses_copy,
            "copies_program": self.copies_program,
            "sets": tuple(self.sets),
            "explain": self.explain,
            "analyze": self.analyze,
            "cascade": self.cascade,
            "dynamic": self.dynamic,
        }
        why = "; ".join(self.why)
        return Part("sql." + self.verb, tuple(self.effects), facts, not self.why, why)


def not_prepared(name: str) -> str:
    """Why an EXECUTE is incomplete until its statement is looked up."""
    return f"prepared statement {plain(name)} is not known here"


def not_known(function: str) -> str:
    """Why a call is incomplete."""
    return f"what function {plain(function)} does is not known"


def plain(name: str) -> str:
    """A name that can't pass for the end of a reason: "; " parts them."""
    return name.replace(";", ",")


def unparsed(why: str) -> Part:
    """The one part of a text that could not be understood. Facts that would
    need understanding are None, which block rules match and allow rules
    don't."""
    facts: dict[str, Fact] = dict.fromkeys(FACTS)
    facts["verb"] = "unparsed"
    return Part("sql.unparsed", (), facts, False, why)


def verbs_of(found: Iterable[Findings]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f.verb for f in found))
