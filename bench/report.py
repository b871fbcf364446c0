"""Results as people read them, and as programs do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bench.figures import SCHEMA, Case, Metric, Outcome, Spread
from bench.lab import Settings

TO = ("direct", "pgbouncer", "proxyjump")
"""What ratios are to."""
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
    against = [name for name in TO if name in case.samples]
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
        row += [spread(case.spread(entrant, m.name)) for m in measured]
        rows.append(row)
    lines = table(rows)
    lines += [f"  {name}: not run: {why}" for name, why in case.skipped.items()]
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
    if outcome.fault:
        lines.append(f"  BAD {outcome.fault}")
    return [*lines, ""]


def noisy(outcomes: Iterable[Outcome]) -> list[str]:
    """Sentences on cases whose direct runs differ too much among themselves:
    nothing that was changed can be the reason."""
    said = []
    for outcome in outcomes:
        for case in outcome.cases:
            found = case.spread("direct", outcome.metrics[0].name)
            if found is not None and len(found.samples) > 1 and found.noise > NOISE:
                said.append(
                    f"{outcome.scenario} {case.name}: direct runs differ by {found.noise:.0%}"
                )
    return said


def as_json(
    outcomes: Sequence[Outcome],
    settings: Settings,
    machine: Mapping[str, object],
    warnings: Sequence[str],
) -> dict[str, object]:
    """The schema is in README.md."""
    return {
        "schema": SCHEMA,
        "machine": dict(machine),
        "settings": {name: getattr(settings, name) for name in Settings.__slots__},
        "warnings": list(warnings),
        "good": all(outcome.good for outcome in outcomes),
        "scenarios": [
            {
                "name": outcome.scenario,
                "about": outcome.about,
                "seconds": round(outcome.seconds, 2),
                "metrics": [
                    {"name": m.name, "unit": m.unit, "better": m.better} for m in outcome.metrics
                ],
                "cases": [_case(case, outcome.metrics) for case in outcome.cases],
                "checks": [
                    {"name": c.name, "good": c.good, "detail": c.detail} for c in outcome.checks
                ],
                "fault": outcome.fault,
            }
            for outcome in outcomes
        ],
    }


def _case(case: Case, metrics: tuple[Metric, ...]) -> dict[str, object]:
    entrants = {}
    for name in case.samples:
        figures = {}
        for metric in metrics:
            found = case.spread(name, metric.name)
            if found is not None:
                figures[metric.name] = {
                    "median": found.median,
                    "min": found.low,
                    "max": found.high,
                    "samples": list(found.samples),
                }
        ratios = {
            to: ratio
            for to in TO
            if (ratio := case.ratio(name, to, metrics[0])) is not None and to != name
        }
        entrants[name] = {"metrics": figures, "ratios": ratios}
    return {"name": case.name, "entrants": entrants, "skipped": dict(case.skipped)}
