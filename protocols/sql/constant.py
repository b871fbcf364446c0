"""Does a condition depend on the row? ``WHERE 1=1`` and its relatives.

Which way it errs: what isn't recognised is taken to depend on the row, so a
rule on ``where_is_constant`` is a net for the careless, not a wall against the
determined (``WHERE id > -1`` cannot be told from a real bound without data).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from protocols.sql.nodes import Json, names_of, one, text_of

_TRUE = frozenset({"t", "tr", "tru", "true", "y", "ye", "yes", "on", "1"})
_FALSE = frozenset({"f", "fa", "fal", "fals", "false", "n", "no", "of", "off", "0"})
_REFLEXIVE = frozenset({"=", "<=", ">="})
_LIKES = frozenset({"AEXPR_LIKE", "AEXPR_ILIKE"})


def is_constant(condition: Json, own: frozenset[str]) -> bool:
    """Whether ``condition`` may select all rows of a relation whatever is in
    them.  ``own`` are the names under which the relation's columns can be
    qualified; a bare column may be its own.
    """
    kind, node = one(condition)
    if kind == "BoolExpr":
        if fold(condition) is not None:
            return True
        return _is_constant_logic(node, own)
    if fold(condition) is not None:
        return True
    return not any(_may_mean(names, own) for names in _references(condition))


def _is_constant_logic(node: Json, own: frozenset[str]) -> bool:
    """An AND, OR or NOT that does not fold. Its arms are folded once more at
    each level, so levels below the tenth are not looked into."""
    arms = _arms(node, 10)
    if not arms:
        return False
    either = node.get("boolop") == "OR_EXPR"
    constant = [
        fold(a) is not None or not any(_may_mean(names, own) for names in _references(a))
        for a in arms
    ]
    if all(constant):
        return True
    # An arm of parameters alone ($1 IS NULL OR id = $1) is an optional filter
    # that programs use; one of constants alone is a trick.
    return either and any(
        c and fold(a) is None and not _has_parameter(a) for a, c in zip(arms, constant, strict=True)
    )


def _arms(node: Json, levels: int) -> list[Json]:
    """The arms of a BoolExpr; arms that are of its own kind are opened."""
    arms: list[Json] = []
    for wrapped in node.get("args", []):
        kind, inner = one(wrapped)
        if kind == "BoolExpr" and inner.get("boolop") == node.get("boolop") and levels:
            arms.extend(_arms(inner, levels - 1))
        else:
            arms.append(wrapped)
    return arms


def _has_parameter(value: Any) -> bool:
    return any(key == "ParamRef" for key, _ in entries(value))


def fold(wrapped: Json) -> bool | None:
    """True or False where the condition is that for every row (a null aside),
    else None."""
    kind, node = one(wrapped)
    if kind == "A_Const":
        if "boolval" in node:
            return bool(node["boolval"].get("boolval"))
        return False if node.get("isnull") else None
    if kind == "TypeCast":
        names = names_of(node.get("typeName", {}).get("names"))
        text = text_of(node.get("arg"))
        if names and names[-1] == "bool" and text is not None:
            word = text.strip().lower()
            return True if word in _TRUE else False if word in _FALSE else None
        return fold(node.get("arg", {})) if names and names[-1] == "bool" else None
    if kind == "BoolExpr":
        return _logic(node)
    if kind == "BooleanTest":
        return _tested(node)
    if kind == "A_Expr":
        return _compared(node)
    if kind == "CaseExpr":
        folded = {fold(one(w)[1].get("result", {})) for w in node.get("args", [])}
        folded.add(fold(node.get("defresult", {"A_Const": {"isnull": True}})))
        return folded.pop() if len(folded) == 1 else None
    if kind == "CoalesceExpr":
        return fold(node.get("args", [{}])[0])
    if kind == "SubLink" and node.get("subLinkType") == "EXPR_SUBLINK":
        query = one(node.get("subselect", {}))[1]
        if "fromClause" not in query and len(query.get("targetList", [])) == 1:
            return fold(one(query["targetList"][0])[1].get("val", {}))
    return None


def _logic(node: Json) -> bool | None:
    args: list[Json] = node.get("args", [])
    folded = [fold(a) for a in args]
    op = node.get("boolop")
    if op == "NOT_EXPR":
        return None if folded[0] is None else not folded[0]
    if op == "AND_EXPR":
        if False in folded:
            return False
        return True if None not in folded else None
    if True in folded or _covers_all(args):
        return True
    return False if None not in folded else None


def _covers_all(args: list[Json]) -> bool:
    """x IS NULL OR x IS NOT NULL; x OR NOT x. Of few arms, for it compares
    each with each."""
    if len(args) > 16:
        return False
    tests = [n for k, n in map(one, args) if k == "NullTest"]
    for i, a in enumerate(tests):
        for b in tests[i + 1 :]:
            if a.get("nulltesttype") != b.get("nulltesttype") and same(a.get("arg"), b.get("arg")):
                return True
    negated = [n["args"][0] for k, n in map(one, args) if n.get("boolop") == "NOT_EXPR"]
    return any(same(n, a) for n in negated for a in args)


def _tested(node: Json) -> bool | None:
    value = fold(node.get("arg", {}))
    if value is None:
        return None
    test = node.get("booltesttype", "")
    if test in ("IS_TRUE", "IS_NOT_FALSE"):
        return value
    return not value if test in ("IS_FALSE", "IS_NOT_TRUE") else None


def _compared(node: Json) -> bool | None:
    kind = node.get("kind", "")
    left, right = node.get("lexpr", {}), node.get("rexpr", {})
    name = (names_of(node.get("name")) or ("",))[-1]
    if kind in _LIKES and name in ("~~", "~~*"):
        pattern = text_of(right)
        return True if pattern and not pattern.strip("%") else None
    equal = bool(left) and same(left, right)
    if kind == "AEXPR_NOT_DISTINCT":
        return True if equal else None
    if kind == "AEXPR_IN" and name == "=":
        items = right.get("List", {}).get("items", []) if isinstance(right, dict) else []
        return True if any(same(i, left) for i in items) else None
    if kind in ("AEXPR_BETWEEN", "AEXPR_BETWEEN_SYM"):
        items = right.get("List", {}).get("items", [])
        return True if items and all(same(i, left) for i in items) else None
    if kind != "AEXPR_OP":
        return None
    if name in _REFLEXIVE and equal:
        return True
    a, b = _number(left), _number(right)
    if a is None or b is None:
        return None
    return {
        "=": a == b, "<>": a != b, "!=": a != b, "<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b
    }.get(name)  # fmt: skip


def _number(wrapped: Json) -> int | None:
    kind, node = one(wrapped)
    if kind == "A_Const" and "ival" in node:
        value = node["ival"].get("ival", 0)
        return value if isinstance(value, int) else None
    return None


def same(a: Any, b: Any, depth: int = 60) -> bool:
    """Whether two subtrees are equal but for their places in the text; False
    below a depth of 60."""
    if depth == 0:
        return False
    if isinstance(a, dict) and isinstance(b, dict):
        if a.keys() != b.keys():
            return False
        for key, value in a.items():
            if key not in _PLACES and not same(value, b[key], depth - 1):
                return False
        return True
    if isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            return False
        return all(map(same, a, b, [depth - 1] * len(a)))
    return bool(a == b)


_PLACES = frozenset({"location", "list_start", "list_end", "rexpr_list_start", "rexpr_list_end"})


def entries(value: Any) -> Iterator[tuple[str, Any]]:
    """All fields of all nodes below, in any order, without recursion."""
    todo = [value]
    while todo:
        current = todo.pop()
        if isinstance(current, dict):
            yield from current.items()
            todo.extend(v for v in current.values() if isinstance(v, (dict, list)))
        elif isinstance(current, list):
            todo.extend(current)


def _references(value: Any) -> Iterator[tuple[str, ...]]:
    """The names of all column references below. Stars are left out: ``EXISTS
    (SELECT * ...)`` doesn't look at them."""
    for key, inner in entries(value):
        if key == "ColumnRef":
            names = names_of(inner.get("fields"))
            if names and len(names) == len(inner.get("fields", ())):
                yield names
        elif key == "CurrentOfExpr":
            yield ("", "")


def _may_mean(names: tuple[str, ...], own: frozenset[str]) -> bool:
    return len(names) == 1 or names[0] == "" or names[-2] in own
