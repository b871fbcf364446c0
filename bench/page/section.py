"""One scenario on the page: ratios and spread first, then figures, then what was checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from bench.latency import carries
from bench.machine import FOREIGN_PERCENT, STEAL_PERCENT
from bench.page import plots
from bench.page.style import OTHERS
from bench.page.svg import Log, drawing, mark, tag
from bench.report import number

Found = Mapping[str, Any]
PRIMARY = ("direct", "0 rules")
"""Whom the plot compares to; without one of them it shows the figures."""
BESIDE = ("direct", "pgbouncer", "haproxy", "proxyjump", "gateway unrecorded", "0 rules")
CLIENTS = re.compile(r"-c (\d+)")
MANY = 9
"""More lines than these are told apart by the table, not by colour."""


def section(scenario: Found) -> str:
    """All that is told of a scenario."""
    name = scenario["name"]
    rounds = scenario.get("rounds", 0)
    seconds = scenario["seconds"]
    about = f"{scenario['about']}. {rounds} round{'s' if rounds != 1 else ''}, {seconds:.0f} s."
    parts = [
        tag("h2", escape(name), id=anchor(name)),
        tag("p", escape(about), class_="sub"),
        _noise(scenario),
        _trouble(scenario),
    ]
    if any(case["entrants"] for case in scenario["cases"]):
        inside = [tag("div", _table(scenario), class_="scroll"), _charts(scenario)]
        parts.append(tag("div", *inside, class_="card"))
    parts.append(_checks(scenario))
    return tag("section", *parts)


def anchor(name: str) -> str:
    """The fragment of a scenario's address."""
    return f"s-{name}"


def primary(scenario: Found) -> str:
    """Whom the plot compares to, "" for nobody."""
    first = scenario["metrics"][0]["name"]
    for base in PRIMARY:
        for case in scenario["cases"]:
            for told in case["entrants"].values():
                if base in told["metrics"].get(first, {}).get("ratios", {}):
                    return base
    return ""


def ratio_of(told: Found, metric: str, base: str) -> Found | None:
    found = told["metrics"].get(metric, {}).get("ratios", {}).get(base)
    return None if found is None else dict(found)


def sign(name: str, class_: str = "") -> str:
    """A contender's mark, as in the plots, before its name."""
    return drawing(14, 14, [mark(7, 7, name, class_=class_)], "", "swatch inline")


def _table(scenario: Found) -> str:
    base = primary(scenario)
    # CPU next to what it buys, where a narrow window still shows it.
    metrics = sorted(
        (m for m in scenario["metrics"] if _measured(scenario, m["name"])),
        key=lambda m: 0 if m is scenario["metrics"][0] else 1 if m["name"] == "cpu" else 2,
    )
    first = scenario["metrics"][0]
    beside = [b for b in BESIDE if b != base and _has_ratio(scenario, first["name"], b)]
    shown = [base, *beside] if base else beside
    scale = Log(_values(scenario, first["name"], base), 14, plots.CELL - 14)
    row = plots.ROW if scenario.get("rounds", 2) > 1 else plots.LOW_ROW
    way = {"more": "right is better", "less": "left is better"}.get(first["better"], "")
    what = f"{first['name']} ×{base}" if base else f"{first['name']} {first['unit']}"
    head = [
        tag("th", ""),
        tag("th", plots.axis(scale, f"{what}  ({way})" if way else what), class_="plot"),
    ]
    head += [tag("th", f"×{escape(b.removeprefix('gateway '))}") for b in shown]
    head += [tag("th", escape(m["name"]), tag("small", escape(m["unit"]))) for m in metrics]
    rows = [tag("tr", *head)]
    for case in scenario["cases"]:
        rows.append(tag("tr", tag("td", escape(case["name"]), colspan=len(head)), class_="case"))
        classes = _classes(list(case["entrants"]))
        for name, told in case["entrants"].items():
            figure = told["metrics"].get(first["name"])
            if base:
                figure = ratio_of(told, first["name"], base)
                if name == base:
                    figure = {"median": 1.0, "min": 1.0, "max": 1.0, "samples": [1.0]}
            drawn = plots.cell(scale, figure, name, one=bool(base), row=row, class_=classes[name])
            cells = [
                tag("td", sign(name, classes[name]), escape(name)),
                tag("td", drawn, class_="plot"),
            ]
            for other in shown:
                ratio = ratio_of(told, first["name"], other)
                cells.append(tag("td", "" if ratio is None else f"{ratio['median']:.2f}"))
            cells += [_figure(told, m["name"]) for m in metrics]
            rows.append(tag("tr", *cells, class_="ours" if name == "gateway os" else None))
        for name, why in case.get("failed", {}).items():
            words = tag(
                "td", f"✗ {escape(name)}: {escape(why)}", colspan=len(head), class_="failed"
            )
            rows.append(tag("tr", words))
    return tag("table", *rows)


def _classes(names: Sequence[str]) -> dict[str, str]:
    """ "" for contenders, which have colours of their own."""
    known = all(name.startswith(("direct", "bare", "haproxy", "pgbouncer", "proxyjump", "gateway"))
                for name in names)  # fmt: skip
    if known:
        return dict.fromkeys(names, "")
    few = len(names) <= MANY
    return {name: f"o{at % len(OTHERS) if few else 0}" for at, name in enumerate(names)}


def _figure(told: Found, metric: str) -> str:
    if not _tells(told, metric):
        return tag("td", "")
    found = told["metrics"][metric]
    spread = ""
    if len(found["samples"]) > 1:
        spread = tag("small", f"{number(found['min'])}–{number(found['max'])}")
    return tag("td", number(found["median"]), spread, class_="num")


def _tells(told: Found, metric: str) -> bool:
    """Whether there is a figure, of enough that was timed."""
    counted = told["latency"]["count"] if "latency" in told else 0
    return metric in told["metrics"] and (not counted or carries(metric, counted))


def _measured(scenario: Found, metric: str) -> bool:
    return any(
        _tells(told, metric) for case in scenario["cases"] for told in case["entrants"].values()
    )


def _has_ratio(scenario: Found, metric: str, base: str) -> bool:
    return any(
        ratio_of(told, metric, base) is not None
        for case in scenario["cases"]
        for told in case["entrants"].values()
    )


def _values(scenario: Found, metric: str, base: str) -> list[float]:
    values = [1.0] if base else []
    for case in scenario["cases"]:
        for told in case["entrants"].values():
            found = ratio_of(told, metric, base) if base else told["metrics"].get(metric)
            if found is not None:
                values += [found["min"], found["max"]]
    return values


def _charts(scenario: Found) -> str:
    figures = []
    parts = _stages(scenario)
    if parts:
        figures.append(parts)
    first = scenario["metrics"][0]
    numbered = [
        (float(match[1]), {n: t["metrics"][first["name"]] for n, t in case["entrants"].items()
                           if first["name"] in t["metrics"]})
        for case in scenario["cases"]
        if (match := CLIENTS.fullmatch(case["name"])) and case["entrants"]
    ]  # fmt: skip
    if len(numbered) > 1 and not _classes(list(numbered[0][1]))[next(iter(numbered[0][1]))]:
        caption = f"{first['name']} {first['unit']} by number of clients"
        figures.append(_captioned(caption, plots.scaling(numbered, first["unit"])))
    for case in scenario["cases"]:
        latencies = {
            name: told["latency"] for name, told in case["entrants"].items() if "latency" in told
        }
        if latencies and not any(_classes(list(latencies)).values()):
            caption = f"{case['name']}: latency that so many percent did not exceed (HDR histogram)"
            figures.append(_captioned(caption, plots.percentile_curves(latencies)))
    return tag("div", *figures, class_="charts") if figures else ""


def _captioned(caption: str, inside: str) -> str:
    return tag("figure", tag("figcaption", escape(caption)), inside)


def _stages(scenario: Found) -> str:
    """Where metrics are parts of a total: what each takes."""
    first, *others = scenario["metrics"]
    if first["name"] != "total" or any(other["unit"] != first["unit"] for other in others):
        return ""
    rows, most = [], 0.0
    for case in scenario["cases"]:
        for name, told in case["entrants"].items():
            shares = [
                (other["name"], told["metrics"][other["name"]]["median"])
                for other in others
                if other["name"] in told["metrics"]
            ]
            if shares:
                rows.append((f"{case['name'].partition(' per')[0]}, {name}", shares))
                most = max(most, sum(value for _, value in shares))
    if not rows:
        return ""
    legend = [
        tag("span", sign("", f"o{at % len(OTHERS)}"), escape(other["name"]))
        for at, other in enumerate(others)
    ]
    return tag(
        "div",
        tag("div", *legend, class_="legend"),
        tag("div", plots.stacked(rows, first["unit"], most), class_="scroll"),
    )


def _noise(scenario: Found) -> str:
    noise = scenario.get("noise", {})
    said = []
    if noise.get("foreign_percent", 0) > FOREIGN_PERCENT:
        said.append(f"other programs took {noise['foreign_percent']:.0f} % of the CPU time")
    if noise.get("steal_percent", 0) > STEAL_PERCENT:
        said.append(f"the host took {noise['steal_percent']:.0f} % for other guests")
    if not said:
        return ""
    return tag("p", tag("span", "noisy: " + " and ".join(said), class_="chip warn"))


def _trouble(scenario: Found) -> str:
    said = [escape(each) for each in scenario.get("failures", [])]
    box = ""
    if said:
        items = tag("ul", *(tag("li", each) for each in said))
        box = tag("div", tag("b", "This went wrong:"), items, class_="box bad")
    if scenario.get("interrupted"):
        box += tag("div", "Interrupted: this is what was measured so far.", class_="box warn")
    skipped = scenario.get("skipped", {})
    if skipped:
        words = "; ".join(f"{escape(name)} ({escape(why)})" for name, why in skipped.items())
        box += tag("div", f"Not run: {words}", class_="box plain")
    return box


def _checks(scenario: Found) -> str:
    if not scenario["checks"]:
        return ""
    items = [
        tag("li", escape(c["name"] + (f": {c['detail']}" if c["detail"] else "")),
            class_=None if c["good"] else "no")
        for c in scenario["checks"]
    ]  # fmt: skip
    bad = sum(not c["good"] for c in scenario["checks"])
    said = f"{len(items)} checks, " + (f"{bad} of them failed" if bad else "all good")
    return tag(
        "details",
        tag("summary", said),
        tag("ul", *items, class_="checks"),
        open="open" if bad else None,
    )
