"""What commands that open originals have in common."""

from __future__ import annotations

import argparse
from pathlib import Path

from recorder import keys
from recorder.errors import MissingKeyError
from recorder.originals import Opener
from recorder.reader import Recording
from recorder.render import one_line
from recorder.wrapped import opener_of


def add_keys(parser: argparse.ArgumentParser, why: str) -> None:
    """``--key`` and ``--keys``."""
    parser.add_argument("--key", type=Path, action="append", default=[], metavar="FILE",
        help=f"an auditor's private key, {why}")  # fmt: skip
    parser.add_argument("--keys", type=Path, metavar="FILE",
        help="the session's file of wrapped keys (default: ID.keys beside the Log)")  # fmt: skip


def opener_for(args: argparse.Namespace, recording: Recording) -> Opener | None:
    """With the keys that were given, None without any. ``MissingKeyError``."""
    if not args.key:
        return None
    try:
        private = [keys.load_private(path) for path in args.key]
        opener = opener_of(recording, private, args.keys)
    except (OSError, ValueError) as error:
        raise MissingKeyError(f"the key can't be read: {error}") from None
    if not opener.opens:
        auditors = recording.header.get("keys")
        if not isinstance(auditors, list) or not auditors:
            raise MissingKeyError("the gateway had no auditors: nobody can open its originals")
        names = ", ".join(str(each.get("auditor")) for each in auditors if isinstance(each, dict))
        raise MissingKeyError(f"no key that was given is of its auditors: {one_line(names)}")
    return opener
