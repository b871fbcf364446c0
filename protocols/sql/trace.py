"""The base columns behind the columns of a view.

Reads the text that ``pg_get_viewdef`` prints, where every ``*`` is spelled
out and every name is qualified that could be mistaken.

Which way it errs: to None (unknown). A column is traced only where the path
from output to relation is plain references all the way; a cast, an operator
or a function ends it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from pglast.error import Error as ParserError
from pglast.parser import parse_sql_json

from protocols.sql.guard import refusal
from protocols.sql.nodes import Json, names_of, one
from protocols.sql.outputs import CONSTANT, COUNT, classify

Origin: TypeAlias = tuple[str, str, str]
"""Schema ("" where the text has none), table, column."""
Origins: TypeAlias = tuple[Origin, ...] | None
Shape: TypeAlias = list[tuple[str, Origins]]
"""Name and origins of each column of a query, in order."""

LIMIT = 1 << 18
MAX_DEPTH = 60


class _UnknownError(Exception):
    """The shape of a query can't be told."""


class _Base:
    """A relation of the database: any name may be a column of it."""

    def __init__(self, schema: str, table: str) -> None:
        self.schema = schema
        self.table = table

    def column(self, name: str) -> Origins:
        return ((self.schema, self.table, name),)


class _Derived:
    """A subquery or CTE. ``shape`` None: nothing is known of its columns."""

    def __init__(self, shape: Shape | None, aliases: tuple[str, ...] = ()) -> None:
        self.columns: dict[str, Origins] = {}
        for place, (name, origins) in enumerate(shape or ()):
            called = aliases[place] if place < len(aliases) else name
            # The same name twice can't be told apart.
            self.columns[called] = None if called in self.columns else origins

    def column(self, name: str) -> Origins:
        return self.columns.get(name)


_Sources: TypeAlias = dict[str, "_Base | _Derived"]
_Ctes: TypeAlias = Mapping[str, Shape | None]


def trace_view(view_sql: str, columns: Sequence[str]) -> tuple[Origins, ...]:
    """The origins of each of the view's ``columns``, by position.

    () for a constant or ``count(*)``; None for whatever is not plain. If the
    text can't be understood, or has another number of columns, all are None.
    """
    unknown: tuple[Origins, ...] = (None,) * len(columns)
    if refusal(view_sql, LIMIT):
        return unknown
    try:
        statements = json.loads(parse_sql_json(view_sql)).get("stmts", [])
        if len(statements) != 1:
            return unknown
        kind, node = one(statements[0].get("stmt", {}))
        if kind != "SelectStmt":
            return unknown
        shape = _query(node, {}, 0)
    except (ParserError, _UnknownError, RecursionError, UnicodeError):
        return unknown
    if len(shape) != len(columns):
        return unknown
    return tuple(origins for _, origins in shape)


def _query(node: Json, ctes: _Ctes, depth: int) -> Shape:
    if depth > MAX_DEPTH or "intoClause" in node:
        raise _UnknownError
    ctes = _with(node.get("withClause"), ctes, depth)
    if "larg" in node or "rarg" in node:
        left = _query(node.get("larg", {}), ctes, depth + 1)
        right = _query(node.get("rarg", {}), ctes, depth + 1)
        if len(left) != len(right):
            raise _UnknownError
        pairs = zip(left, right, strict=True)
        return [(name, _merged(mine, theirs)) for (name, mine), (_, theirs) in pairs]
    if "valuesLists" in node:
        return _values(node["valuesLists"])
    sources: _Sources = {}
    for item in node.get("fromClause", ()):
        _from(item, sources, ctes, depth + 1)
    return [_target(one(t)[1], sources) for t in node.get("targetList", ())]


def _with(clause: Json | None, ctes: _Ctes, depth: int) -> _Ctes:
    if not clause:
        return ctes
    known: dict[str, Shape | None] = dict(ctes)
    entries = [one(c)[1] for c in clause.get("ctes", ())]
    if clause.get("recursive"):
        known.update((c.get("ctename", ""), None) for c in entries)
        # A query that refers to itself is not followed.
    for cte in entries:
        kind, query = one(cte.get("ctequery", {}))
        shape: Shape | None = None
        if kind == "SelectStmt":
            shape = _query(query, known, depth + 1)
            aliases = names_of(cte.get("aliascolnames"))
            shape = [
                (aliases[i] if i < len(aliases) else name, origins)
                for i, (name, origins) in enumerate(shape)
            ]
        if "search_clause" in cte or "cycle_clause" in cte:
            shape = None
        known[cte.get("ctename", "")] = shape
    return known


def _merged(left: Origins, right: Origins) -> Origins:
    if left is None or right is None:
        return None
    return tuple(dict.fromkeys((*left, *right)))


def _values(lists: list[Json]) -> Shape:
    rows = [one(row)[1].get("items", []) for row in lists]
    if len({len(row) for row in rows}) != 1:
        raise _UnknownError
    shape: Shape = []
    for place in range(len(rows[0])):
        plain = all(classify(*one(row[place])) == CONSTANT for row in rows)
        shape.append((f"column{place + 1}", () if plain else None))
    return shape


def _from(wrapped: Json, sources: _Sources, ctes: _Ctes, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _UnknownError
    kind, node = one(wrapped)
    alias = node.get("alias", {})
    name = alias.get("aliasname", "")
    aliases = names_of(alias.get("colnames"))
    source: _Base | _Derived = _Derived(None)
    if kind == "JoinExpr":
        _from(node.get("larg", {}), sources, ctes, depth + 1)
        _from(node.get("rarg", {}), sources, ctes, depth + 1)
        if not name:
            return
    elif kind == "RangeVar":
        table, schema = node.get("relname", ""), node.get("schemaname", "")
        name = name or table
        if not schema and table in ctes:
            source = _Derived(ctes[table], aliases)
        elif not aliases:  # which column a renamed one is, only the catalog knows
            source = _Base(schema, table)
    elif kind == "RangeSubselect":
        inner, query = one(node.get("subquery", {}))
        if inner != "SelectStmt":
            raise _UnknownError
        source = _Derived(_query(query, ctes, depth + 1), aliases)
    elif kind == "RangeTableSample":
        _from(node.get("relation", {}), sources, ctes, depth + 1)
        return
    # Two of one name, and functions without one: nothing is known of them.
    sources[name] = _Derived(None) if name in sources else source


def _target(target: Json, sources: _Sources) -> tuple[str, Origins]:
    kind, value = one(target.get("val", {}))
    name = target.get("name", "")
    if kind != "ColumnRef":
        if kind == "A_Indirection" and any("A_Star" in i for i in value.get("indirection", ())):
            raise _UnknownError
        return name, () if classify(kind, value) in (CONSTANT, COUNT) else None
    fields = value.get("fields", [])
    names = names_of(fields)
    if len(names) != len(fields):
        raise _UnknownError
    return name or names[-1], _reference(names, sources)


def _reference(names: tuple[str, ...], sources: _Sources) -> Origins:
    if len(names) == 1:
        if len(sources) != 1 or names[0] in sources:  # the latter is a whole row
            return None
        return next(iter(sources.values())).column(names[0])
    if len(names) == 2:
        source = sources.get(names[0])
        return source.column(names[1]) if source is not None else None
    source = sources.get(names[1])
    if len(names) == 3 and isinstance(source, _Base) and names[:2] == (source.schema, source.table):
        return source.column(names[2])
    return None
