"""Texts that differ only in numbers, understood once.

Clients of the simple protocol write values into the text, so that no two texts
are the same and none is found in a cache by its text. What a statement does does
not depend on a number that a column is compared with, that is assigned or added
to a column, or that stands in a list of values. ``template`` finds just those
numbers, in texts where nothing else can be going on.

The guess errs towards not finding a template: quotes, comments, dollars, casts,
backslashes and several statements are not looked into, settings and everything
but plain SELECT, INSERT, UPDATE and DELETE are left alone, and a number beside a
keyword stays part of the template. Which of the numbers are equal does matter
(``id - 1 = id - 1`` is true for every row), so equal numbers stay equal.
"""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 2048

_PLAIN: Final = re.compile(r"[A-Za-z0-9_ \t\r\n.,()=<>+*-]++;?\s*")
_VERBS: Final = ("select", "update", "delete", "insert")
# A column, an operator, a number: the number is of no account. In an INSERT also
# what stands in a list. Possessive, so that long names cost no backtracking.
_BESIDE: Final = re.compile(
    r"\b([A-Za-z_][A-Za-z0-9_.]*+)( ?(?:[<>]=?|[=+-]) ?)(-?[0-9]{1,18})\b(?![.])"
)
_DIGITS: Final = re.compile(r"(?<![?\w])[0-9]+")
_LISTED: Final = re.compile(r"([,(] ?)(-?[0-9]{1,18})(?= ?[,)])")
_KEYWORDS: Final = frozenset(
    """all and any as asc between by case cast coalesce cross current default desc distinct do else
    end except exists false fetch first following for from full group having if in inner intersect
    into is join lateral left like limit natural next not null nulls of offset on only or order
    outer over partition preceding range returning right row rows select set similar some table
    then to true union unique update using values when where window with""".split()  # noqa: SIM905
)


def template(text: str) -> str | None:
    """``text`` with the numbers that don't matter replaced, or None when it
    is not of the simple kind that this looks into. Two texts with the same
    template have the same analysis, but for their text."""
    verb = text[:6].lower()
    if verb not in _VERBS or len(text) > LONGEST or "--" in text or _PLAIN.fullmatch(text) is None:
        return None
    seen: dict[str, str] = {}

    def blank(match: re.Match[str]) -> str:
        *before, number = match.groups()
        if before[0].lower() in _KEYWORDS:
            return match[0]
        return "".join(before) + seen.setdefault(number, f"?{len(seen)}?")

    found = _BESIDE.sub(blank, text)
    if verb == "insert":
        found = _LISTED.sub(blank, found)
    if not seen:
        return found
    kept = set(_DIGITS.findall(found))
    return None if any(number.lstrip("-") in kept for number in seen) else found
