"""``gateway password``: the verifier of a local principal's password."""

from __future__ import annotations

import argparse
import secrets
import sys
from getpass import getpass

from gateway.identity.keys import ITERATIONS, SALT_BYTES, verifier_text

ROUNDS = max(ITERATIONS, 15_000)


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "password",
        help="turn a password into a verifier for [principal.NAME]",
        description="Read a password (from the terminal, or the first line of standard input) and "
        "print its SCRAM-SHA-256 verifier, which goes into gateway.toml in its place.",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    if sys.stdin.isatty():
        password = getpass("password: ")
        if getpass("again: ") != password:
            print("gateway: the two differ", file=sys.stderr)
            return 1
    else:
        password = sys.stdin.readline().rstrip("\n")
    if len(password) < 8:
        print("gateway: a password has at least 8 characters", file=sys.stderr)
        return 1
    print(verifier_text(password, secrets.token_bytes(SALT_BYTES), ROUNDS))
    return 0
