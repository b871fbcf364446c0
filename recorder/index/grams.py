"""Narrows a search of text by groups of three characters. What they choose is
always too much, never too little: ``wanted`` looks again."""

from __future__ import annotations

import re
from collections.abc import Iterable

MOST = 24
"""Groups asked for at once. More narrow little, and cost a look each."""
_BRANCHES = 8
_CLASSES = "dDwWsSbBAz"
_WORD = re.compile(r"\w+")


def folded(text: str) -> str:
    """``text`` as it is searched: without case, bytes that were no UTF-8 as ``?``."""
    if text.isascii():
        return text.lower().replace("\0", " ")
    return text.encode("utf-8", "replace").decode().replace("\0", " ").casefold()


def words(text: str) -> list[str]:
    """The words of ``text``, without case."""
    return _WORD.findall(folded(text))


def groups(literals: Iterable[str], branches: int = 1) -> tuple[str, ...]:
    """Groups of three that a text has which has all of ``literals`` (folded); fewer where there
    are several ``branches`` to ask for."""
    most = max(3, MOST // max(1, branches))
    found = dict.fromkeys(
        literal[at : at + 3] for literal in literals for at in range(len(literal) - 2)
    )
    every = [*found]
    if len(every) <= most:
        return tuple(every)
    return tuple(every[number * len(every) // most] for number in range(most))


def literals(pattern: str, ignore_case: bool = False) -> tuple[str, ...]:
    """Folded texts that whatever matches the RE2 ``pattern`` must hold. Errs towards
    none: an alternative, a flag or an escape that it does not know ends the search."""
    found: list[str] = []
    run: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "\\":
            escaped = pattern[at : at + 1]
            at += 1
            if escaped.isascii() and escaped.isprintable() and not escaped.isalnum():
                run.append(escaped)
                continue
            if not escaped or escaped not in _CLASSES:
                return ()
        elif char in "|)":
            return ()
        elif char in "*?{":
            run = run[:-1]
            if char == "{":
                at = pattern.find("}", at) + 1
                if not at:
                    return ()
        elif char == "[":
            at = _after_class(pattern, at)
            if not at:
                return ()
        elif char == "(":
            at = _after_group(pattern, at)
            if not at:
                return ()
        elif char not in "^$.+":
            run.append(char)
            continue
        found.append("".join(run))
        run = []
    found.append("".join(run))
    if ignore_case:
        # Beyond ASCII, tables of what is the same letter differ with their versions.
        found = [part for text in found for part in re.split(r"[^\x00-\x7f]+", text)]
    return tuple(folded(text) for text in found if text)


def branches(pattern: str, ignore_case: bool = False) -> tuple[tuple[str, ...], ...]:
    """Whatever matches ``pattern`` has all the ``literals`` of one of these. None at all where
    one of them is without any, or they are too many."""
    while (
        pattern.startswith("(") and "(?" not in pattern and _after_group(pattern, 1) == len(pattern)
    ):
        pattern = pattern[1:-1]
    parts = [pattern] if "(?" in pattern or "\\Q" in pattern else _split(pattern)
    found = tuple(literals(part, ignore_case) for part in parts)
    return found if len(found) <= _BRANCHES and all(found) else ()


def _split(pattern: str) -> list[str]:
    """At the alternatives of its outermost level; whole where it is beyond us."""
    parts, start, at = [], 0, 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "\\":
            at += 1
        elif char in "[(":
            at = _after_class(pattern, at) if char == "[" else _after_group(pattern, at)
            if not at:
                return [pattern]
        elif char == "|":
            parts.append(pattern[start : at - 1])
            start = at
    return [*parts, pattern[start:]]


def _after_class(pattern: str, at: int) -> int:
    """The place after a class that starts at ``at``; 0 where it is beyond us."""
    if pattern.startswith("^", at):
        at += 1
    if pattern.startswith("]", at):
        at += 1
    while at < len(pattern):
        if pattern[at] == "\\":
            if pattern[at + 1 : at + 2] in ("Q", "E", "x", "p", "P"):
                return 0
            at += 2
        elif pattern[at] == "[":
            return 0  # [:alpha:] and friends
        elif pattern[at] == "]":
            return at + 1
        else:
            at += 1
    return 0


def _after_group(pattern: str, at: int) -> int:
    """The place after a group that starts at ``at``; 0 where it is beyond us."""
    depth = 1
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "?" and pattern[at - 2] == "(":
            return 0
        if char == "\\":
            if pattern[at : at + 1] in ("Q", "E"):
                return 0
            at += 1
        elif char == "[":
            at = _after_class(pattern, at)
            if not at:
                return 0
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
            if not depth:
                return at
    return 0
