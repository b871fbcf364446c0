"""The command line of the bench."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from bench.lab import MAKERS
from bench.run import INTERRUPTED, Places, run
from bench.scenario import Scenario
from bench.scenarios import ALL
from bench.settings import Settings
from gateway.demo.postgres import NoServer

TERMINATED = 143
RESULTS = Path("build/bench")
EPILOG = """\
Every measurement is taken in rounds: each contender has its turn (direct, bare
relay, haproxy, pgbouncer, gateway os ...), and again from the start. The first
round warms up and is dropped. Ratios are medians of each round's ratio.

Results go to stdout, progress to stderr, and a page with plots, and everything
as JSON, to build/bench/latest.html and .json. Ctrl-C ends a run in order: what
was measured so far is kept.

exit codes: 0 all that was measured did its work and every recording verifies;
1 something did not; 2 wrong usage; 130 interrupted (143 by SIGTERM);
compare: 0 nothing got worse, 1 a ratio did, beyond the noise.

How to read the numbers, and how they mislead: bench/README.md.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    quick, whole = Settings(), Settings.of_all()
    top = argparse.ArgumentParser(
        prog="python -m bench",
        description="What the gateway costs on this machine, next to a direct connection, a relay "
        "that does nothing, and what one would use instead. Without a command: run.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND")

    listing = commands.add_parser("list", help="the scenarios, their contenders, cases and metrics")
    listing.add_argument("--all", action="store_true", help="as run --all has them")

    running = commands.add_parser(
        "run",
        help="run scenarios (default: all of them, small: under 10 minutes)",
        description="Runs scenarios. Without --all their sizes are small, so that all of them "
        f"take under {quick.minutes:g} minutes.",
    )
    running.add_argument("scenario", nargs="*", metavar="SCENARIO", help="names, see list")
    running.add_argument(
        "--all", action="store_true",
        help="whole sizes, every number of clients, more rounds; takes hours",
    )  # fmt: skip
    for name, kind, about in (
        ("rounds", _count, "turns of each contender"),
        ("seconds", _count, "of each turn, where a turn has no size"),
        ("size", _count, "MB of a COPY"),
        ("rows", _count, "of a large result"),
        ("idle", _counts, "sessions that idle, comma separated"),
        ("clients", _counts, "of pgbench, comma separated"),
        ("git-sizes", _counts, "MB of repositories, comma separated"),
        ("clones", _count, "of a small repository, at once"),
        ("held", _count, "statements that wait for approval at once"),
        ("commands", _count, "on record, to list, search and verify"),
        ("minutes", float, "that it may take, by fewer rounds; 0: any time"),
    ):
        key = name.replace("-", "_")
        usual = f"{_shown(getattr(quick, key))}; --all {_shown(getattr(whole, key))}"
        running.add_argument(f"--{name}", type=kind, metavar="N", help=f"{about} (default {usual})")
    running.add_argument(
        "--only", type=_names, metavar="NAMES", default=(),
        help="these contenders, comma separated (direct, 'gateway os' ...)",
    )  # fmt: skip
    _places(running)

    smoke = commands.add_parser(
        "smoke",
        help="every scenario once, tiny: for correctness, in about a minute",
        description="Runs every scenario once and tiny: is the work done right, does every "
        "recording verify? Its figures say nothing.",
    )
    smoke.add_argument("scenario", nargs="*", metavar="SCENARIO", help="names, see list")
    smoke.add_argument("--json", type=Path, metavar="FILE", help="write the results there")

    for module in ("compare", "profile", "drawing", "table"):
        __import__(f"bench.{module}", fromlist=["add"]).add(commands)
    return top


def _places(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, metavar="DIR", default=RESULTS,
        help="where the page and the JSON go (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")


def _shown(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else f"{value:,}"


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _counts(text: str) -> tuple[int, ...]:
    return tuple(_count(word) for word in text.split(","))


def _names(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(","))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    top = parser()
    if not given or (given[0].startswith("-") and given[0] not in ("-h", "--help")):
        given.insert(0, "run")
    args = top.parse_args(given)
    if args.command == "list" or "do" in args:
        try:
            if args.command == "list":
                return listing(Settings.of_all() if args.all else Settings())
            done: int = args.do(args)
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever read has seen enough; Python would complain when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        return done
    # Told to stop, it still takes down the servers that it started.
    told: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> NoReturn:
        told.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        code = _run(top, args)
        return TERMINATED if told and code == INTERRUPTED else code
    except BrokenPipeError:
        return 1
    except NoServer as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return TERMINATED if told else INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(top: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    chosen = chosen_of(top, args.scenario)
    if args.command == "run" and not args.all and not args.scenario:
        chosen = [scenario for scenario in chosen if scenario.in_quick]
    if args.command == "smoke":
        return run(chosen, Settings.of_smoke(), Places(json=args.json))
    settings = Settings.of_all() if args.all else Settings()
    names = ("rounds", "seconds", "size", "rows", "idle", "clients", "git_sizes", "clones", "held",
             "commands", "minutes")  # fmt: skip
    given: dict[str, Any] = {
        name: value for name in names if (value := getattr(args, name)) is not None
    }
    settings = replace(settings, only=args.only, **given)
    known = {*MAKERS, "proxyjump"}
    for name in args.only:
        if name not in known:
            top.error(f"no contender {name!r}; there are: {', '.join(sorted(known))}")
    return run(chosen, settings, Places(args.out, args.json))


def chosen_of(top: argparse.ArgumentParser, names: Sequence[str]) -> list[Scenario]:
    """The scenarios with these names; all where none is named. Exits with 2."""
    known = {scenario.name: scenario for scenario in ALL}
    wrong = [name for name in names if name not in known]
    if wrong:
        top.error(f"no scenario {wrong[0]!r}; there are: {', '.join(known)}")
    return [known[name] for name in names] if names else list(ALL)


def listing(settings: Settings) -> int:
    """What there is to run."""
    for scenario in ALL:
        print(f"{scenario.name:18} {scenario.about}")
        print(f"{'':18} cases: {', '.join(scenario.cases(settings))}")
        print(f"{'':18} of: {', '.join(scenario.entrants(settings))}")
        metrics = (f"{m.name} ({m.unit})" if m.unit else m.name for m in scenario.metrics)
        print(f"{'':18} tells: {', '.join(metrics)}")
    return 0
