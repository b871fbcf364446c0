"""The commands of the ``gateway`` command line, one module each."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from gateway.config import Config, ConfigErrors, load_config

DEFAULT_CONFIG = "gateway.toml"


class CommandError(Exception):
    """What to tell the person, and how to exit."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


Run = Callable[[argparse.Namespace], int]


def guarded(run: Run) -> Run:
    """``run``, which may raise CommandError: told on stderr, with its exit code."""

    def told(arguments: argparse.Namespace) -> int:
        try:
            return run(arguments)
        except CommandError as error:
            print(f"gateway: {error}", file=sys.stderr)
            return error.code

    return told


def add_config(parser: argparse.ArgumentParser) -> None:
    """``--config``, the same everywhere."""
    parser.add_argument(
        "--config",
        "-c",
        type=Path,
        default=Path(os.environ.get("WIREWARDEN_CONFIG", DEFAULT_CONFIG)),
        metavar="FILE",
        help="the configuration (default: $WIREWARDEN_CONFIG, else ./gateway.toml)",
    )


def read_config(path: Path) -> Config:
    """Load it, or say what is wrong with it and how to go on."""
    if not path.exists():
        raise CommandError(f"there is no {path}: `gateway init` writes one, --config names another")
    try:
        config = load_config(path)
    except ConfigErrors as errors:
        raise CommandError(str(errors)) from errors
    for warning in config.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return config
