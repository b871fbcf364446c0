"""Walks the statements that change rows: INSERT, UPDATE, DELETE, MERGE.

Each one, nested or not, is a part of its own: what it writes, its own WHERE.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from protocols.sql.constant import is_constant
from protocols.sql.findings import Findings
from protocols.sql.nodes import Json, one, range_name
from protocols.sql.scope import Scope
from protocols.sql.settings import change_some
from protocols.sql.walk import Walker, register

_SETTINGS_VIEWS = frozenset({"pg_catalog.pg_settings"})


def _opens(verb: str) -> Callable[[Callable[[Walker, Json], None]], Callable[[Walker, Json], None]]:
    """Give a statement findings and a scope of its own, and close them."""

    def wrap(body: Callable[[Walker, Json], None]) -> Callable[[Walker, Json], None]:
        def walk(walker: Walker, node: Json) -> None:
            outer, scope, ctes = walker.found, walker.scope, walker.ctes
            walker.found = Findings(verb)
            place = len(walker.done)
            walker.done.append(walker.found)
            walker.scope = Scope(scope)
            walker.with_clause(node.get("withClause"))
            body(walker, node)
            for inner in walker.done[place:]:
                outer.absorb(inner)
            walker.found, walker.scope, walker.ctes = outer, scope, ctes

        return walk

    return wrap


def _target(walker: Walker, node: Json) -> tuple[str, str]:
    """The relation written, and the name that qualifies its columns."""
    relation = node.get("relation", {})
    name = range_name(relation)
    alias = relation.get("alias", {})
    own = alias.get("aliasname") or relation.get("relname", "")
    walker.found.write(name)
    if name in _SETTINGS_VIEWS:  # a rule on this view calls set_config
        change_some(walker.found)
    walker.scope.add(own, (name,), "colnames" in alias)
    return name, own


def _assign(walker: Walker, name: str, targets: list[Json]) -> None:
    """SET a = x, (b, c) = (y, z); the columns and what is assigned."""
    for wrapped in targets:
        target = one(wrapped)[1]
        walker.found.writes_columns[f"{name}.{target.get('name', '*')}"] = None
        walker.visit(target.get("indirection"))
        walker.visit(target.get("val"))


def _bound(walker: Walker, node: Json, own: str) -> None:
    """WHERE of an UPDATE or DELETE."""
    where = node.get("whereClause")
    if where is None:
        walker.found.has_where = False
        return
    walker.found.where_is_constant = is_constant(where, frozenset({own}))
    walker.visit(where)


def _returning(walker: Walker, node: Json, name: str) -> None:
    """RETURNING shows rows: a read, as PostgreSQL's own privileges have it."""
    clause = node.get("returningClause")
    if not clause:
        return
    walker.selects = True
    walker.found.read(name)
    walker.scope = Scope(walker.scope)
    for row in ("old", "new"):
        walker.scope.add(row, (name,))
    for option in clause.get("options", ()):
        walker.scope.add(one(option)[1].get("value", ""), (name,))
    exprs = clause.get("exprs", [])
    for wrapped in exprs:
        value = one(wrapped)[1].get("val", {})
        fields = one(value)[1].get("fields", [])
        if len(fields) == 1 and "A_Star" in fields[0]:
            for base in walker.scope.outer.bases() if walker.scope.outer else ():
                walker.found.columns[f"{base}.*"] = None
    walker.visit(exprs)
    walker.scope = walker.scope.outer or walker.scope


@_opens("insert")
def insert(walker: Walker, node: Json) -> None:
    name, _ = _target(walker, node)
    found = walker.found
    target = walker.scope
    columns = [one(c)[1].get("name", "*") for c in node.get("cols", ())]
    for column in columns or ["*"]:
        found.writes_columns[f"{name}.{column}"] = None
    for wrapped in node.get("cols", ()):
        walker.visit(one(wrapped)[1].get("indirection"))
    walker.scope = target.outer or target  # the source doesn't see the target
    walker.visit(node.get("selectStmt"))
    walker.scope = target
    conflict = node.get("onConflictClause")
    if conflict:
        walker.visit(conflict.get("infer"))
        if conflict.get("action") == "ONCONFLICT_UPDATE":
            _on_conflict(walker, conflict, name)
    _returning(walker, node, name)


def _on_conflict(walker: Walker, conflict: Json, name: str) -> None:
    """DO UPDATE is an update, bound by the conflicting keys."""
    insert_found = walker.found
    walker.found = Findings("update")
    walker.done.append(walker.found)
    walker.found.write(name)
    walker.scope = Scope(walker.scope)
    walker.scope.add("excluded", ())
    _assign(walker, name, conflict.get("targetList", []))
    walker.visit(conflict.get("whereClause"))
    walker.found = insert_found
    walker.scope = walker.scope.outer or walker.scope


@_opens("update")
def update(walker: Walker, node: Json) -> None:
    name, own = _target(walker, node)
    for item in node.get("fromClause", ()):
        walker.from_item(item, walker.scope.outer or walker.scope)
        walker.selects = True
    _assign(walker, name, node.get("targetList", []))
    _bound(walker, node, own)
    _returning(walker, node, name)


@_opens("delete")
def delete(walker: Walker, node: Json) -> None:
    name, own = _target(walker, node)
    for item in node.get("usingClause", ()):
        walker.from_item(item, walker.scope.outer or walker.scope)
        walker.selects = True
    _bound(walker, node, own)
    _returning(walker, node, name)


@_opens("merge")
def merge(walker: Walker, node: Json) -> None:
    """A ``merge`` part, and one for each kind of action in it.

    Its has_where is False when the join joins everything and an action that
    touches what is there has no condition of its own.
    """
    name, own = _target(walker, node)
    found, scope = walker.found, walker.scope
    walker.from_item(node.get("sourceRelation", {}), scope.outer or scope)
    walker.selects = True
    join = node.get("joinCondition", {})
    unbound = is_constant(join, frozenset({own}))
    walker.visit(join)
    actions: dict[str, Findings] = {}
    for wrapped in node.get("mergeWhenClauses", ()):
        clause = one(wrapped)[1]
        verb = _MERGE_VERBS.get(clause.get("commandType", ""))
        condition: Any = clause.get("condition")
        walker.visit(condition)
        if verb is None:  # DO NOTHING
            continue
        action = actions.setdefault(verb, Findings(verb))
        action.write(name)
        walker.found = action
        _assign(walker, name, clause.get("targetList", []))
        walker.visit(clause.get("values"))
        walker.found = found
        missing = clause.get("matchKind") == "MERGE_WHEN_NOT_MATCHED_BY_SOURCE"
        if verb != "insert" and (unbound or missing):
            free = condition is None or is_constant(condition, frozenset({own}))
            action.has_where = action.has_where and not free
            action.where_is_constant = action.where_is_constant or free
    walker.done.extend(actions.values())
    found.has_where = all(a.has_where for a in actions.values())
    found.where_is_constant = any(a.where_is_constant for a in actions.values())
    for action in actions.values():
        found.writes_columns.update(action.writes_columns)
    _returning(walker, node, name)


_MERGE_VERBS = {"CMD_UPDATE": "update", "CMD_DELETE": "delete", "CMD_INSERT": "insert"}

CHANGES: dict[str, Callable[[Walker, Json], None]] = {
    "InsertStmt": insert,
    "UpdateStmt": update,
    "DeleteStmt": delete,
    "MergeStmt": merge,
}
for _kind, _walk in CHANGES.items():
    register(_kind, _walk)
