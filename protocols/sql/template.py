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
from typing import Final, Generic, TypeVar

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


T = TypeVar("T")
_RUNS: Final = re.compile("([0-9]+)")
_PLACES: Final = re.compile(r"\?([0-9]+)\?|[0-9]+")
_LENGTH: Final = 18
"""Digits of the longest number that leaves the template."""
_MOST: Final = 2048


class Recalled(Generic[T]):
    """What was understood of texts, by what stands between their digits: finds what
    ``template`` would lead to, for a part of its cost.

    Where the numbers of a text are, and which of them are of no account, does not depend
    on their digits while none is longer than ``_LENGTH``. So that is worked out once, and
    of another text with the same words only its digits are looked at: of numbers that
    leave the template which are equal, all others exactly.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._kept = 0
        self._forms: dict[tuple[str, ...], _Form[T]] = {}

    def find(self, text: str) -> T | None:
        """What was kept for a text with the same template; None also where
        that is not known."""
        if len(text) > LONGEST:
            return None
        pieces = _RUNS.split(text)
        form = self._forms.get(tuple(pieces[::2]))
        if form is None:
            return None
        variant = form.variant(pieces[1::2])
        return None if variant is None else form.known.get(variant)

    def keep(self, text: str, shape: str, value: T) -> None:
        """``value`` is what to find for texts whose template is ``shape``, that of
        ``text``."""
        pieces = _RUNS.split(text)
        runs = pieces[1::2]
        if any(len(run) > _LENGTH for run in runs):
            return
        if self._kept >= self._most:
            self._kept = 0
            self._forms.clear()
        words = tuple(pieces[::2])
        form = self._forms.get(words)
        if form is None:
            form = self._forms[words] = _Form(words, shape)
        variant = form.variant(runs)
        if variant is not None and variant not in form.known:
            self._kept += 1
            form.known[variant] = value


class _Form(Generic[T]):
    """Texts with the same words. ``known`` is by ``variant``."""

    __slots__ = ("_alone", "_blanks", "_rest", "_single", "known")

    def __init__(self, words: tuple[str, ...], shape: str) -> None:
        # Each run of digits of the text is one match in its template, in order.
        places = list(_PLACES.finditer(shape))
        self._blanks: list[tuple[int, str]] = []
        self._rest: list[int] = []
        self._alone: list[int] = []
        end = 0
        for at, place in enumerate(places):
            before = shape[end : place.start()]
            end = place.end()
            if place[1] is not None:
                self._blanks.append((at, words[at].removeprefix(before)))  # "-", or nothing
                continue
            self._rest.append(at)
            if not (before[-1:].isalnum() or before.endswith("_")):
                self._alone.append(at)
        self._single = len(places) == len(self._blanks) == 1
        self.known: dict[tuple[str | int, ...], T] = {}

    def variant(self, runs: list[str]) -> tuple[str | int, ...] | None:
        """What of ``runs``, the digits of a text, its template depends on; None
        where it may have none."""
        if self._single:
            return () if len(runs[0]) <= _LENGTH else None
        found: list[str | int] = [runs[at] for at in self._rest]
        seen: dict[str, int] = {}
        for at, sign in self._blanks:
            run = runs[at]
            if len(run) > _LENGTH:
                return None
            found.append(seen.setdefault(sign + run, len(seen)))
        if seen:
            bare = {runs[at] for at, _ in self._blanks}
            if any(runs[at] in bare for at in self._alone):
                return None
        return tuple(found)
