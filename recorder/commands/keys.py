"""recorder keys: auditors' key pairs."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from recorder import keys
from recorder.commands.opening import ERROR, OK, complain
from recorder.evidence import epochs
from recorder.evidence.inbox import ledger_directory
from recorder.evidence.ledger import Ledger, LedgerError
from recorder.render import Printer, one_line


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "keys",
        help="make keys: of auditors, and of a ledger's root",
        description="An auditor's public key lets the gateway seal the originals behind masks; "
        "only the private key opens them (recorder cat --key). Keep it away from the gateway.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser("new", help="make a pair: DIR/auditor.key and DIR/auditor.pub")
    new.add_argument("directory", metavar="DIR", type=Path)
    new.add_argument("--name", default="auditor", help="instead of auditor")
    new.set_defaults(do=make)
    root = actions.add_parser(
        "root", help="make a root key for a ledger: DIR/root.key (keep it off line), DIR/root.pub"
    )
    root.add_argument("directory", metavar="DIR", type=Path)
    root.set_defaults(do=make_root)
    epoch = actions.add_parser(
        "epoch",
        help="begin the ledger of --dir under a root key, or certify a new epoch after the "
        "present one's key was lost (the gateway must not run)",
    )
    epoch.add_argument("root", metavar="ROOT.key", type=Path)
    epoch.set_defaults(do=certify)
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


def make_root(args: argparse.Namespace) -> int:
    """Write a new root key."""
    try:
        private, public = epochs.write_root(args.directory)
    except FileExistsError as error:
        complain(f"{error.filename} is there already; nothing was written over")
        return ERROR
    out = Printer()
    out.line(f"private  {one_line(str(private))}  (keep it off line)")
    out.line(f"public   {one_line(str(public))}  (for recorder verify --trust)")
    return OK


def certify(args: argparse.Namespace) -> int:
    """Begin a ledger, or a new epoch of it, by the root key."""
    try:
        key = epochs.read_root(args.root)
        ledger = Ledger(ledger_directory(args.dir), time.time_ns, root_key=key)
    except (LedgerError, ValueError) as error:
        complain(str(error))
        return ERROR
    said = f"ledger {ledger.origin}, epoch {ledger.checkpoint.epoch}"
    mine = ledger.origin == epochs.origin_of(key.public_key().public_bytes_raw())
    ledger.close()
    if not mine:
        complain(f"{said} has another root key")
        return ERROR
    Printer().line(said)
    return OK


def identify(args: argparse.Namespace) -> int:
    """Print a public key's id."""
    try:
        Printer().line(keys.key_id(keys.load_public(args.file)))
    except ValueError as error:
        complain(f"not a public key: {error}")
        return ERROR
    return OK
