"""Results as people read them, and as programs do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.figures import Case, Metric, Outcome, Spread
from bench.latency import carries
from bench.machine import FOREIGN_PERCENT, STEAL_PERCENT

SHOWN_BASES = ("direct", "pgbouncer", "proxyjump", "0 rules")
"""Whose ratios fit into a line of text; the page and the JSON have all."""
NOISE = 0.25
"""Spread between rounds, as a part of the median, from which a case is called noisy."""


def number(value: float) -> str:
    """Three digits that matter."""
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.095 or not size else f"{value:.3f}"


def spread(found: Spread | None) -> str:
    if found is None:
        return "-"
    if len(found.samples) == 1:
        return number(found.median)
    return f"{number(found.median)} ({number(found.low)}..{number(found.high)})"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns side by side: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if not i else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def of_case(case: Case, metrics: tuple[Metric, ...]) -> list[str]:
    """Ratios first, numbers second."""
    against = [name for name in SHOWN_BASES if name in case.samples]
    measured = [m for m in metrics if any(m.name in got for got in case.samples.values())]
    head = [case.name]
    head += [f"{metrics[0].name} ×{name}" for name in against]
    head += [f"{m.name} {m.unit}" for m in measured]
    rows = [head]
    for entrant in case.samples:
        row = [f"  {entrant}"]
        for name in against:
            ratio = case.ratio(entrant, name, metrics[0])
            row.append("-" if ratio is None else f"{ratio:.2f}")
        for m in measured:
            count = case.latency[entrant].count if entrant in case.latency else 0
            told = not count or carries(m.name, count)
            row.append(spread(case.spread(entrant, m.name)) if told else "-")
        rows.append(row)
    lines = table(rows)
    lines += [f"  BAD {name}: {why}" for name, why in case.failed.items()]
    return lines


def of_outcome(outcome: Outcome) -> list[str]:
    """One scenario: its cases, then what was checked."""
    better = outcome.metrics[0].better
    which = f"; {outcome.metrics[0].name}: {better} is better" if better else ""
    lines = [f"## {outcome.scenario}: {outcome.about} [{outcome.seconds:.0f} s{which}]"]
    for case in outcome.cases:
        lines += of_case(case, outcome.metrics)
    for check in outcome.checks:
        mark = "ok " if check.good else "BAD"
        lines.append(f"  {mark} {check.name}" + (f": {check.detail}" if check.detail else ""))
    lines += [f"  {name}: not run: {why}" for name, why in outcome.skipped.items()]
    if outcome.fault:
        lines.append(f"  BAD {outcome.fault}")
    if outcome.interrupted:
        lines.append("  interrupted: this is what was measured so far")
    return [*lines, ""]


def noisy(outcomes: Iterable[Outcome]) -> list[str]:
    """Sentences on scenarios during which others used the machine, and on cases
    whose direct runs differ too much among themselves: nothing that was changed
    can be the reason."""
    said = []
    for outcome in outcomes:
        foreign = outcome.noise.get("foreign_percent", 0.0)
        steal = outcome.noise.get("steal_percent", 0.0)
        if foreign > FOREIGN_PERCENT:
            said.append(f"{outcome.scenario}: other programs took {foreign:.0f} % of the CPU time")
        if steal > STEAL_PERCENT:
            said.append(f"{outcome.scenario}: the host took {steal:.0f} % for other guests")
        for case in outcome.cases:
            found = case.spread("direct", outcome.metrics[0].name)
            if found is not None and len(found.samples) > 1 and found.noise > NOISE:
                said.append(
                    f"{outcome.scenario} {case.name}: direct runs differ by {found.noise:.0%}"
                )
    return said


def of_targets(told: Sequence[Mapping[str, Any]]) -> list[str]:
    """What was asked for, next to what was measured."""
    if not told:
        return []
    lines = ["## targets (of each the worst case)"]
    rows = []
    for target in told:
        sign = "≤" if target["better"] == "less" else "≥"
        rows.append(
            [
                f"  {'met   ' if target['met'] else 'MISSED'} {target['name']}",
                f"{number(target['value'])} {target['unit']}".strip(),
                f"{sign} {target['limit']:g}",
                target["case"],
            ]
        )
    return [*lines, *table(rows), ""]
