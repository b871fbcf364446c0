"""Walks queries and expressions, and writes down what they touch.

Every node is visited: kinds that mean something here have a method, all
others are gone through field by field, so that nothing hides in a kind that
nobody thought of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from protocols.contract import EffectKind
from protocols.sql.findings import Findings
from protocols.sql.functions import call
from protocols.sql.nodes import Json, names_of, one, range_name, text_of
from protocols.sql.scope import Ctes, Scope, refer

MAX_DEPTH = 300
"""Levels of the walk: about 300 chained operators or 50 nested subqueries. The
interpreter's own limit (1,000 frames) lies beyond it, so that the same text
has the same outcome wherever it is analysed from."""


class TooDeepError(Exception):
    """The statement is nested deeper than MAX_DEPTH."""


class Walker:
    """One statement's walk. ``found`` is what is being written to; parts of
    nested data-modifying statements gather in ``done``."""

    __slots__ = ("ctes", "depth", "done", "found", "pinned", "scope", "selects", "unqualified")

    def __init__(self, found: Findings) -> None:
        self.found = found
        self.done: list[Findings] = []
        self.scope = Scope()
        self.ctes: Ctes = {}
        self.selects = False
        """A SELECT that reads something, or a RETURNING, was seen."""
        self.unqualified: dict[str, None] = {}
        self.pinned: Json | None = None
        """The setting that pg_settings is narrowed to, a constant: pg_dump
        calls ``set_config(name, ...)`` on the one row where name is that."""
        self.depth = 0

    # ------------------------------------------------------------------
    # Any node

    def visit(self, value: Any) -> None:
        """Go through a node, a list of nodes or the fields of a bare one."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TooDeepError
        if type(value) is dict:
            for key, inner in value.items():
                shape = type(inner)
                if shape is dict:
                    known = _KINDS.get(key)
                    if known is None:
                        self.visit(inner)
                    else:
                        known(self, inner)
                elif shape is list:
                    self.visit(inner)
            if "relname" in value:  # a bare RangeVar in a statement that is not a query
                self.found.touches[range_name(value)] = None
        elif type(value) is list:
            for inner in value:
                self.visit(inner)
        self.depth -= 1

    def leaf(self, node: Json) -> None:
        """Nothing is inside."""

    def target(self, node: Json) -> None:
        """An output, an assignment."""
        if "indirection" in node:
            self.visit(node["indirection"])
        if "val" in node:
            self.visit(node["val"])

    def column(self, node: Json) -> None:
        fields = node.get("fields", [])
        names = names_of(fields)
        refer(self.found, self.scope, names, len(names) != len(fields))
        if len(names) > 1:
            self.unqualified[names[-1]] = None

    def function(self, node: Json) -> None:
        names = names_of(node.get("funcname"))
        if len(names) == 1:
            self.unqualified[names[0]] = None
        args = node.get("args", [])
        if self.pinned is not None and names[-1:] == ("set_config",) and _is_name(args[:1]):
            args = [self.pinned, *args[1:]]
        call(self.found, names, args)
        for key in _CALL:
            if key in node:
                self.visit(node[key])

    def operator(self, node: Json) -> None:
        self._operator_name(names_of(node.get("name")))
        if "lexpr" in node:
            self.visit(node["lexpr"])
        if "rexpr" in node:
            self.visit(node["rexpr"])

    def _operator_name(self, names: tuple[str, ...]) -> None:
        if len(names) > 1 and names[0] != "pg_catalog":
            self.found.unknown(f"what operator {'.'.join(names)} does is not known")
            self.found.dynamic = True

    def sort(self, node: Json) -> None:
        self._operator_name(names_of(node.get("useOp")))
        self.visit(node.get("node"))

    def sublink(self, node: Json) -> None:
        self._operator_name(names_of(node.get("operName")))
        self.visit(node.get("testexpr"))
        self.visit(node.get("subselect"))

    def indirection(self, node: Json) -> None:
        """``(u).f`` is a field, or f(u)."""
        for names in (names_of([i]) for i in node.get("indirection", [])):
            for name in names:
                self.unqualified[name] = None
        self.visit(node.get("arg"))
        self.visit(node.get("indirection"))

    # ------------------------------------------------------------------
    # SELECT

    def select(self, node: Json) -> None:
        outer_scope, outer_ctes, outer_pinned = self.scope, self.ctes, self.pinned
        self.with_clause(node.get("withClause"))
        self.pinned = None if "pg_settings" in self.ctes else _pinned(node)
        if "larg" in node or "rarg" in node:
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise TooDeepError
            self.select(node.get("larg", {}))
            self.select(node.get("rarg", {}))
            self.depth -= 1
            # ORDER BY and LIMIT of a set operation see its output only.
            self.scope = Scope(outer_scope)
        else:
            self.scope = Scope(outer_scope)
            for item in node.get("fromClause", ()):
                self.from_item(item, outer_scope)
        if "valuesLists" not in node:
            self.selects = True
        if "lockingClause" in node:
            self._lock_rows(node["lockingClause"])
        for key, value in node.items():
            if key not in _SELECT_DONE:
                self.visit(value)
        self.scope, self.ctes, self.pinned = outer_scope, outer_ctes, outer_pinned

    def _lock_rows(self, clauses: list[Json]) -> None:
        """FOR UPDATE and its kin: a lock on rows of the relations named, of
        all in the clause if none is."""
        for clause in clauses:
            rels = one(clause)[1].get("lockedRels", [])
            names = [one(r)[1].get("relname", "") for r in rels]
            behind = [(self.scope.find(n) or ((), False))[0] for n in names]
            for bases in behind if names else [self.scope.bases()]:
                for base in bases:
                    self.found.effect(EffectKind.CONTROL, base, "rows")

    def with_clause(self, clause: Json | None) -> None:
        if not clause:
            return
        ctes = [one(c)[1] for c in clause.get("ctes", [])]
        if clause.get("recursive"):
            self.ctes = {**self.ctes, **dict.fromkeys(c.get("ctename", "") for c in ctes)}
        for cte in ctes:
            self.visit(cte.get("ctequery"))
            self.ctes = {**self.ctes, cte.get("ctename", ""): None}

    def from_item(self, wrapped: Json, outer: Scope) -> tuple[str, ...]:
        """Add an item of FROM to the scope; the base relations behind it.
        ``outer`` is what a subquery that is not LATERAL sees."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TooDeepError
        kind, node = one(wrapped)
        alias = node.get("alias", {})
        name = alias.get("aliasname", "")
        bases: tuple[str, ...] = ()
        if kind == "RangeVar":
            bases = self._from_relation(node, name, "colnames" in alias)
        elif kind == "JoinExpr":
            bases = self._from_join(node, outer)
            if name:
                self.scope.add(name, bases, "colnames" in alias)
        elif kind == "RangeSubselect":
            inner = self.scope
            if not node.get("lateral"):
                self.scope = outer
            self.visit(node.get("subquery"))
            self.scope = inner
            self.scope.add(name, ())
        elif kind == "RangeTableSample":
            method = names_of(node.get("method"))
            if method[-1:] not in (("system",), ("bernoulli",)):
                call(self.found, method, [])
            bases = self.from_item(node.get("relation", {}), outer)
            self.visit(node.get("args"))
            self.visit(node.get("repeatable"))
        else:  # functions, XMLTABLE, JSON_TABLE
            self.visit(wrapped)
            self.scope.add(name, ())
        self.depth -= 1
        return bases

    def _from_relation(self, node: Json, alias: str, renamed: bool) -> tuple[str, ...]:
        own = node.get("relname", "")
        if not node.get("schemaname") and own in self.ctes:
            self.scope.add(alias or own, ())
            return ()
        name = range_name(node)
        self.found.read(name)
        self.scope.add(alias or own, (name,), renamed)
        return (name,)

    def _from_join(self, node: Json, outer: Scope) -> tuple[str, ...]:
        bases = (
            *self.from_item(node.get("larg", {}), outer),
            *self.from_item(node.get("rarg", {}), outer),
        )
        for column in names_of(node.get("usingClause")):
            for base in bases:
                self.found.columns[f"{base}.{column}"] = None
        if node.get("isNatural"):
            for base in bases:
                self.found.columns[f"{base}.*"] = None
        using = node.get("join_using_alias", {}).get("aliasname")
        if using:
            self.scope.add(using, bases)
        self.visit(node.get("quals"))
        return bases


def limited(node: Json) -> bool:
    """Whether a SELECT has a LIMIT that limits (LIMIT ALL does not)."""
    kind, count = one(node.get("limitCount", {}))
    return bool(kind) and not (kind == "A_Const" and count.get("isnull"))


def row_limit(node: Json) -> int | None:
    """The most rows that a SELECT's LIMIT lets through; None where it has none,
    where the number is not a constant, and for FETCH … WITH TIES."""
    kind, count = one(node.get("limitCount", {}))
    if kind != "A_Const" or "ival" not in count:
        return None
    if node.get("limitOption") == "LIMIT_OPTION_WITH_TIES":
        return None
    return int(count["ival"].get("ival", 0))


def _is_name(args: list[Json]) -> bool:
    return [names_of(one(a)[1].get("fields")) for a in args] == [("name",)]


def _pinned(select: Json) -> Json | None:
    """The constant of ``FROM pg_settings WHERE name = constant``."""
    sources = select.get("fromClause", ())
    if len(sources) != 1 or "RangeVar" not in sources[0]:
        return None
    if range_name(sources[0]["RangeVar"]) != "pg_catalog.pg_settings":
        return None
    test = select.get("whereClause", {}).get("A_Expr", {})
    if test.get("kind") != "AEXPR_OP" or names_of(test.get("name")) != ("=",):
        return None
    value = test.get("rexpr", {})
    return value if _is_name([test.get("lexpr", {})]) and text_of(value) is not None else None


_SELECT_DONE = frozenset({"withClause", "larg", "rarg", "fromClause", "lockingClause"})
_CALL = ("args", "agg_order", "agg_filter", "over")

_KINDS: dict[str, Callable[[Walker, Json], None]] = {
    "A_Const": Walker.leaf,
    "A_Star": Walker.leaf,
    "ParamRef": Walker.leaf,
    "String": Walker.leaf,
    "ResTarget": Walker.target,
    "ColumnRef": Walker.column,
    "FuncCall": Walker.function,
    "funccall": Walker.function,
    "A_Expr": Walker.operator,
    "SortBy": Walker.sort,
    "SubLink": Walker.sublink,
    "A_Indirection": Walker.indirection,
    "SelectStmt": Walker.select,
}


def register(kind: str, method: Callable[[Walker, Json], None]) -> None:
    """Let another module of this folder say how a kind is walked."""
    _KINDS[kind] = method
