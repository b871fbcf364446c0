"""``gateway check``: is the configuration good?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sized

from gateway.commands import CommandError, add_config, read_config
from gateway.commands.serve import check_loadable
from gateway.held import held_secrets
from gateway.policy.lint import lint
from gateway.policy.own import own_screen
from gateway.policy_file import load_policy
from gateway.secrets.errors import SecretUnavailable


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "check",
        help="check the configuration and every rule",
        description="Read the configuration and the policy as `serve` does, tell every error "
        "with file, line and key, and warn about what looks wrong. Exits 1 on an error.",
    )
    add_config(parser)
    parser.add_argument("--strict", action="store_true", help="warnings are errors too")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    try:
        config = read_config(arguments.config)
        # Where a configuration is checked, its secrets need not be.
        check_loadable(config, secrets=False)
    except CommandError as error:
        print(error, file=sys.stderr)
        return error.code
    policy = load_policy(config)
    warnings = [*config.warnings, *map(str, lint(policy))]
    try:
        own_screen(held_secrets(config))
    except (SecretUnavailable, ValueError) as error:
        warnings.append(f"serve would refuse to start here: {error}")
    for warning in warnings[len(config.warnings) :]:
        print(f"warning: {warning}", file=sys.stderr)
    print(
        f"{arguments.config}: good. {_count(config.listeners, 'listener')}, "
        f"{_count(config.targets, 'target')}, {_count(policy.rules, 'rule')}, "
        f"policy {policy.version[:12]}"
    )
    return 1 if arguments.strict and warnings else 0


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"
