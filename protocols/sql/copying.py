"""COPY, as the wire needs to know it."""

from __future__ import annotations

from typing import Literal

from pglast.error import Error as ParserError
from pglast.parser import scan

from protocols.sql.nodes import Json, listed, names_of, one, quoted, text_of
from protocols.sql.words import CopyShape

_KNOWN = frozenset(
    listed("""
format delimiter quote escape null header encoding force_quote force_not_null force_null
freeze on_error log_verbosity reject_limit default
""")
)
_FALSE = frozenset({"off", "false", "no", "0"})


def shape_of(node: Json, text: str) -> CopyShape:
    """``text`` is the statement's own text."""
    options: dict[str, str | None] = {}
    odd: list[str] = []
    for wrapped in node.get("options", ()):
        option = one(wrapped)[1]
        name = option.get("defname", "")
        if name not in _KNOWN or name in options:
            odd.append(name)
        options[name] = text_of(option["arg"]) if "arg" in option else "on"
    form: Literal["text", "csv", "binary"] = "text"
    named = (options.get("format") or "text").lower()
    if named == "csv":
        form = "csv"
    elif named == "binary":
        form = "binary"
    elif named != "text":
        odd.append("format")
    header = options.get("header")
    quote = options.get("quote") or ('"' if form == "csv" else "")
    relation = node.get("relation", {})
    via: Literal["stdio", "file", "program"] = "stdio"
    if node.get("is_program"):
        via = "program"
    elif "filename" in node:
        via = "file"
    name = ""
    if relation:
        schema = relation.get("schemaname", "")
        name = (quoted(schema) + "." if schema else "") + quoted(relation.get("relname", ""))
    return CopyShape(
        direction="in" if node.get("is_from") else "out",
        via=via,
        format=form,
        delimiter=options.get("delimiter") or {"text": "\t", "csv": ",", "binary": ""}[form],
        quote=quote,
        escape=options.get("escape") or quote,
        null=options["null"] or ""
        if "null" in options
        else {"text": "\\N", "csv": "", "binary": ""}[form],
        header="header" in options and (header is None or header.lower() not in _FALSE),
        encoding=options.get("encoding") or "",
        relation=name,
        columns=names_of(node.get("attlist")),
        query="" if relation else _inner_text(text),
        odd=tuple(odd),
    )


def _inner_text(text: str) -> str:
    """The query between the first parenthesis of COPY and its partner."""
    depth = start = 0
    try:
        tokens = scan(text)
    except ParserError:
        return ""
    for token in tokens:
        if token.name == "ASCII_40":
            depth += 1
            if depth == 1:
                start = token.end + 1
        elif token.name == "ASCII_41":
            depth -= 1
            if depth == 0:
                return text[start : token.start]
    return ""
