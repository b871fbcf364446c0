"""recorder prune: delete what is too old."""

from __future__ import annotations

import argparse
import getpass
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from recorder.away import stat_of
from recorder.commands.filters import add_sessions, wanted_of
from recorder.commands.opening import ERROR, OK, USAGE, add_json, complain
from recorder.holds import HoldError
from recorder.index.answer import Answer
from recorder.parted import files_of
from recorder.prune import Choice, Pruning
from recorder.recordings import RecordingsError, recordings_store
from recorder.render import Printer, amount, one_line
from recorder.retention import Retention, RetentionError, load_retention, span
from recorder.tombstones import TombstoneError


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "prune",
        help="delete sessions whose time is over (first only says which)",
        description="Deletes finished sessions that are older than [retention] in gateway.toml, or "
        "--delete-after, lets them be. Without --yes it only says what it would do. What is open, "
        "held, not sealed, or does not verify stays; a tombstone says what went, and by which rule "
        "(recorder list --deleted). Copies in the object store go with them.",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="the gateway.toml with the rules"
    )
    parser.add_argument(
        "--keep",
        type=span_of,
        default=None,
        metavar="TIME",
        help="at least so long (12h, 90d, 52w)",
    )
    parser.add_argument("--delete-after", type=span_of, default=None, metavar="TIME",
                        help="at most so long, for all that the filters choose")  # fmt: skip
    parser.add_argument("--by", default=None, metavar="WHO", help="default: who runs this")
    parser.add_argument("--dry-run", action="store_true", help="only say what (the default)")
    parser.add_argument("--yes", action="store_true", help="do it")
    add_sessions(parser)
    add_json(parser)
    parser.set_defaults(do=run)


def span_of(text: str) -> timedelta:
    """A time, as an argument."""
    try:
        return span(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(args: argparse.Namespace) -> int:
    """Delete, or say what would be."""
    if args.config is None and args.delete_after is None:
        complain("name the rules: --config gateway.toml, or --delete-after TIME")
        return USAGE
    if args.dry_run and args.yes:
        complain("either --dry-run or --yes")
        return USAGE
    try:
        rules = load_retention(args.config) if args.config else Retention()
    except RetentionError as error:
        complain(str(error))
        return USAGE
    if args.keep is not None:
        # More may be kept than the rules say, not less.
        rules = Retention(tuple(
            replace(rule, keep=max(rule.keep, args.keep)) for rule in rules.rules
        ))  # fmt: skip
    by = args.by or getpass.getuser()
    try:
        copies = recordings_store()
    except RecordingsError as error:
        complain(str(error))
        return ERROR
    pruning = Pruning(args.dir, rules, by, delete_after=args.delete_after, copies=copies)
    out = Printer()
    code, gone, size = OK, 0, 0
    lines = Answer(args.dir, wanted_of(args), complain).lines()
    try:
        for choice in pruning.choices(lines):
            done = choice
            if choice.delete:
                length = sum(stat_of(f).size for f in files_of(Path(choice.line.path)))
                against = pruning.delete(choice) if args.yes else ""
                done = Choice(choice.line, not against, against or choice.why)
                gone += done.delete
                size += length if done.delete else 0
            _tell(out, args, done)
    except (HoldError, TombstoneError, RecordingsError) as error:
        complain(f"nothing more is deleted: {error}")
        code = ERROR
    if not args.json:
        did = "deleted" if args.yes else "would delete"
        tail = "" if args.yes or not gone else " (--yes does it)"
        out.line(f"{did} {gone} sessions, {amount(size)}{tail}")
    return code


def _tell(out: Printer, args: argparse.Namespace, choice: Choice) -> None:
    word = ("deleted" if args.yes else "delete") if choice.delete else "kept"
    if args.json:
        line = choice.line
        told = {"session": line.session, "started": line.started, "target": line.target}
        out.json("prune", {**told, "does": word, "why": choice.why, "dry_run": not args.yes})
    else:
        out.line(f"{one_line(choice.line.session)}  {word}: {one_line(choice.why)}")
