"""Where in a TOML text a value stands, so that an error can name its line.

``tomllib`` gives values without places.  ``Lines`` scans the same text once
more (TOML 1.0: https://toml.io/en/v1.0.0) and remembers the line on which each
key, table, array and element begins.  It is made for texts that ``tomllib``
accepts: parse first, and on a ``TOMLDecodeError`` use ``syntax_line``.  On any
other text it does not raise; it stops where it no longer understands, and the
answers fall back to the nearest enclosing line.
"""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress
from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r]|#[^\n]*)*")
_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]\}\n#]+")
_STRINGS = (
    ('"""', re.compile(r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}', re.DOTALL)),
    ("'''", re.compile(r"'''(?:[^']|'{1,2}(?!'))*'{3,5}", re.DOTALL)),
    ('"', re.compile(r'"(?:[^"\\\n]|\\.)*"')),
    ("'", re.compile(r"'[^'\n]*'")),
)
_SYNTAX_LINE = re.compile(r"\(at line (\d+), column \d+\)")


class _LostError(Exception):
    """The text is not TOML from here on."""


class Lines:
    """Lines of every place in ``text``, a TOML document.

    >>> Lines("a = 1\\n[[rule]]\\nid = 'x'").of(("rule", 0, "id"))
    3
    """

    __slots__ = ("_arrays", "_at", "_counted", "_line", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._at: dict[Path, int] = {}
        self._arrays: dict[Path, int] = {}
        self._counted = 0
        self._line = 1
        # A text that tomllib refuses: what was found so far stands.
        with suppress(_LostError, IndexError, RecursionError, tomllib.TOMLDecodeError):
            self._document()

    def of(self, path: Path) -> int:
        """The 1-based line on which ``path`` begins, e.g. ``("rule", 0,
        "where", "tables", 2)``; the nearest enclosing one where the text does
        not have that path (a missing key), 1 for the document."""
        for length in range(len(path), 0, -1):
            line = self._at.get(path[:length])
            if line is not None:
                return line
        return 1

    def _mark(self, path: Path, at: int) -> None:
        """Remember that ``path`` begins at offset ``at`` (first mention wins).
        Offsets come in rising order, so newlines are counted once."""
        if at > self._counted:
            self._line += self._text.count("\n", self._counted, at)
            self._counted = at
        self._at.setdefault(path, self._line)

    def _document(self) -> None:
        text, at = self._text, 0
        table: Path = ()
        while (at := self._skip(_SPACE, at)) < len(text):
            if text[at] == "[":
                at, table = self._header(at)
            else:
                at = self._pair(at, table)
            at = self._skip(_BLANK, at)
            if at < len(text) and text[at] != "\n":
                raise _LostError

    def _header(self, start: int) -> tuple[int, Path]:
        """``[a.b]`` or ``[[a.b]]``; the offset after it, and its path."""
        array = self._text.startswith("[[", start)
        at, keys = self._keys(start + 1 + array)
        close = "]]" if array else "]"
        if not self._text.startswith(close, at):
            raise _LostError
        path: Path = ()
        for number, key in enumerate(keys, 1):
            path = (*path, key)
            self._mark(path, start)
            if array and number == len(keys):
                self._arrays[path] = self._arrays.get(path, 0) + 1
            if path in self._arrays:  # a name of an array means its newest table
                path = (*path, self._arrays[path] - 1)
                self._mark(path, start)
        return at + len(close), path

    def _pair(self, start: int, table: Path) -> int:
        """``key = value`` in ``table``; the offset after it."""
        at, keys = self._keys(start)
        if self._text[at] != "=":
            raise _LostError
        path = table
        for key in keys:
            path = (*path, key)
            self._mark(path, start)
        return self._value(self._skip(_BLANK, at + 1), path)

    def _keys(self, at: int) -> tuple[int, list[str]]:
        """A dotted key; the offset of what follows the blanks after it."""
        keys = []
        while True:
            at = self._skip(_BLANK, at)
            if self._text[at] in "\"'":
                end = self._string(at)
                keys.append(str(tomllib.loads("k=" + self._text[at:end])["k"]))
            elif found := _BARE_KEY.match(self._text, at):
                end = found.end()
                keys.append(found.group())
            else:
                raise _LostError
            at = self._skip(_BLANK, end)
            if self._text[at] != ".":
                return at, keys
            at += 1

    def _value(self, at: int, path: Path) -> int:
        mark = self._text[at]
        if mark in "\"'":
            return self._string(at)
        if mark == "[":
            return self._elements(at + 1, path)
        if mark == "{":
            return self._inline(at + 1, path)
        if found := _BARE_VALUE.match(self._text, at):
            return found.end()
        raise _LostError

    def _elements(self, at: int, path: Path) -> int:
        number = 0
        while (at := self._skip(_SPACE, at)) < len(self._text):
            if self._text[at] == "]":
                return at + 1
            if self._text[at] == ",":
                at, number = at + 1, number + 1
                continue
            self._mark((*path, number), at)
            at = self._value(at, (*path, number))
        raise _LostError

    def _inline(self, at: int, path: Path) -> int:
        while (at := self._skip(_SPACE, at)) < len(self._text):
            if self._text[at] == "}":
                return at + 1
            at = at + 1 if self._text[at] == "," else self._pair(at, path)
        raise _LostError

    def _string(self, at: int) -> int:
        for opening, pattern in _STRINGS:
            if self._text.startswith(opening, at):
                if found := pattern.match(self._text, at):
                    return found.end()
                break
        raise _LostError

    def _skip(self, pattern: re.Pattern[str], at: int) -> int:
        found = pattern.match(self._text, at)
        return found.end() if found else at


def syntax_line(error: tomllib.TOMLDecodeError, text: str) -> int:
    """The line that ``tomllib`` complains about; the last one of ``text``
    where it complains about the end of the document."""
    found = _SYNTAX_LINE.search(str(error))
    return int(found.group(1)) if found else text.count("\n") + 1
