"""Reading the JSON of PostgreSQL's parse tree (libpg_query's protobuf JSON).

A node of any kind is ``{"Kind": {...}}``; a field of a fixed kind is the bare
``{...}``.  Fields that hold 0, "" or false are left out.
"""

from __future__ import annotations

from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]


def listed(words: str) -> tuple[str, ...]:
    """The words of a text; long lists of names read best so."""
    return tuple(words.split())


def one(wrapped: Json) -> tuple[str, Json]:
    """Kind and fields of a wrapped node; ("", {}) for an empty one."""
    for kind, fields in wrapped.items():
        return kind, fields
    return "", {}


def text_of(wrapped: object) -> str | None:
    """The text of a String node or of a literal, None for anything else."""
    if not isinstance(wrapped, dict):
        return None
    kind, fields = one(wrapped)
    if kind == "String":
        value = fields.get("sval", "")
        return value if isinstance(value, str) else None
    if kind == "TypeCast":
        return text_of(fields.get("arg"))
    if kind == "A_Const":
        if "sval" in fields:
            return str(fields["sval"].get("sval", ""))
        if "ival" in fields:
            return str(fields["ival"].get("ival", 0))
        if "fval" in fields:
            return str(fields["fval"].get("fval", ""))
        if "boolval" in fields:
            return "on" if fields["boolval"].get("boolval") else "off"
        return None
    if kind == "Integer":
        return str(fields.get("ival", 0))
    if kind == "Float":
        return str(fields.get("fval", ""))
    if kind == "Boolean":
        return "on" if fields.get("boolval") else "off"
    return None


def names_of(strings: object) -> tuple[str, ...]:
    """The texts of a list of String nodes; other nodes are left out."""
    if not isinstance(strings, list):
        return ()
    names = []
    for wrapped in strings:
        name = wrapped["String"].get("sval", "") if "String" in wrapped else text_of(wrapped)
        if name is not None:
            names.append(name)
    return tuple(names)


def relation_name(schema: str, name: str) -> str:
    """How facts write a relation. pg_catalog is searched first and owns the
    prefix, so a bare ``pg_class`` is ``pg_catalog.pg_class``. A user's table of
    such a name would be told under the wrong schema; the prefix is reserved
    by convention, and rules that guard catalogs must not be missed."""
    if schema:
        return f"{schema}.{name}"
    return f"pg_catalog.{name}" if name.startswith("pg_") else name


def range_name(relation: Json) -> str:
    """The name of a RangeVar. The database's name, if any, can only be the
    current one, and is left out."""
    return relation_name(relation.get("schemaname", ""), relation.get("relname", ""))


def dotted(names: tuple[str, ...]) -> str:
    """A name list as facts write a relation or another object."""
    if not names:
        return ""
    return relation_name(names[-2] if len(names) > 1 else "", names[-1])


def quoted(name: str) -> str:
    """An identifier as SQL text."""
    return '"' + name.replace('"', '""') + '"'
