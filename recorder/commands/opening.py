"""What every command that takes recordings has in common."""

from __future__ import annotations

import argparse
import atexit
import shutil
import sys
import tempfile
from pathlib import Path

from recorder.reader import Recording, open_recording

OK, ERROR, USAGE, INCOMPLETE, DAMAGED, MISSING_KEY = 0, 1, 2, 3, 4, 6


def add_id(parser: argparse.ArgumentParser) -> None:
    """The argument that names one recording."""
    parser.add_argument(
        "id", metavar="ID", help="a session's id or the start of it, a path to a Log, or - (stdin)"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help="one JSON object per line")


def path_of_stdin() -> Path:
    """A copy of stdin in a file, gone at exit: reading needs to seek."""
    with tempfile.NamedTemporaryFile(suffix=".agr", delete=False) as copy:
        atexit.register(Path(copy.name).unlink, missing_ok=True)
        shutil.copyfileobj(sys.stdin.buffer, copy)
        return Path(copy.name)


def recording_of(args: argparse.Namespace) -> Recording:
    """Open what ``args.id`` names."""
    if args.id == "-":
        return open_recording(args.dir, str(path_of_stdin()))
    return open_recording(args.dir, args.id)


def complain(text: str) -> None:
    """A message on stderr."""
    print(f"recorder: {text}", file=sys.stderr)
