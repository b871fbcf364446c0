"""recorder upload: copies of Logs in an object store."""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from recorder import recordings
from recorder.commands.opening import DAMAGED, ERROR, OK, USAGE, complain
from recorder.commands.prune import span_of
from recorder.holds import HoldError
from recorder.index.answer import Answer, opened
from recorder.index.wanted import Wanted
from recorder.recordings import Recordings, RecordingsError, recordings_store
from recorder.render import Printer, amount
from recorder.retention import Retention, RetentionError, load_retention
from recorder.store import CONFIG
from recorder.uploading import Uploading


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "upload",
        help="copy finished Logs to an object store, and new ones into the index",
        description="Copies every finished Log that is not there yet to the store that recordings "
        f"of gateway.toml or {recordings.URL} names (s3://bucket/prefix), reads it back and "
        "compares. First it sees that the store refuses to write over an object. With a shared "
        "index it also takes in what is new. Local copies stay, unless --free lets those go that "
        "are older than keep_local in [retention], each after it was read back from the store "
        "once more; list, show, play, cat, grep, verify and replay then fetch them.",
    )
    parser.add_argument(
        "--free", action="store_true", help="let local copies go that the store has"
    )
    parser.add_argument(
        "--keep-local", type=span_of, default=None, metavar="TIME",
        help="how long local copies stay (12h, 7d, 2w), instead of keep_local",
    )  # fmt: skip
    parser.add_argument(
        "--config", type=Path, metavar="FILE", default=os.environ.get(CONFIG),
        help=f"the gateway.toml with keep_local (default: ${CONFIG})",
    )  # fmt: skip
    parser.add_argument(
        "--every", type=_seconds, default=0, metavar="SECONDS",
        help="go on for ever, as a service; a store that fails is tried again",
    )  # fmt: skip
    parser.set_defaults(do=run)


def _seconds(text: str) -> int:
    if not text.isdecimal() or not 1 <= len(text) <= 6 or not int(text):
        raise argparse.ArgumentTypeError(f"not a number of seconds: {text}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Copy what is new; exit code 4 if a Log that does not verify was left out."""
    if not args.dir.is_dir():
        complain(f"no such directory: {args.dir}")
        return ERROR
    rules: Retention | None = None
    if args.free or args.keep_local is not None:
        try:
            rules = rules_of(args.config, args.keep_local)
        except RetentionError as error:
            complain(str(error))
            return USAGE
        if all(rule.keep_local is None for rule in rules.rules):
            complain("--free frees nothing: say keep_local in [retention], or --keep-local TIME")
            return USAGE
    try:
        store = recordings_store()
    except RecordingsError as error:
        complain(str(error))
        return ERROR
    if store is None:
        complain(f"no store is named: recordings in gateway.toml, or {recordings.URL}")
        return USAGE
    code = once(args.dir, store, rules)
    while args.every:
        sys.stdout.flush()
        time.sleep(args.every)
        once(args.dir, store, rules)
    return code


def rules_of(config: Path | str | None, keep_local: timedelta | None) -> Retention:
    """How long local copies stay. ``RetentionError``, ``OSError``."""
    rules = load_retention(Path(config)) if config else Retention()
    if keep_local is not None:
        rules = Retention(tuple(replace(rule, keep_local=keep_local) for rule in rules.rules))
    return rules


def once(state: Path, store: Recordings, rules: Retention | None) -> int:
    """One round."""
    copied: list[int] = []
    freed: list[int] = []
    code, trouble = OK, False
    try:
        index = opened(state, complain)
        if index is not None:
            index.database.close()
        work = Uploading(state, store, complain)
        store.probe()
        for size in work.copy():
            copied.append(size)
        if rules is not None:
            lines = Answer(state, Wanted(), complain).lines()
            for size in work.free(lines, rules, datetime.now(UTC)):
                freed.append(size)
        trouble = work.trouble
    except (RecordingsError, HoldError, OSError) as error:
        complain(str(error))
        code = ERROR
    told = f"copied {len(copied)} files, {amount(sum(copied))}"
    if rules is not None:
        told += f"; freed {len(freed)} sessions, {amount(sum(freed))}"
    Printer().line(told)
    return code or (DAMAGED if trouble else OK)
