"""Credentials typed in statements: ``ALTER ROLE x PASSWORD 'y'`` and its kin.

Only what PostgreSQL's own lexer takes for the constant after the keyword is one, in a
statement that begins with CREATE or ALTER of a role, user, group, server or
subscription, also inside of the body of a DO block and of texts that it executes. The
guess errs towards showing: a statement must not be able to hide what it does. So not
found are passwords that are put together while it runs (``format('... %L', p)``), that
are ordinary values (INSERT, function arguments), or that a function's body holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

from pglast.error import Error as ParserError
from pglast.parser import scan

SHOWN: Final = "***"
"""What stands for one where the text is shown."""

_MAYBE: Final = re.compile(r"passw", re.IGNORECASE)
_SUBJECTS: Final = frozenset(("ROLE", "USER", "GROUP_P", "SERVER", "SUBSCRIPTION"))
_COMMENTS: Final = frozenset(("SQL_COMMENT", "C_COMMENT"))
_CONSTANTS: Final = frozenset(("SCONST", "USCONST"))
_OPENS: Final = re.compile(r"(?:[eEnN]|[uU]&)?'|\$(?:[^\W\d][^\W$]*)?\$")
_DEEPEST: Final = 3
# Of a text that no lexer reads. It can't run, yet it may be a password with a slip.
_BROKEN: Final = re.compile(r"\bpassword\"?\s*+(?:[eE]|[uU]&)?'((?:[^']|'')*+)", re.IGNORECASE)
_SUBJECT: Final = re.compile(r"\b(?:create|alter)\s", re.IGNORECASE)
Places = tuple[tuple[int, int], ...]


def typed(text: str) -> Places:
    """Where ``text`` has credentials, in characters, without their quotes; in order."""
    if not _MAYBE.search(text):
        return ()
    return tuple(sorted(place for place in _found(text, 0) if place[0] < place[1]))


def without(text: str, places: Places) -> str:
    """``text`` as it may be shown."""
    shown: list[str] = []
    at = 0
    for start, end in places:
        shown += text[at:start], SHOWN
        at = end
    return "".join((*shown, text[at:]))


def in_bytes(text: str, places: Places) -> Places:
    """The same places in the UTF-8 of ``text``."""
    if text.isascii():
        return places
    raw = "surrogateescape"
    return tuple(
        (len(text[:start].encode("utf-8", raw)), len(text[:end].encode("utf-8", raw)))
        for start, end in places
    )


def _found(text: str, depth: int) -> Iterator[tuple[int, int]]:
    try:
        tokens = [token for token in scan(text) if token.name not in _COMMENTS]
    except (ParserError, ValueError):  # ValueError: surrogates
        begins = _SUBJECT.search(text)
        if begins is not None:
            yield from (match.span(1) for match in _BROKEN.finditer(text, begins.end()))
        return
    start = 0
    for at, token in enumerate(tokens):
        if token.name == "ASCII_59":
            yield from _in_statement(text, tokens[start:at], depth)
            start = at + 1
    yield from _in_statement(text, tokens[start:], depth)


def _in_statement(text: str, tokens: Any, depth: int) -> Iterator[tuple[int, int]]:
    """Of a statement, or of a piece of a DO block between two semicolons."""
    armed = ""
    block = bool(tokens) and tokens[0].name == "DO" and _is_sql(text, tokens)
    for before, token in pairwise(tokens):
        if before.name in ("CREATE", "ALTER"):
            armed = token.name if token.name in _SUBJECTS and (depth or not armed) else armed
            if not depth and before is not tokens[0]:
                armed = ""
        if token.name not in _CONSTANTS:
            continue
        start, end = _inside(text, token.start, token.end + 1)
        word = text[before.start : before.end + 1].strip('"').lower()
        if armed and word == "password":
            yield start, end
        elif armed == "SUBSCRIPTION" and word == "connection":
            if _MAYBE.search(text, start, end):
                yield start, end
        elif (block or depth) and depth < _DEEPEST and _MAYBE.search(text, start, end):
            yield from _nested(text, token.start, start, end, depth + 1)


def _is_sql(text: str, tokens: Any) -> bool:
    """Whether a DO block is in a language whose constants are SQL's."""
    for before, token in pairwise(tokens):
        if before.name == "LANGUAGE":
            return text[token.start : token.end + 1].strip("\"'").lower() in ("plpgsql", "sql")
    return True


def _inside(text: str, start: int, end: int) -> tuple[int, int]:
    """Of the constant at ``text[start:end]`` what is between its quotes."""
    opened = _OPENS.match(text, start, end)
    if opened is None:
        return start, end
    size = 1 if opened[0].endswith("'") else len(opened[0])
    return opened.end(), max(opened.end(), end - size)


def _nested(text: str, quote: int, start: int, end: int, depth: int) -> Iterator[tuple[int, int]]:
    """In the text that a constant holds. Of those with escapes too little is sure."""
    if text[quote] == "$":
        yield from ((start + a, start + b) for a, b in _found(text[start:end], depth))
        return
    if text[quote] != "'":
        return
    places, inner, at = [], [], start
    while at < end:
        places.append(at)
        inner.append(text[at])
        at += 2 if text.startswith("''", at) else 1
    places.append(end)
    yield from ((places[a], places[b]) for a, b in _found("".join(inner), depth))
