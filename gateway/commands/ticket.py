"""``gateway ticket``: a short password in exchange for a token."""

from __future__ import annotations

import argparse
import json
import sys

from gateway.commands import CommandError, add_config, guarded, read_config
from gateway.commands.proof import add_proof, prove
from gateway.durations import duration
from gateway.identity.authority import Authority
from gateway.world import World


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "ticket",
        help="mint a short-lived ticket for a token (for clients that choke on long passwords)",
        description="Verify an OIDC token and print a short ticket that stands for the same "
        "principal until it expires. Use it as the password. Run it where the gateway's state "
        "directory is.",
    )
    add_config(parser)
    add_proof(parser)
    parser.add_argument("--ttl", default="15m", help="how long it lives (default 15m, at most 12h)")
    parser.add_argument(
        "--json", action="store_true", help="print an object with the ticket and its expiry"
    )
    parser.add_argument(
        "--list", action="store_true", help="list live tickets (never the tickets themselves)"
    )
    parser.add_argument("--revoke", metavar="ID", help="revoke a live ticket by its listed id")
    parser.set_defaults(run=guarded(_run))


def _run(arguments: argparse.Namespace) -> int:
    config = read_config(arguments.config)
    world = World()
    authority = Authority(config, world)
    tickets = authority.tickets
    if arguments.list:
        for row in tickets.rows():
            left = row.expires - world.wall()
            print(f"{row.id}  {row.issuer}:{row.subject}  {left / 60:.0f} min left")
        return 0
    if arguments.revoke:
        count = tickets.revoke(arguments.revoke)
        print(f"revoked {count}", file=sys.stderr)
        return 0 if count else 1
    try:
        ttl = duration(arguments.ttl)
    except ValueError as error:
        raise CommandError(f"--ttl: {error}", 2) from error
    principal = prove(authority, arguments)
    try:
        ticket = tickets.mint(principal, ttl)
    except (ValueError, OSError) as error:
        raise CommandError(str(error)) from error
    if arguments.json:
        print(json.dumps({"ticket": ticket, "expires": round(world.wall() + ttl)}))
    else:
        print(ticket)
    return 0
