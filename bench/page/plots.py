"""The plots of a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bench.latency import percentiles_of
from bench.page.style import OTHERS, css_class
from bench.page.svg import Log, drawing, line, mark, short, tag, text
from bench.report import number

CELL, ROW, LOW_ROW = 330, 31, 23
Figures = Mapping[str, Any]


def axis(scale: Log, label: str) -> str:
    """The head of a column of ``cell``."""
    parts = [text(CELL / 2, 11, label, text_anchor="middle")]
    for value in scale.ticks():
        parts.append(text(scale(value), 27, short(value), text_anchor="middle"))
    return drawing(CELL, 32, parts, label, "inline")


def cell(
    scale: Log, found: Figures | None, name: str, *, one: bool, row: float, class_: str = ""
) -> str:
    """One row, ``row`` high: where the median is, and how far the rounds spread."""
    parts = [line(scale(value), 0, scale(value), row, "grid") for value in scale.ticks()]
    if one and scale.low <= 1 <= scale.high:
        parts.append(line(scale(1), 0, scale(1), row, "one"))
    said = f"{name}: nothing"
    if found is not None:
        said = f"{name}: {number(found['median'])}"
        if len(found["samples"]) > 1:
            said += f" ({number(found['min'])} to {number(found['max'])} in "
            said += f"{len(found['samples'])} rounds)"
        ends = scale(found["min"]), scale(found["max"])
        if ends[1] - ends[0] > 1:
            classes = f"{class_ or css_class(name)} whisker"
            parts.append(line(ends[0], row / 2, ends[1], row / 2, classes))
        parts.append(mark(scale(found["median"]), row / 2, name, said, class_=class_))
    return drawing(CELL, row, parts, said, "inline")


def overview(rows: Sequence[tuple[str, Mapping[str, Figures], bool]]) -> str:
    """Of each case every contender's first metric as a ratio to direct, turned
    so that to the right is better. ``rows``: label, ratios, whether less is better."""
    turned = [
        (label, {name: (1 / f["median"] if less else f["median"]) for name, f in ratios.items()})
        for label, ratios, less in rows
    ]
    left, width = 250, 1080
    scale = Log(
        [1.0, *(value for _, found in turned for value in found.values())], left, width - 20
    )
    height = 40 + 24 * len(turned)
    parts = [tag("rect", x=scale(1), y=22, width=max(0.0, width - scale(1)), height=height - 40,
                 class_="zone")]  # fmt: skip
    for value in scale.ticks(9):
        parts.append(line(scale(value), 22, scale(value), height - 18, "grid"))
        for y in (14, height - 4):
            parts.append(text(scale(value), y, f"{value:g}×", text_anchor="middle"))
    parts.append(line(scale(1), 22, scale(1), height - 18, "one"))
    for at, (label, found) in enumerate(turned):
        y = 38 + 24 * at
        parts.append(text(left - 14, y + 4, label, text_anchor="end", class_="ink"))
        ours = [scale(value) for name, value in found.items()]
        if ours:
            parts.append(line(min(ours), y, max(ours), y, "grid"))
        # The gateway on top of the others.
        for name, value in sorted(found.items(), key=lambda item: item[0].startswith("gateway")):
            size = 6.0 if name == "gateway os" else 4.5
            parts.append(mark(scale(value), y, name, f"{name}: {value:.2f} of direct", size=size))
    return drawing(width, height, parts, "every contender next to a direct connection")


def bullets(targets: Sequence[Figures]) -> str:
    """Each target: how many times as good as asked for it is, on one scale."""
    reached = [
        target["limit"] / target["value"] if target["better"] == "less" and target["value"]
        else target["value"] / target["limit"]
        for target in targets
    ]  # fmt: skip
    left, right, width = 410, 850, 1080
    scale = Log([0.5, 1.0, 2.0, *(min(max(r, 0.02), 50) for r in reached)], left, right)
    height = 34 + 24 * len(targets)
    parts = [
        tag("rect", x=scale(1), y=20, width=right - scale(1), height=height - 24, class_="zone")
    ]
    for value in scale.ticks(8):
        parts.append(line(scale(value), 20, scale(value), height - 4, "grid"))
        parts.append(text(scale(value), 13, f"{value:g}×", text_anchor="middle"))
    parts.append(line(scale(1), 20, scale(1), height - 4, "one"))
    for at, (target, value) in enumerate(zip(targets, reached, strict=True)):
        y = 34 + 24 * at
        word, sign = ("goodt", "✓") if target["met"] else ("badt", "✗")
        parts.append(text(0, y + 4, sign, class_=word))
        parts.append(text(18, y + 4, target["name"], class_="ink"))
        x = scale(min(max(value, 0.02), 50))
        ends = sorted((scale(1), x))
        colour = "o1" if target["met"] else "o9"
        parts.append(tag("rect", x=ends[0], y=y - 5, width=max(1.0, ends[1] - ends[0]), height=10,
                         rx=2, class_=f"{colour} bar"))  # fmt: skip
        sign = "≤" if target["better"] == "less" else "≥"
        parts.append(text(right + 14, y + 4, f"{number(target['value'])} {target['unit']}".strip(),
                          class_=word))  # fmt: skip
        asked = f"asked {sign} {target['limit']:g} {target['unit']}".strip()
        parts.append(text(width, y + 4, asked, text_anchor="end"))
    return drawing(width, height, parts, "the targets, and what was reached")


def percentile_curves(latencies: Mapping[str, Figures], width: float = 520) -> str:
    """The latency that so many percent did not exceed: slow ones to the right."""
    curves = {name: percentiles_of(told) for name, told in latencies.items()}
    left, right, top, bottom = 46.0, width - 8, 8.0, 232.0
    scale = Log([ms for points in curves.values() for _, ms in points], bottom, top)
    most = max(p for points in curves.values() for p, _ in points)
    nines = math.log10(100 / (100 - min(most, 99.9999)))

    def across(percentile: float) -> float:
        part = math.log10(100 / (100 - min(percentile, 99.9999))) / max(nines, 1.0)
        return left + part * (right - left)

    parts = []
    for value in scale.ticks(6):
        parts.append(line(left, scale(value), right, scale(value), "grid"))
        parts.append(text(left - 6, scale(value) + 4, short(value), text_anchor="end"))
    for percentile in (50, 90, 99, 99.9, 99.99):
        x = across(percentile)
        if x <= right + 1:
            parts.append(line(x, top, x, bottom, "grid"))
            anchor = "end" if x > right - 14 else "middle"
            parts.append(text(x, bottom + 15, f"{percentile:g} %", text_anchor=anchor))
    for name, points in curves.items():
        path = " ".join(f"{across(p):.1f},{scale(ms):.1f}" for p, ms in points)
        ours = " ours" if name == "gateway os" else ""
        told = latencies[name]
        shown = (f"{key} {number(told[key])}" for key in ("p50", "p99", "max"))
        title = f"{name}: {', '.join(shown)} ms"
        parts.append(tag("polyline", tag("title", title), points=path,
                         class_=f"{css_class(name)} curve{ours}"))  # fmt: skip
    parts.append(text(left + 4, top + 8, "ms"))
    return drawing(width, bottom + 20, parts, "latency by percentile")


def scaling(
    cases: Sequence[tuple[float, Mapping[str, Figures]]], unit: str, width: float = 520
) -> str:
    """A metric by the number of clients, the rounds' spread as a bar."""
    left, right, top, bottom = 52.0, width - 12, 10.0, 232.0
    names = list(dict.fromkeys(name for _, found in cases for name in found))
    values = [f[end] for _, found in cases for f in found.values() for end in ("min", "max")]
    scale = Log(values, bottom, top)
    count = [number for number, _ in cases]
    span = math.log(count[-1] / count[0])

    def across(clients: float) -> float:
        return left + 14 + math.log(clients / count[0]) / span * (right - left - 28)

    parts = [text(left + 4, top + 6, unit)]
    for value in scale.ticks(6):
        parts.append(line(left, scale(value), right, scale(value), "grid"))
        parts.append(text(left - 6, scale(value) + 4, short(value), text_anchor="end"))
    for clients in count:
        parts.append(text(across(clients), bottom + 15, f"{clients:g}", text_anchor="middle"))
    for name in names:
        points = [(across(n), found[name]) for n, found in cases if name in found]
        path = " ".join(f"{x:.1f},{scale(f['median']):.1f}" for x, f in points)
        ours = " ours" if name == "gateway os" else ""
        parts.append(tag("polyline", points=path, class_=f"{css_class(name)} curve{ours}"))
        for x, f in points:
            parts.append(line(x, scale(f["min"]), x, scale(f["max"]), f"{css_class(name)} whisker"))
            parts.append(mark(x, scale(f["median"]), name, f"{name}: {number(f['median'])} {unit}"))
    return drawing(width, bottom + 20, parts, "by number of clients")


def stacked(rows: Sequence[tuple[str, Sequence[tuple[str, float]]]], unit: str, most: float,
            width: float = 1080) -> str:  # fmt: skip
    """Parts of a whole, side by side."""
    left, right = 250, width - 70
    parts, height = [], 30.0 * len(rows) + 4
    for at, (label, shares) in enumerate(rows):
        y, x = 30.0 * at + 4, float(left)
        parts.append(text(left - 14, y + 15, label, text_anchor="end", class_="ink"))
        for index, (name, value) in enumerate(shares):
            wide = max(0.0, value / most * (right - left))
            title = tag("title", f"{name}: {number(value)} {unit}")
            parts.append(tag("rect", title, x=x, y=y, width=wide, height=22,
                             class_=f"o{index % len(OTHERS)} bar tick"))  # fmt: skip
            x += wide
        total = sum(value for _, value in shares)
        parts.append(text(x + 6, y + 15, f"{number(total)} {unit}", class_="strong"))
    return drawing(width, height, parts, "where the time goes")
