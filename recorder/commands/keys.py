"""recorder keys: auditors' key pairs."""

from __future__ import annotations

import argparse
import time
from getpass import getuser
from pathlib import Path

from recorder import keys
from recorder.commands.opening import (
    ERROR,
    MISSING_KEY,
    OK,
    add_id,
    add_json,
    complain,
    recording_of,
)
from recorder.erasing import CanNotErase, erase
from recorder.errors import MissingKeyError
from recorder.evidence import epochs
from recorder.evidence.inbox import ledger_directory
from recorder.evidence.ledger import Ledger, LedgerError
from recorder.holds import HoldError
from recorder.recordings import RecordingsError, recordings_store
from recorder.render import Printer, one_line
from recorder.wrapped import wrapped_of


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "keys",
        help="keys of auditors, of sessions, and of a ledger's root",
        description="An auditor's public key lets the gateway seal the originals behind masks; "
        "only the private key opens them (recorder unseal, recorder cat --key). "
        "Keep it away from the gateway.",
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
    show = actions.add_parser("show", help="who can open a session's originals")
    add_id(show)
    add_json(show)
    show.set_defaults(do=show_keys)
    erase = actions.add_parser(
        "erase",
        help="make a session's originals unreadable for good; all else of it still verifies",
        description="Erases the session's key, which is kept beside the Log wrapped to each "
        "auditor: nobody can open its originals any more, the auditors neither. Log, chain and "
        "ledger stay as they are, and the ledger says why and when. A legal hold forbids it. "
        "Copies that were taken away with their keys (backups) are not reached.",
    )
    add_id(erase)
    erase.add_argument("--reason", required=True)
    erase.add_argument("--by", default=None, metavar="WHO", help="default: who runs this")
    erase.set_defaults(do=erase_keys)


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


def show_keys(args: argparse.Namespace) -> int:
    """Print who can open what."""
    recording = recording_of(args)
    header = recording.header
    said = header.get("keys")
    auditors = [str(each.get("auditor")) for each in said] if isinstance(said, list) else []
    missing = ""
    try:
        wrapped_of(recording)
    except MissingKeyError as error:
        missing = str(error)
    told = {
        "session": header["session"],
        "originals": header.get("originals"),
        "credentials": header.get("credentials", "withhold"),
        "auditors": auditors,
        "keys": "none" if not auditors else "missing" if missing else "there",
        "why": missing,
    }
    out = Printer()
    if args.json:
        out.json("keys", told)
    else:
        for name, value in told.items():
            if value not in ("", []):
                shown = ", ".join(value) if isinstance(value, list) else str(value)
                out.line(f"{name:<12} {one_line(shown)}")
    return MISSING_KEY if missing else OK


def erase_keys(args: argparse.Namespace) -> int:
    """Erase a session's key."""
    try:
        copies = recordings_store()
        erased = erase(args.dir, recording_of(args), args.reason, args.by or getuser(), copies)
    except (CanNotErase, HoldError, RecordingsError) as error:
        complain(str(error))
        return ERROR
    Printer().line(f"erased {one_line(str(erased))}: nobody can open those originals any more")
    return OK


def identify(args: argparse.Namespace) -> int:
    """Print a public key's id."""
    try:
        Printer().line(keys.key_id(keys.load_public(args.file)))
    except ValueError as error:
        complain(f"not a public key: {error}")
        return ERROR
    return OK
