"""The ``gateway`` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Final

from protocols import compiled

COMMANDS: Final = (
    "init",
    "check",
    "serve",
    "explain",
    "policy",
    "approvals",
    "ticket",
    "ssh-cert",
    "password",
    "demo",
    "worker",
)
"""Each is a module of ``gateway.commands`` (with ``_`` for ``-``) with ``add(subparsers)``,
which sets ``run``: arguments to exit code."""

EPILOG = (
    "exit codes: 0 done, 1 failed, 2 wrong usage, 3 the answer is no (blocked, denied, refused)"
)


class Version(argparse.Action):
    """Says which version it is and how it was built, and looks that up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *rest: object) -> None:
        print(f"wirewarden {version('wirewarden')} ({compiled.told()})")
        parser.exit()


def parser(only: str = "") -> argparse.ArgumentParser:
    """The command line: whole, or with just the command ``only``, which saves
    importing what the others need."""
    top = argparse.ArgumentParser(
        prog="gateway",
        description="Wirewarden: a gateway that proves, judges, masks, holds and records "
        "what agents and CI do to production.",
        epilog=EPILOG,
    )
    top.add_argument("--version", action=Version, nargs=0, help="say what this is, and how built")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in (only,) if only in COMMANDS else COMMANDS:
        import_module(f"gateway.commands.{name.replace('-', '_')}").add(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    arguments = parser(words[0] if words else "").parse_args(words)
    try:
        code: int = arguments.run(arguments)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
