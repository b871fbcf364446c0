"""Patterns of names. ``*`` stands for any run of characters, also for none,
and crosses dots and slashes; every other character stands for itself.

``?``, ``[`` and ``**`` are refused, because they mean something else in each
tool that has them; a list of patterns says it without doubt.  A pattern is
matched in time linear in the name for each ``*``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

Test: TypeAlias = Callable[[str], bool]

MEMO = 64
"""Answers that one condition remembers."""
MEMO_NAME = 256
"""The longest name that is worth remembering, in characters."""


def complaint(pattern: str) -> str:
    """Why ``pattern`` is no pattern, "" if it is one."""
    if not pattern:
        return "an empty pattern can never match"
    if not pattern.isprintable():
        return f"pattern {pattern!r} has a control character"
    if "**" in pattern:
        return f'"{pattern}": "**" has no meaning of its own; "*" already crosses dots and slashes'
    for sign in "?[":
        if sign in pattern:
            return f'"{pattern}": "{sign}" is not a wildcard here, only "*" is; write a list'
    return ""


def compile_globs(patterns: Iterable[str]) -> Test:
    """A function that tells whether a name matches any of ``patterns``:
    literals in one set look-up, prefixes and suffixes in one call each."""
    literals, prefixes, suffixes = set(), [], []
    tests: list[Test] = []
    for pattern in sorted(set(patterns)):
        stars = pattern.count("*")
        if pattern == "*":
            return lambda name: True
        if not stars:
            literals.add(pattern)
        elif stars == 1 and pattern.endswith("*"):
            prefixes.append(pattern[:-1])
        elif stars == 1 and pattern.startswith("*"):
            suffixes.append(pattern[1:])
        else:
            tests.append(_general(pattern))
    if suffixes:
        ends = tuple(suffixes)
        tests.insert(0, lambda name: name.endswith(ends))
    if prefixes:
        starts = tuple(prefixes)
        tests.insert(0, lambda name: name.startswith(starts))
    if literals:
        tests.insert(0, frozenset(literals).__contains__)
    if len(tests) == 1:
        return tests[0]
    if len(tests) == 2:
        first, second = tests
        return lambda name: first(name) or second(name)
    return lambda name: any(test(name) for test in tests)


def _general(pattern: str) -> Test:
    # The leftmost place for each middle piece leaves the most room for the
    # next, so no backtracking is needed.
    head, *middles, tail = pattern.split("*")
    if not head and not tail and len(middles) == 1:
        piece = middles[0]
        return lambda name: piece in name
    least = len(head) + len(tail)

    def matches(name: str) -> bool:
        if len(name) < least or not name.startswith(head) or not name.endswith(tail):
            return False
        at, end = len(head), len(name) - len(tail)
        for piece in middles:
            found = name.find(piece, at, end)
            if found < 0:
                return False
            at = found + len(piece)
        return True

    return matches


class _Memo(dict[str, bool]):
    """The last answers of a test. Names come again and again, and a look-up
    costs a tenth of a test with several patterns. Small, because the names are
    the client's to choose."""

    __slots__ = ("_test",)

    def __init__(self, test: Test) -> None:
        self._test = test

    def __missing__(self, name: str) -> bool:
        answer = self._test(name)
        if len(self) >= MEMO:
            self.clear()
        if len(name) <= MEMO_NAME:
            self[name] = answer
        return answer


def remembering(test: Test) -> Test:
    """``test``, with the last answers remembered."""
    return _Memo(test).__getitem__


def covers(broad: str, narrow: str) -> bool:
    """Does every name that matches ``narrow`` match ``broad``? Matching the
    text of ``narrow`` itself decides it: only a ``*`` can take up a ``*``."""
    return compile_globs((broad,))(narrow)


def overlap(pattern: str, name: str) -> bool:
    """Could ``name``, in which a ``*`` stands for any text without a dot
    (``users.*``: some column), be one that matches ``pattern``?"""
    # reach[j]: what came of pattern so far can be matched together with name[:j].
    reach = [True]
    for sign in name:
        reach.append(reach[-1] and sign == "*")
    for mark in pattern:
        row = [reach[0] and mark == "*"]
        for j, sign in enumerate(name, 1):
            met = reach[j - 1] and mark == sign
            met = met or (mark == "*" and (row[-1] or reach[j]))
            row.append(met or (sign == "*" and (row[-1] or (reach[j] and mark != "."))))
        reach = row
    return reach[-1]
