"""``bench compare OLD NEW``: what moved beyond the noise."""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import movement
from bench.document import NotResults, read
from bench.report import number, table

SCHEMA = "wirewarden-bench-compare/1"
LEAST_PERCENT = 5.0
ALWAYS_GATED = ("cpu",)
"""Beside the metric that a scenario names first: these make exit code 1."""
MACHINE = ("cores", "cpu_quota", "processor", "kernel", "disk", "python", "postgres")

DESCRIPTION = """\
Compares two runs by the ratios within their rounds (each contender to direct,
to pgbouncer, ...). A ratio moved when an exact rank test says so (p <= 0.05,
one-sided), the shift is above three standard errors, and above --least.
Exit code 1: a ratio of a scenario's first metric or of CPU got worse, or NEW did
work wrong; 0: not so; 2: not two files of results.
Absolute figures of parts that have no contenders are shown, and never the
reason for exit code 1."""


@dataclass(frozen=True, slots=True)
class Key:
    """One series of samples. ``to``: whom the ratio is to, "" for the figure itself."""

    scenario: str
    case: str
    entrant: str
    metric: str
    to: str


@dataclass(frozen=True, slots=True)
class Series:
    """``gated``: a move for the worse is a regression."""

    samples: tuple[float, ...]
    better: str
    unit: str
    gated: bool


@dataclass(frozen=True, slots=True)
class Row:
    """What is told of one series."""

    key: Key
    old: float
    new: float
    move: movement.Move
    gated: bool

    @property
    def regression(self) -> bool:
        return self.gated and self.move.verdict == "worse"


def series(document: Mapping[str, Any]) -> Iterator[tuple[Key, Series]]:
    """Every series that can be compared: ratios, and the figures of those that
    have none."""
    for scenario in document["scenarios"]:
        first = scenario["metrics"][0]["name"]
        known = {metric["name"]: metric for metric in scenario["metrics"]}
        for case in scenario["cases"]:
            for entrant, told in case["entrants"].items():
                for name, figures in told["metrics"].items():
                    metric = known[name]
                    if not metric["better"]:
                        continue
                    gated = name == first or name in ALWAYS_GATED
                    ratios = figures.get("ratios", {})
                    chosen = ratios or ({} if scenario.get("bases") else {"": figures})
                    for to, found in chosen.items():
                        samples = tuple(found["samples"])
                        if samples and all(value > 0 for value in samples):
                            key = Key(scenario["name"], case["name"], entrant, name, to)
                            yield (
                                key,
                                Series(
                                    samples, metric["better"], metric["unit"], gated and bool(to)
                                ),
                            )


def compared(
    old: Mapping[str, Any], new: Mapping[str, Any], *, least: float
) -> tuple[list[Row], list[Key], list[Key]]:
    """A row for each series in both, and the keys that are in one alone. ``least``:
    the part of a ratio that matters (0.05)."""
    before, after = dict(series(old)), dict(series(new))
    usual = _usual([before, after])
    rows = []
    for key, was in before.items():
        now = after.get(key)
        if now is None:
            continue
        move = movement.judge(
            was.samples, now.samples, was.better,
            usual=usual[key.scenario, key.case, key.metric, bool(key.to)], least=least,
        )  # fmt: skip
        old_median, new_median = statistics.median(was.samples), statistics.median(now.samples)
        rows.append(Row(key, old_median, new_median, move, was.gated))
    return rows, [key for key in before if key not in after], [k for k in after if k not in before]


def _usual(runs: list[dict[Key, Series]]) -> dict[tuple[str, str, str, bool], float]:
    """The median over contenders of the variance of a case's ratios."""
    found: dict[tuple[str, str, str, bool], list[float]] = defaultdict(list)
    for run in runs:
        for key, each in run.items():
            group = (key.scenario, key.case, key.metric, bool(key.to))
            found[group].append(movement.variance([math.log(x) for x in each.samples]))
    return {group: statistics.median(values) for group, values in found.items()}


def warnings(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Why the comparison may mislead."""
    said = []
    for name in MACHINE:
        a, b = old["machine"].get(name), new["machine"].get(name)
        if a != b:
            said.append(f"other machines: {name} was {a!r}, is {b!r}")
    for label, run in (("OLD", old), ("NEW", new)):
        if run["warnings"]:
            said.append(f"{label} was noisy: {run['warnings'][0]}")
        if run.get("interrupted"):
            said.append(f"{label} was interrupted")
        if not run["good"]:
            said.append(f"{label} did work wrong: its figures may be those of failing")
    return said


def lines(rows: list[Row], told: list[str], only_old: list[Key], only_new: list[Key]) -> list[str]:
    """For people: regressions first."""
    said = [f"  BEWARE {each}" for each in told]
    for title, chosen in (
        ("regressions", [row for row in rows if row.regression]),
        ("better", [row for row in rows if row.gated and row.move.verdict == "better"]),
        (
            "moved too (not the first metric, or an absolute figure)",
            [row for row in rows if not row.gated and row.move.verdict in ("better", "worse")],
        ),
    ):
        if not chosen:
            continue
        said.append(f"## {title}")
        chosen.sort(key=lambda row: -abs(math.log(row.move.factor)))
        said += table([["", "old", "new", "new/old", "noise", "p"], *map(_shown, chosen)])
    judged = [row for row in rows if row.move.verdict != "unknown"]
    counts = {
        word: sum(row.move.verdict == word for row in judged)
        for word in ("better", "worse", "same")
    }
    said.append(
        f"{len(judged)} series compared: "
        + ", ".join(f"{count} {word}" for word, count in counts.items())
        + f"; {len(rows) - len(judged)} not judged: fewer than {movement.LEAST_ROUNDS} rounds"
    )
    gated = [row.move.noise for row in judged if row.gated]
    if gated:
        said.append(
            f"of half of the {len(gated)} ratios that count, only a move above "
            f"×{statistics.median(gated):.2f} could be told from noise"
        )
    if not judged:
        said.append("  BEWARE nothing was judged: this says neither that it got worse nor that not")
    for label, keys in (("OLD", only_old), ("NEW", only_new)):
        names = sorted({f"{key.scenario} {key.case}, {key.entrant}" for key in keys})
        if names:
            said.append(f"only in {label}: {'; '.join(names[:12])}{' ...' * (len(names) > 12)}")
    return said


def _shown(row: Row) -> list[str]:
    key = row.key
    to = f" ×{key.to}" if key.to else ""
    return [
        f"  {row.move.verdict:6} {key.scenario} {key.case}, {key.entrant}: {key.metric}{to}",
        number(row.old),
        number(row.new),
        f"{row.move.factor:.3f}",
        f"×{row.move.noise:.2f}",
        f"{row.move.p:.3f}",
    ]


def as_json(
    rows: list[Row], told: list[str], only_old: list[Key], only_new: list[Key]
) -> dict[str, Any]:
    """For programs; the shape is in README.md."""
    return {
        "schema": SCHEMA,
        "test": "Mann-Whitney, exact, one-sided, p <= 0.05; three standard errors; --least",
        "warnings": told,
        "regressions": sum(row.regression for row in rows),
        "rows": [
            asdict(row.key)
            | {"old": row.old, "new": row.new, "gated": row.gated, "regression": row.regression}
            | asdict(row.move)
            for row in rows
        ],
        "only_old": [asdict(key) for key in only_old],
        "only_new": [asdict(key) for key in only_new],
    }


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "compare",
        help="what moved between two runs, beyond the noise",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("old", type=Path, metavar="OLD", help="a JSON file of results")
    parser.add_argument("new", type=Path, metavar="NEW", help="a later one")
    parser.add_argument(
        "--least", type=float, default=LEAST_PERCENT, metavar="PERCENT",
        help="a move that matters (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(do=run)


def run(args: argparse.Namespace) -> int:
    """The exit code."""
    try:
        old, new = read(args.old), read(args.new)
    except (NotResults, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    rows, only_old, only_new = compared(old, new, least=args.least / 100)
    told = warnings(old, new)
    if args.json:
        print(json.dumps(as_json(rows, told, only_old, only_new), indent=1))
    else:
        print("\n".join(lines(rows, told, only_old, only_new)))
    return 1 if any(row.regression for row in rows) or not new["good"] else 0
