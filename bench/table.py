"""``bench table FILE``: a run as tables in Markdown, for a README."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.document import NotResults, read
from bench.report import number

Found = Mapping[str, Any]
BEGIN, END = "<!-- bench table: begin -->", "<!-- bench table: end -->"
OURS = "gateway os"
SIDES = ("direct", "bare relay", "haproxy", "pgbouncer", "proxyjump")
GATEWAYS = (OURS, "gateway disk", "gateway no masks", "gateway unrecorded")
RATIOS = ("direct", "pgbouncer", "proxyjump")
MACHINE = (
    "processor", "cpu_quota", "memory", "kernel", "disk", "python", "gateway", "postgres",
    "pgbouncer", "haproxy", "openssh", "git", "commit",
)  # fmt: skip
SHOWN_WARNINGS = 4


def tables(document: Found) -> list[str]:
    """Lines: the machine and how it was run, what was asked for, contenders, parts."""
    lines = [*_machine(document), ""]
    if document["targets"]:
        lines += [*_targets(document["targets"]), ""]
    contests = [s for s in document["scenarios"] if _is_contest(s)]
    if contests:
        lines += [*_contests(contests), ""]
    parts = [s for s in document["scenarios"] if not _is_contest(s) and s["cases"]]
    if parts:
        lines += [
            f"<details><summary>{len(parts)} scenarios without these contenders</summary>",
            "",
            *_parts(parts),
            "",
            "</details>",
            "",
        ]
    return lines


def _machine(document: Found) -> Iterator[str]:
    facts, settings = document["machine"], document["settings"]
    known = [f"{name.replace('_', ' ')} {facts[name]}" for name in MACHINE if facts.get(name)]
    yield f"**{facts.get('date', '?')}**, {facts.get('cores', '?')} cores; {', '.join(known)}."
    asked = ", ".join(
        f"{name.replace('_', ' ')} {_plain(settings[name])}"
        for name in ("rounds", "seconds", "clients", "size", "rows", "idle", "held", "git_sizes",
                     "clones", "commands")
        if name in settings
    )  # fmt: skip
    yield f"Asked for: {asked}. Medians of the rounds; ratios are medians of each round's ratio."
    noise = (
        f"load before {_plain(facts.get('load_before', '?'))}, after "
        f"{_plain(facts.get('load_after', '?'))}; steal {facts.get('steal_percent', '?')} %, "
        f"other programs {facts.get('foreign_percent', '?')} % of the CPU time"
    )
    warned = document["warnings"]
    if not warned:
        yield f"Quiet: {noise}."
    else:
        more = f"; and {len(warned) - SHOWN_WARNINGS} more" if len(warned) > SHOWN_WARNINGS else ""
        yield f"**Noisy**: {noise}. {'; '.join(warned[:SHOWN_WARNINGS])}{more}."
    if document.get("interrupted"):
        yield "**Interrupted**: not all of it ran."
    bad = [scenario["name"] for scenario in document["scenarios"] if scenario["failures"]]
    if bad:
        yield f"**Work was done wrong** in: {', '.join(bad)}."


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return "/".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def _targets(targets: Sequence[Found]) -> Iterator[str]:
    yield "| asked for | | here | |"
    yield "|---|---|---|---|"
    for target in targets:
        sign = "≤" if target["better"] == "less" else "≥"
        unit = f" {target['unit']}" if target["unit"] else ""
        met = "met" if target["met"] else "**missed**"
        yield _row(
            target["name"],
            f"{sign} {target['limit']:g}{unit}",
            f"{number(target['value'])}{unit} ({target['case']})",
            met,
        )


def _is_contest(scenario: Found) -> bool:
    """Whether contenders met in it, one of them the gateway."""
    names = {name for case in scenario["cases"] for name in case["entrants"]}
    return OURS in names and bool(names & set(SIDES))


def _contests(scenarios: Sequence[Found]) -> Iterator[str]:
    present = {n for s in scenarios for c in s["cases"] for n in c["entrants"]}
    bases = [name for name in RATIOS if name in present]
    names = [name for name in (*SIDES, *GATEWAYS) if name in present]
    head = ["", *(f"os ×{base}" for base in bases), *names, "CPU of os"]
    yield _row(*head)
    yield "|" + "---|" * len(head)
    for scenario in scenarios:
        first = _first(scenario)
        # What is better to the eye: the ratio says it with an arrow where less is.
        sign = "↓" if first["better"] == "less" else ""
        for case in scenario["cases"]:
            entrants = case["entrants"]
            told = entrants.get(OURS, {"metrics": {}})["metrics"]
            ratios = told.get(first["name"], {}).get("ratios", {})
            cells = [f"`{scenario['name']}` {case['name']}, {first['name']} {first['unit']}{sign}"]
            cells += [f"**{ratios[b]['median']:.2f}**" if b in ratios else "" for b in bases]
            cells += [_figure(entrants, name, first["name"]) for name in names]
            unit = next((m["unit"] for m in scenario["metrics"] if m["name"] == "cpu"), "")
            cpu = _figure(entrants, OURS, "cpu")
            yield _row(*cells, f"{cpu} {unit}" if cpu else "")


def _first(scenario: Found) -> Found:
    """The first metric that is measured of everybody; a meter's are not of direct."""
    names = [set(e["metrics"]) for case in scenario["cases"] for e in case["entrants"].values()]
    for metric in scenario["metrics"]:
        if any(metric["name"] in each for each in names):
            return dict(metric)
    return dict(scenario["metrics"][0])


def _figure(entrants: Found, name: str, metric: str) -> str:
    found = entrants.get(name, {}).get("metrics", {}).get(metric)
    return "" if found is None else number(found["median"])


def _parts(scenarios: Sequence[Found]) -> Iterator[str]:
    yield "| | | |"
    yield "|---|---|---|"
    for scenario in scenarios:
        for case in scenario["cases"]:
            for name, told in case["entrants"].items():
                figures = [f"×{base} {ratio:.2f}" for base, ratio in told["ratios"].items()]
                figures += [
                    f"{metric['name']} {number(told['metrics'][metric['name']]['median'])} "
                    f"{metric['unit']}".rstrip()
                    for metric in scenario["metrics"]
                    if metric["name"] in told["metrics"]
                ]
                yield _row(f"`{scenario['name']}` {case['name']}", name, ", ".join(figures))


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def put(lines: Sequence[str], text: str) -> str:
    """``text`` with these lines between its two marks. Raises ValueError without them."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"has no lines {BEGIN} and {END}")
    return "\n".join([f"{head}{BEGIN}", "", *lines, f"{END}{tail}"])


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "table",
        help="a run as tables in Markdown",
        description="Prints a run as tables in Markdown, or puts them into a file between "
        f"its lines {BEGIN} and {END}.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="a JSON file of results")
    parser.add_argument("--into", type=Path, metavar="FILE", help="bench/README.md, for one")
    parser.set_defaults(do=run)


def run(args: argparse.Namespace) -> int:
    """The exit code."""
    try:
        document = read(args.file)
        if document["settings"].get("smoke"):
            raise NotResults(f"{args.file} is of a smoke test, whose figures say nothing")
        lines = tables(document)
        if args.into is not None:
            args.into.write_text(put(lines, args.into.read_text("utf-8")), "utf-8")
    except (NotResults, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"bench: {args.into} {error}", file=sys.stderr)
        return 2
    if args.into is None:
        print("\n".join(lines))
    return 0
