"""The command ``recorder``: what was recorded, and whether it can be believed."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

from recorder.commands.opening import DAMAGED, ERROR, INCOMPLETE, complain
from recorder.errors import FormatError, UnknownSessionError
from recorder.pager import paged

_EPILOG = """\
exit codes: 0 good, 1 error, 2 usage, 3 incomplete or bytes left out,
4 corrupt or tampered, 5 a replay found differences, 6 a key is missing
(grep: 0 found, 1 none, 2 trouble)

Data goes to stdout, messages to stderr. --json prints one object per line,
each with its schema (recorder/SCHEMAS.md has them). On a terminal long output
goes through $PAGER (--no-pager: not); NO_COLOR turns colors off. Nothing
recorded can act upon your terminal (cat, which writes raw bytes, refuses one).
"""


_MODULES: Final = {
    "list": "listing",
    "ls": "listing",
    "show": "show",
    "events": "events",
    "play": "play",
    "cat": "cat",
    "verify": "verify",
    "proof": "proof",
    "grep": "grep",
    "unseal": "unseal",
    "keys": "keys",
    "reindex": "reindex",
    "replay": "replay",
    "hold": "hold",
    "prune": "prune",
    "upload": "upload",
    "serve": "serve",
    "tail": "tail",
    "diff": "diff",
    "export": "export",
}
"""Where each command is, in the order of the help."""


def needed(arguments: Sequence[str]) -> tuple[str, ...]:
    """The modules that ``arguments`` need: that of the command they name. Some bring
    the parsers of whole protocols, which others should not wait for."""
    words = iter(arguments)
    for word in words:
        if word == "--dir":
            next(words, "")
        elif word in _MODULES:
            return (_MODULES[word],)
        elif not word.startswith("--dir="):
            break
    return tuple(dict.fromkeys(_MODULES.values()))


def parser(modules: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """The command line, with the commands of ``modules`` (all)."""
    modules = needed(()) if modules is None else modules
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
    for name in modules:
        import_module(f"recorder.commands.{name}").add(commands)
    for each in {id(choice): choice for choice in commands.choices.values()}.values():
        each.add_argument(
            "--dir", type=Path, default=argparse.SUPPRESS, metavar="DIR", help=about_dir
        )
        if each.get_default("pages") is not None:
            each.add_argument(
                "--no-pager", action="store_true", help="on a terminal, too, print it at once"
            )
    return top


def _pages(args: argparse.Namespace) -> bool:
    """Is it to be shown page by page? A command says so by ``pages``: True, or a function of
    its arguments."""
    pages: bool | Callable[[argparse.Namespace], bool] = getattr(args, "pages", False)
    return (pages(args) if callable(pages) else pages) and not args.no_pager


def _gone(args: argparse.Namespace) -> str:
    """Of a session that was asked for and isn't there: was it deleted?"""
    from recorder.tombstones import TombstoneError, tombstones

    wanted = str(getattr(args, "id", "")).upper()
    try:
        gone = [s for s in tombstones(args.dir) if wanted and s.line.session.startswith(wanted)]
    except (OSError, TombstoneError):
        return ""
    return f"; {gone[0].line.session} was deleted: recorder list --deleted" if gone else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    args = parser(needed(words)).parse_args(words)
    try:
        with paged(_pages(args)):
            code: int = args.do(args)
            sys.stdout.flush()
    except UnknownSessionError as error:
        complain(f"{error}{_gone(args)}")
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
