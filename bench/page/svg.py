"""Elements of a page as text, and scales."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from bench.page.style import SHAPES, css_class


def tag(name: str, /, *inside: str, **attributes: object) -> str:
    """An element; ``inside`` is markup already. ``class_`` is class, and other
    underscores are hyphens. Well-formed as XML too."""
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_plain(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if not inside and name not in ("td", "th", "div", "span", "ul", "p"):
        return f"<{name}{said}/>"
    return f"<{name}{said}>{''.join(inside)}</{name}>"


def _plain(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def text(x: float, y: float, words: str, **attributes: object) -> str:
    return tag("text", escape(words), x=x, y=y, **attributes)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> str:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def drawing(width: float, height: float, parts: Sequence[str], label: str, class_: str = "") -> str:
    """An image that says what it shows."""
    return tag(
        "svg", tag("title", escape(label)), *parts,
        viewBox=f"0 0 {width:g} {height:g}", width=width, height=height, role="img",
        class_=class_ or None,
    )  # fmt: skip


def mark(
    x: float, y: float, name: str, title: str = "", *, class_: str = "", size: float = 5
) -> str:
    """The sign of a contender."""
    shape = SHAPES.get(name, "disc")
    classes = f"{class_ or css_class(name)} {'hollow' if shape == 'ring' else 'mark'}"
    inside = [tag("title", escape(title))] if title else []
    if shape == "square":
        side = 1.7 * size
        return tag("rect", *inside, x=x - side / 2, y=y - side / 2, width=side, height=side,
                   class_=classes)  # fmt: skip
    if shape == "diamond":
        r = 1.25 * size
        points = f"{x:.1f},{y - r:.1f} {x + r:.1f},{y:.1f} {x:.1f},{y + r:.1f} {x - r:.1f},{y:.1f}"
        return tag("polygon", *inside, points=points, class_=classes)
    return tag("circle", *inside, cx=x, cy=y, r=size, class_=classes)


FINENESS: tuple[tuple[float, ...], ...] = (
    (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9),
    (1, 2, 3, 5, 7),
    (1, 2, 5),
    (1, 3),
    (1,),
)
"""Digits that ticks stand at, fewer and fewer."""


class Log:
    """A logarithmic scale from ``low`` to ``high`` onto ``start`` to ``end``."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        positive = [value for value in values if value > 0] or [1.0]
        low, high = min(positive), max(positive)
        room = max(1.06, (high / low) ** 0.05)
        self.low, self.high = low / room, high * room
        if self.high / self.low < 1.6:
            self.low, self.high = self.low / 1.3, self.high * 1.3
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        part = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return self._start + part * (self._end - self._start)

    def ticks(self, most: int = 7) -> list[float]:
        """Round values, about as many as fit."""
        for steps in FINENESS:
            found = [
                digit * 10.0**power
                for power in range(
                    math.floor(math.log10(self.low)), 1 + math.ceil(math.log10(self.high))
                )
                for digit in steps
                if self.low <= digit * 10.0**power <= self.high
            ]
            if len(found) <= most:
                break
        return found[:: max(1, math.ceil(len(found) / most))]


def short(value: float) -> str:
    """A tick's label."""
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    if value >= 1e4:
        return f"{value / 1e3:g}k"
    return f"{value:g}"
