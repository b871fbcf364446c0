"""How commands print: safe for a terminal, tables for people, JSON lines for
programs."""

from __future__ import annotations

import json
import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

_UNSAFE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_UNSEEN = frozenset(
    (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, *range(0x180B, 0x1810),
     *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
)  # fmt: skip
"""Characters without ink that are no control characters: fillers, variation selectors
(Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties), the empty Braille cell."""
_MARKS = frozenset(("Mn", "Me"))
_STACKED = 3
"""Marks over one character: more would run into the lines above and below."""
_CELL = 64
_WHITE = re.compile(r"[ \t\n\r\f\v]+")
_ENDS = re.compile(r"[\r\n]+")
_LETTERS = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def safe(text: str, keep_lines: bool = False) -> str:
    """``text`` with everything escaped that a terminal might act upon or that
    could mislead a reader: control characters, escapes, bidirectional and
    invisible characters, heaps of combining marks, bytes that are no UTF-8."""
    if text.isascii() and text.isprintable():
        return text
    out = []
    stacked = 0
    for char in text:
        if keep_lines and char in "\n\t":
            out.append(char)
            stacked = 0
            continue
        kind = unicodedata.category(char)
        stacked = stacked + 1 if kind in _MARKS else 0
        if kind in _UNSAFE or stacked > _STACKED or ord(char) in _UNSEEN:
            out.append(_escaped(char))
        else:
            out.append(char)
    return "".join(out)


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00  # a byte that was no UTF-8
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def one_line(text: str, width: int = 0) -> str:
    """Safe, in one line, runs of ASCII's white space as one blank, cut to ``width`` columns if
    that is not 0."""
    if not (text.isascii() and text.isprintable() and "  " not in text):
        text = _WHITE.sub(" ", text)
    return cut(safe(text.strip(" ")), width)


def statement(text: str, width: int = 0) -> str:
    """``one_line``; but where a comment may end with its line, the ends of lines are to be seen:
    what follows would look like a part of the comment."""
    if "--" in text:
        return cut("\\n".join(map(one_line, _ENDS.split(text.strip("\r\n")))), width)
    return one_line(text, width)


def cell(text: str, width: int = 0) -> str:
    """Safe, in one line, with white space as it is; cut likewise."""
    if not (text.isascii() and text.isprintable()):
        text = safe("".join(_LETTERS.get(char, char) for char in text))
    return cut(text, width)


def columns(text: str) -> int:
    """How many columns of a terminal ``text`` takes, which is safe."""
    if text.isascii():
        return len(text)
    return sum(map(_columns, text))


def _columns(char: str) -> int:
    if unicodedata.category(char) in _MARKS:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def cut(text: str, width: int) -> str:
    """Safe ``text`` in ``width`` columns at most; 0 for as many as it takes."""
    if not width or (len(text) <= width and columns(text) <= width):
        return text
    room = width - 1
    for at, char in enumerate(text):
        room -= _columns(char)
        if room < 0:
            return text[:at] + "…"
    return text


def padded(text: str, width: int) -> str:
    """Safe ``text`` with blanks up to ``width`` columns."""
    return text + " " * (width - columns(text))


def jsonable(value: Any) -> Any:
    """``value`` as JSON has it; bytes as hex, surrogates escaped."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {jsonable(str(k)): jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    return value


class Printer:
    """Writes to stdout. ``color`` only on a terminal and without NO_COLOR."""

    def __init__(self, out: TextIO | None = None) -> None:
        self.out = out if out is not None else sys.stdout
        self.terminal = self.out.isatty()
        self.color = self.terminal and not (
            os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        )

    def line(self, text: str = "") -> None:
        """A line that is already safe."""
        self.out.write(text + "\n")

    def json(self, schema: str, value: dict[str, Any]) -> None:
        """One JSON object on a line, with its schema's name first. ASCII, so
        that nothing in it can act upon a terminal."""
        full = {"schema": f"wirewarden.{schema}/1", **jsonable(value)}
        self.out.write(json.dumps(full, ensure_ascii=True, separators=(",", ":")) + "\n")

    def paint(self, text: str, style: str) -> str:
        """``text`` in a color (``red``, ``yellow``, ``green``, ``dim``, ``bold``)."""
        codes = {"red": "31", "yellow": "33", "green": "32", "dim": "2", "bold": "1"}
        return f"\x1b[{codes[style]}m{text}\x1b[0m" if self.color else text

    def table(self, titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Aligned columns; cells are made safe, one line, and no wider than others can bear."""
        cells = [[one_line(text, _CELL) for text in row] for row in rows]
        widths = [
            max([len(title), *(columns(row[i]) for row in cells)]) for i, title in enumerate(titles)
        ]
        widths[-1] = 0

        def join(row: Sequence[str]) -> str:
            return "  ".join(map(padded, row, widths)).rstrip()

        self.line(self.paint(join(titles), "bold"))
        for row in cells:
            self.line(join(row))


def duration(nanoseconds: int) -> str:
    """``1.234s``, ``2m03s``, ``1h02m``."""
    seconds = nanoseconds / 1e9
    if seconds < 60:
        return f"{seconds:.3f}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m"


def amount(size: int) -> str:
    """Bytes for people: ``812 B``, ``1.4 MB``."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError
