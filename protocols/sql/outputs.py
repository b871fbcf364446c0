"""What kind of value each column of a result is."""

from __future__ import annotations

from protocols.sql.constant import entries
from protocols.sql.harmless import HARMLESS
from protocols.sql.nodes import Json, names_of, one
from protocols.sql.words import Output

COLUMN = Output("column")
CONSTANT = Output("constant")
COUNT = Output("count")
EXPRESSION = Output("expression")

_READS = frozenset({"ColumnRef", "SubLink", "A_Star"})


def outputs_of(kind: str, node: Json) -> tuple[Output, ...] | None:
    """None where positions can't be told: ``*``, set operations, VALUES."""
    if kind == "SelectStmt":
        if "larg" in node or "valuesLists" in node:
            return None
        return _targets(node.get("targetList", []))
    if "returningClause" in node:
        return _targets(node["returningClause"].get("exprs", []))
    return None


def _targets(targets: list[Json]) -> tuple[Output, ...] | None:
    outputs = []
    for wrapped in targets:
        kind, value = one(one(wrapped)[1].get("val", {}))
        if kind in ("ColumnRef", "A_Indirection"):
            last = (value.get("fields") or value.get("indirection") or [{}])[-1]
            if "A_Star" in last:
                return None
        outputs.append(classify(kind, value))
    return tuple(outputs)


def classify(kind: str, value: Json) -> Output:
    if kind == "ColumnRef":
        return COLUMN
    if kind == "FuncCall" and value.get("agg_star") and "agg_filter" not in value:
        names = names_of(value.get("funcname"))
        return COUNT if names in (("count",), ("pg_catalog", "count")) else EXPRESSION
    for name, inner in entries({kind: value}):
        if name in _READS:
            return EXPRESSION
        if name == "FuncCall":
            called = names_of(inner.get("funcname"))
            plain = len(called) == 1 or called[0] == "pg_catalog"
            # What current_setting returns may have been put there by a query.
            if not plain or called[-1] not in HARMLESS or called[-1] == "current_setting":
                return EXPRESSION
    return CONSTANT
