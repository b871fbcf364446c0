"""The command ``recorder``: what was recorded, and whether it can be believed."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from recorder.commands import (
    cat,
    diff,
    events,
    export,
    grep,
    hold,
    keys,
    listing,
    play,
    proof,
    prune,
    reindex,
    replay,
    serve,
    show,
    tail,
    upload,
    verify,
)
from recorder.commands.opening import DAMAGED, ERROR, INCOMPLETE, complain
from recorder.errors import FormatError, UnknownSessionError

_EPILOG = """\
exit codes: 0 good, 1 error, 2 usage, 3 incomplete or bytes left out,
4 corrupt or tampered, 5 a replay found differences, 6 a key is missing
(grep: 0 found, 1 none, 2 trouble)

Data goes to stdout, messages to stderr. --json prints one object per line,
each with its schema. Nothing recorded can act upon your terminal (cat writes
raw bytes: redirect it).
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="recorder",
        description="Lists, shows, plays, searches and verifies recorded sessions.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    about_dir = "the state directory (WIREWARDEN_STATE; else ./wirewarden-state)"
    usual = Path(os.environ.get("WIREWARDEN_STATE") or "wirewarden-state")
    top.add_argument("--dir", type=Path, default=usual, metavar="DIR", help=about_dir)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (
        listing,
        show,
        events,
        play,
        cat,
        verify,
        proof,
        grep,
        keys,
        reindex,
        replay,
        hold,
        prune,
        upload,
        serve,
        tail,
        diff,
        export,
    ):
        command.add(commands)
    for each in {id(choice): choice for choice in commands.choices.values()}.values():
        each.add_argument(
            "--dir", type=Path, default=argparse.SUPPRESS, metavar="DIR", help=about_dir
        )
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    args = parser().parse_args(arguments)
    try:
        code: int = args.do(args)
        sys.stdout.flush()
    except UnknownSessionError as error:
        complain(str(error))
        return ERROR
    except FormatError as error:
        complain(f"the recording can't be read: {error}")
        return INCOMPLETE if error.torn else DAMAGED
    except BrokenPipeError:
        # Whoever read our output has seen enough; keep exit from complaining.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return ERROR
    except OSError as error:
        complain(str(error))
        return ERROR
    except KeyboardInterrupt:
        return 130
    return code


if __name__ == "__main__":
    raise SystemExit(main())
