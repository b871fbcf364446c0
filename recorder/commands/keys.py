"""recorder keys: auditors' key pairs."""

from __future__ import annotations

import argparse
from pathlib import Path

from recorder import keys
from recorder.commands.opening import ERROR, OK, complain
from recorder.render import Printer, one_line


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "keys",
        help="make or name auditors' keys",
        description="An auditor's public key lets the gateway seal the originals behind masks; "
        "only the private key opens them (recorder cat --key). Keep it away from the gateway.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser("new", help="make a pair: DIR/auditor.key and DIR/auditor.pub")
    new.add_argument("directory", metavar="DIR", type=Path)
    new.add_argument("--name", default="auditor", help="instead of auditor")
    new.set_defaults(do=make)
    tell = actions.add_parser("id", help="the id of a public key, as show names it")
    tell.add_argument("file", metavar="FILE.pub", type=Path)
    tell.set_defaults(do=identify)


def make(args: argparse.Namespace) -> int:
    """Write a new pair."""
    if "/" in args.name or args.name.startswith("."):
        complain("a key's name is no path")
        return ERROR
    try:
        private, public = keys.new_pair(args.directory, args.name)
    except FileExistsError as error:
        complain(f"{error.filename} is there already; nothing was written over")
        return ERROR
    out = Printer()
    out.line(f"private  {one_line(str(private))}  (keep it with the auditor)")
    out.line(f"public   {one_line(str(public))}  id {keys.key_id(keys.load_public(public))}")
    return OK


def identify(args: argparse.Namespace) -> int:
    """Print a public key's id."""
    try:
        Printer().line(keys.key_id(keys.load_public(args.file)))
    except ValueError as error:
        complain(f"not a public key: {error}")
        return ERROR
    return OK
