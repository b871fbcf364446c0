"""recorder reindex: build the index anew."""

from __future__ import annotations

import argparse
import time

from recorder.commands.opening import ERROR, OK, complain
from recorder.index.answer import rebuilt
from recorder.render import Printer, amount


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "reindex",
        help="build the index of finished sessions anew",
        description="Deletes the index and reads every Log again. Nothing is lost by it: the "
        "index holds nothing that Logs do not. It is needed only where Logs were changed in "
        "their places.",
    )
    parser.set_defaults(do=run)


def run(args: argparse.Namespace) -> int:
    """Build it."""
    began = time.monotonic()
    if not args.dir.is_dir():
        complain(f"no such directory: {args.dir}")
        return ERROR
    made = rebuilt(args.dir, complain)
    if made is None:
        return ERROR
    sessions, pages, size = made
    took = time.monotonic() - began
    out = Printer()
    out.line(f"{sessions} sessions, {pages} pages of commands, {amount(size)} in {took:.1f}s")
    return OK
