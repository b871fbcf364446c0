"""How commands print: safe for a terminal, tables for people, JSON lines for
programs."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

_UNSAFE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def safe(text: str, keep_lines: bool = False) -> str:
    """``text`` with everything escaped that a terminal might act upon or that
    could mislead a reader: control characters, escapes, bidirectional and
    invisible characters, bytes that are no UTF-8."""
    if text.isascii() and text.isprintable():
        return text
    out = []
    for char in text:
        if keep_lines and char in "\n\t":
            out.append(char)
        elif unicodedata.category(char) in _UNSAFE:
            code = ord(char)
            if 0xDC80 <= code <= 0xDCFF:
                code -= 0xDC00  # a byte that was no UTF-8
            if code < 0x100:
                out.append(f"\\x{code:02x}")
            else:
                out.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
        else:
            out.append(char)
    return "".join(out)


def one_line(text: str, width: int = 0) -> str:
    """Safe, in one line, cut to ``width`` characters if that is not 0."""
    line = safe(" ".join(text.split()))
    return line if not width or len(line) <= width else line[: width - 1] + "…"


def jsonable(value: Any) -> Any:
    """``value`` as JSON has it; bytes as hex, surrogates escaped."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    return value


class Printer:
    """Writes to stdout. ``color`` only on a terminal and without NO_COLOR."""

    def __init__(self, out: TextIO | None = None) -> None:
        self.out = out if out is not None else sys.stdout
        self.color = self.out.isatty() and not os.environ.get("NO_COLOR")
        self.terminal = self.out.isatty()

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
        """Aligned columns; cells are made safe and one line."""
        cells = [[one_line(cell) for cell in row] for row in rows]
        widths = [
            max([len(title), *(len(row[i]) for row in cells)]) for i, title in enumerate(titles)
        ]
        widths[-1] = 0

        def join(row: Sequence[str]) -> str:
            return "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()

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
