"""``gateway demo``: the main job on embedded defaults, narrated."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gateway.demo.play import run_tour
from gateway.demo.postgres import NoServer
from gateway.demo.tour import TourFailed


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "demo",
        help="a narrated tour: mask, block, hold, approve, record",
        description="Start a throw-away PostgreSQL, an OpenSSH server with a repository, and a "
        "gateway in front of them, drive real clients through it, and show what was recorded. "
        "Everything listens on 127.0.0.1 only.",
    )
    parser.add_argument(
        "--stay", action="store_true", help="leave it running and print commands to paste"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(".demo"),
        help="where configuration, state and recordings go (default: .demo)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    try:
        run_tour(arguments.folder.absolute(), stay=arguments.stay)
    except (NoServer, TourFailed) as error:
        print(f"gateway: the demo can't go on: {error}", file=sys.stderr)
        return 1
    return 0
