"""A run as a JSON document, schema ``wirewarden-bench/1`` (README.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.figures import SCHEMA, Case, Metric, Outcome, Spread
from bench.settings import Settings
from bench.targets import judged


class NotResults(Exception):
    """The file isn't one that this bench can read; says why."""


def as_json(
    outcomes: Sequence[Outcome],
    settings: Settings,
    machine: Mapping[str, object],
    warnings: Sequence[str],
    *,
    interrupted: bool = False,
) -> dict[str, Any]:
    """Everything, samples included."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "machine": dict(machine),
        "settings": settings.as_json(),
        "warnings": list(warnings),
        "good": all(outcome.good for outcome in outcomes),
        "interrupted": interrupted,
        "scenarios": [_scenario(outcome) for outcome in outcomes],
    }
    document["targets"] = [] if settings.smoke else judged(document)
    return document


def _scenario(outcome: Outcome) -> dict[str, Any]:
    return {
        "name": outcome.scenario,
        "about": outcome.about,
        "seconds": round(outcome.seconds, 2),
        "rounds": outcome.rounds,
        "metrics": [{"name": m.name, "unit": m.unit, "better": m.better} for m in outcome.metrics],
        "bases": list(outcome.bases),
        "cases": [_case(case, outcome.metrics, outcome.bases) for case in outcome.cases],
        "checks": [{"name": c.name, "good": c.good, "detail": c.detail} for c in outcome.checks],
        "skipped": dict(outcome.skipped),
        "failures": outcome.failures,
        "fault": outcome.fault,
        "interrupted": outcome.interrupted,
        "noise": dict(outcome.noise),
    }


def _case(case: Case, metrics: tuple[Metric, ...], bases: Sequence[str]) -> dict[str, Any]:
    entrants = {}
    for name in case.samples:
        figures = {}
        for metric in metrics:
            found = case.spread(name, metric.name)
            if found is None:
                continue
            figures[metric.name] = _spread(found)
            ratios = {
                to: _spread(ratio)
                for to in bases
                if to != name and (ratio := case.ratios(name, to, metric.name)) is not None
            }
            if ratios:
                figures[metric.name]["ratios"] = ratios
        told = figures.get(metrics[0].name, {}).get("ratios", {})
        entrants[name] = {
            "metrics": figures,
            "ratios": {to: ratio["median"] for to, ratio in told.items()},
            "cpu_seconds": {
                role: [round(value, 4) for value in values]
                for role, values in case.cpu.get(name, {}).items()
            },
        }
        if name in case.latency:
            entrants[name]["latency"] = case.latency[name].as_json()
    return {
        "name": case.name,
        "entrants": entrants,
        "skipped": dict(case.skipped),
        "failed": dict(case.failed),
    }


def _spread(found: Spread) -> dict[str, Any]:
    return {
        "median": found.median,
        "min": found.low,
        "max": found.high,
        "samples": list(found.samples),
    }


def read(path: Path) -> dict[str, Any]:
    """A document from a file. Raises NotResults, OSError."""
    try:
        found = json.loads(path.read_text())
    except (ValueError, UnicodeDecodeError) as error:
        raise NotResults(f"{path} is not JSON: {error}") from error
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema != SCHEMA:
        raise NotResults(f"{path} has the schema {schema!r}, not {SCHEMA!r}")
    return dict(found)
