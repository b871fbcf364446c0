"""``bench page FILE``: draw the page of earlier results anew."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.document import NotResults, read
from bench.page import page


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("page", help="draw the page of earlier results anew")
    parser.add_argument("file", type=Path, metavar="FILE", help="a JSON file of results")
    parser.add_argument("-o", "--output", type=Path, metavar="PAGE", help="default: FILE.html")
    parser.set_defaults(do=run)


def run(args: argparse.Namespace) -> int:
    """The exit code."""
    try:
        drawn = page(read(args.file))
        target = args.output or args.file.with_suffix(".html")
        target.write_text(drawn, "utf-8")
    except (NotResults, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    print(target)
    return 0
