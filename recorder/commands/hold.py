"""recorder hold: what must not be deleted."""

from __future__ import annotations

import argparse
import getpass
from pathlib import Path

from recorder.commands.filters import add_sessions, wanted_of
from recorder.commands.opening import ERROR, OK, USAGE, add_json, complain, shared_index
from recorder.errors import UnknownSessionError
from recorder.holds import HoldError, filter_of, holds, lift_hold, put_hold
from recorder.index.answer import opened
from recorder.index.wanted import Wanted
from recorder.reader import open_recording
from recorder.render import Printer


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "hold",
        help="legal holds: sessions that prune must not delete",
        description="Holds one session, or all that a filter chooses (also those to come), "
        "until the hold is removed. recorder prune deletes nothing that is held. With a shared "
        "store a hold is of the sessions of all gateways.",
    )
    what = parser.add_subparsers(dest="what", required=True, metavar="add|list|rm")
    new = what.add_parser("add", help="hold a session, or what a filter chooses")
    new.add_argument("id", metavar="ID", nargs="?", help="a session's id, or its start")
    new.add_argument("--reason", required=True)
    new.add_argument("--by", default=None, metavar="WHO", help="default: who runs this")
    add_sessions(new, plain=True)
    new.set_defaults(do=put)
    every = what.add_parser("list", aliases=["ls"], help="the holds that stand")
    add_json(every)
    every.set_defaults(do=tell)
    lift = what.add_parser("rm", help="take a hold away")
    lift.add_argument("hold", metavar="HOLD")
    lift.add_argument("--reason", required=True)
    lift.add_argument("--by", default=None, metavar="WHO", help="default: who runs this")
    lift.set_defaults(do=remove)


def who(args: argparse.Namespace) -> str:
    """Who does it."""
    return args.by or getpass.getuser()


def put(args: argparse.Namespace) -> int:
    """Put one there."""
    if not args.dir.is_dir():
        complain(f"no such directory: {args.dir}")
        return ERROR
    on: str | Wanted = wanted_of(args)
    try:
        if args.id is not None:
            if on != Wanted():
                complain("name a session or give filters, not both")
                return USAGE
            on = session_named(args.dir, args.id)
        hold = put_hold(args.dir, who(args), args.reason, on)
    except (ValueError, HoldError, UnknownSessionError) as error:
        complain(str(error))
        return USAGE if isinstance(error, ValueError) else ERROR
    Printer().line(hold.id)
    return OK


def session_named(state: Path, name: str) -> str:
    """The id of a session, of this gateway or of another that shares the index.
    ``UnknownSessionError``."""
    try:
        recording = open_recording(state, name)
    except UnknownSessionError:
        index = opened(state, complain) if shared_index() and name.isalnum() else None
        if index is None:
            raise
        try:
            named = {
                kept.facts(state, index.home).line.session for kept in index.named(name.upper())
            }
        finally:
            index.database.close()
        if len(named) != 1:
            raise
        return named.pop()
    try:
        return str(recording.header["session"])
    finally:
        recording.close()


def tell(args: argparse.Namespace) -> int:
    """List them."""
    out = Printer()
    try:
        found = holds(args.dir)
    except HoldError as error:
        complain(str(error))
        return ERROR
    if args.json:
        for hold in found:
            out.json("hold", hold.as_dict())
        return OK
    rows = []
    for hold in found:
        what = hold.session
        if hold.wanted is not None:
            what = " ".join(f"{key}={value}" for key, value in filter_of(hold.wanted).items())
        rows.append((hold.id, hold.at, hold.by, what, hold.reason))
    out.table(("HOLD", "SINCE", "BY", "ON", "REASON"), rows)
    return OK


def remove(args: argparse.Namespace) -> int:
    """Take one away."""
    try:
        lift_hold(args.dir, args.hold, who(args), args.reason)
    except (ValueError, HoldError) as error:
        complain(str(error))
        return ERROR
    return OK
