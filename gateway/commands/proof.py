"""How a person or a job proves itself to the command line."""

from __future__ import annotations

import argparse
import os
import sys
from getpass import getpass
from pathlib import Path

import trio

from gateway.commands import CommandError
from gateway.identity.authority import Authority
from gateway.identity.errors import Refused
from gateway.identity.tickets import PREFIX
from gateway.policy.principal import Principal
from protocols.contract import Proof

VARIABLE = "WIREWARDEN_TOKEN"


def add_proof(parser: argparse.ArgumentParser) -> None:
    """``--token-file`` and ``--name``: never the secret itself, which would
    be in the process list and the shell's history."""
    group = parser.add_argument_group("who you are")
    group.add_argument(
        "--token-file",
        metavar="FILE",
        help=f"file with your token or ticket, - for standard input (default: ${VARIABLE})",
    )
    group.add_argument(
        "--name",
        default="",
        help="prove yourself as this local principal, with its password (asked for on a terminal; "
        "else as a token is given)",
    )


def prove(authority: Authority, arguments: argparse.Namespace) -> Principal:
    """The principal behind the arguments; CommandError when there is none."""
    return prove_with(authority, arguments)[0]


def prove_with(authority: Authority, arguments: argparse.Namespace) -> tuple[Principal, bool]:
    """As ``prove``, and whether a ticket was the proof: what is given in exchange for
    one may not outlive it."""
    secret = _secret(arguments)
    try:
        proof = Proof(0, claimed=arguments.name, secret=secret.encode())
        # No peer address: a token that is bound to where it is used is not bound to here.
        return trio.run(authority.prove, proof, ""), secret.startswith(PREFIX)
    except Refused as refused:
        raise CommandError(f"you are not who you say: {refused.reason}", 3) from refused


def _secret(arguments: argparse.Namespace) -> str:
    where = arguments.token_file
    if where == "-":
        text = sys.stdin.read()
    elif where:
        try:
            text = Path(where).read_text()
        except OSError as error:
            raise CommandError(f"{where}: {error.strerror}") from error
    elif os.environ.get(VARIABLE):
        text = os.environ[VARIABLE]
    elif arguments.name and sys.stdin.isatty():
        text = getpass(f"password of {arguments.name}: ")
    else:
        what = f"password of {arguments.name}" if arguments.name else "token or ticket"
        raise CommandError(
            f"say who you are: set {VARIABLE} to your {what}, or give --token-file"
            " (- is standard input)",
            2,
        )
    return text.strip()
