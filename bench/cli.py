"""The command line of the bench."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench import machine, report
from bench.figures import Outcome
from bench.lab import Lab, Settings
from bench.scenario import Scenario, play
from bench.scenarios import ALL
from gateway.demo.postgres import NoServer

EPILOG = """\
Every measurement is taken in rounds: direct, bare relay, pgbouncer, gateway os,
gateway disk, and again from the start. Ratios are medians of each round's ratio.
Results go to stdout, progress to stderr. Exit code 0: all that was measured did
its work and every recording verifies; 1: something did not; 2: usage.
How to read the numbers, and how they mislead: bench/README.md.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    usual = Settings()
    top = argparse.ArgumentParser(
        prog="python -m bench",
        description="What the gateway costs on this machine, next to a direct connection, a "
        "relay that does nothing, and pgbouncer. Without a command: run.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("list", help="the scenarios, their entrants and metrics")
    run = commands.add_parser("run", help="run scenarios (default: all, under 10 minutes)")
    run.add_argument("scenario", nargs="*", metavar="SCENARIO", help="names, see list")
    run.add_argument(
        "--rounds", type=_count, default=usual.rounds, help="turns of each (default %(default)s)"
    )
    run.add_argument(
        "--seconds",
        type=_count,
        default=usual.seconds,
        help="of each turn, where a turn has no size (default %(default)s)",
    )
    run.add_argument(
        "--size",
        type=_count,
        metavar="MB",
        help=f"of a COPY (default {usual.size}) and of a repository (default {usual.git_size})",
    )
    run.add_argument(
        "--sessions",
        type=_count,
        default=usual.sessions,
        metavar="N",
        help="that idle (default %(default)s, at most 1200)",
    )
    run.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    smoke = commands.add_parser(
        "smoke", help="every scenario once, tiny: for correctness, in about a minute"
    )
    smoke.add_argument("scenario", nargs="*", metavar="SCENARIO", help="names, see list")
    smoke.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    return top


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    top = parser()
    if not given or (given[0].startswith("-") and given[0] not in ("-h", "--help")):
        given.insert(0, "run")
    args = top.parse_args(given)
    if args.command == "list":
        return listing()
    chosen = _chosen(top, args.scenario)
    # Told to stop, it still takes down the servers that it started.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    if args.command == "smoke":
        settings = Settings.of_smoke()
    else:
        if args.sessions > 1200:
            top.error("--sessions: the server takes 1200 at most")
        settings = replace(
            Settings(),
            rounds=args.rounds,
            seconds=args.seconds,
            size=args.size or Settings().size,
            git_size=args.size or Settings().git_size,
            sessions=args.sessions,
        )
    return run(chosen, settings, args.json)


def _chosen(top: argparse.ArgumentParser, names: Sequence[str]) -> list[Scenario]:
    known = {scenario.name: scenario for scenario in ALL}
    wrong = [name for name in names if name not in known]
    if wrong:
        top.error(f"no scenario {wrong[0]!r}; there are: {', '.join(known)}")
    return [known[name] for name in names] if names else list(ALL)


def listing() -> int:
    """What there is to run."""
    for scenario in ALL:
        print(f"{scenario.name:16} {scenario.about}")
        print(f"{'':16} {', '.join(scenario.entrants)}")
        print(f"{'':16} {', '.join(f'{m.name} ({m.unit})' for m in scenario.metrics)}")
    return 0


def run(chosen: Sequence[Scenario], settings: Settings, file: Path | None) -> int:
    """Run, print each scenario as it ends, then the machine and warnings."""
    start = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - start:5.0f} s] {text}", file=sys.stderr, flush=True)

    watch = machine.Watch()
    outcomes: list[Outcome] = []
    try:
        with Lab(settings, say) as lab:
            for scenario in chosen:
                say(scenario.name)
                outcome = play(scenario, lab)
                outcomes.append(outcome)
                print("\n".join(report.of_outcome(outcome)), flush=True)
    except NoServer as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130
    seen = machine.facts() | watch.done()
    warnings = [] if settings.smoke else [*machine.complaints(seen), *report.noisy(outcomes)]
    print("## machine: " + ", ".join(f"{name} {value}" for name, value in seen.items()))
    for warning in warnings:
        print(f"  NOISY {warning}")
    if warnings:
        print("  The machine was noisy: believe ratios with care, absolute numbers not at all.")
    if file is not None:
        document = report.as_json(outcomes, settings, seen, warnings)
        file.write_text(json.dumps(document, indent=1) + "\n")
        say(f"wrote {file}")
    bad = [outcome.scenario for outcome in outcomes if not outcome.good]
    if bad:
        print(f"bench: what was measured went wrong: {', '.join(bad)}", file=sys.stderr)
    return 1 if bad else 0
