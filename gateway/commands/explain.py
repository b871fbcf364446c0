"""``gateway explain``: which rule fires on a command, and why."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from gateway.commands import CommandError, add_config, guarded, read_config
from gateway.config import Config
from gateway.policy.errors import PolicyErrors
from gateway.policy.explain import explain
from gateway.policy.principal import Principal
from gateway.policy.verdicts import Verdict
from gateway.policy_file import load_policy
from protocols import load
from protocols.contract import Command, Parameter, Phase


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "explain",
        help="say which rule fires on a command, and why",
        description="Judge COMMAND as the gateway would, and print every rule: whether it "
        "matched, or on which key it failed. Exits 0 when the command would run, 3 when not.",
    )
    add_config(parser)
    parser.add_argument("text", metavar="COMMAND", help="the command, - for standard input")
    parser.add_argument("--target", help="the target (default: the only one)")
    parser.add_argument("--subject", default="someone", help="who asks (default: someone)")
    parser.add_argument("--issuer", default="", help="by which issuer (default: the first)")
    parser.add_argument("--kind", choices=("ci", "agent", "person"), default=None)
    parser.add_argument("--group", action="append", default=[], help="a group of theirs (repeat)")
    parser.add_argument("--run", default="", help="the CI run or agent session")
    parser.add_argument("--tag", action="append", default=[], metavar="K=V", help="a tag (repeat)")
    parser.add_argument("--as", dest="claims", type=Path, help="a JSON file of claims instead")
    parser.add_argument("--parameter", action="append", default=[], help="a bound value (repeat)")
    parser.add_argument("--policy", type=Path, help="another policy file than the configured one")
    parser.add_argument("--json", action="store_true", help="one object")
    parser.set_defaults(run=guarded(_run))


def _run(arguments: argparse.Namespace) -> int:
    config = read_config(arguments.config)
    try:
        policy = load_policy(config, arguments.policy)
    except PolicyErrors as errors:
        raise CommandError(str(errors)) from errors
    except OSError as error:
        raise CommandError(str(error)) from error
    target = _target(config, arguments.target)
    text = sys.stdin.read() if arguments.text == "-" else arguments.text
    kind = load(config.targets[target].protocol)
    command = Command(
        1,
        Phase.RUN,
        text,
        kind.parts(text),
        tuple(Parameter(value.encode()) for value in arguments.parameter),
    )
    found = explain(command, _principal(config, arguments), target, policy, datetime.now(UTC))
    print(json.dumps(found.to_dict(), indent=2) if arguments.json else found.text())
    return 0 if found.decision.verdict in (Verdict.ALLOW, Verdict.MASK) else 3


def _target(config: Config, wanted: str | None) -> str:
    if wanted is None:
        if len(config.targets) == 1:
            return next(iter(config.targets))
        raise CommandError(f"--target: one of {', '.join(sorted(config.targets))}", 2)
    if wanted not in config.targets:
        raise CommandError(f'there is no target "{wanted}"', 2)
    return wanted


def _principal(config: Config, arguments: argparse.Namespace) -> Principal:
    claims: dict[str, str] = {}
    if arguments.claims is not None:
        try:
            raw = json.loads(arguments.claims.read_text())
        except (OSError, ValueError) as error:
            raise CommandError(f"{arguments.claims}: {error}", 2) from error
        if not isinstance(raw, dict):
            raise CommandError(f"{arguments.claims}: is not an object of claims", 2)
        claims = {str(k): str(v) for k, v in raw.items() if isinstance(v, str | int | bool)}
        arguments.group += [str(g) for g in raw.get("groups", ())]
    issuer = arguments.issuer or next(iter(config.issuers), "local")
    kind = arguments.kind
    if kind is None:
        kind = config.issuers[issuer].kind if issuer in config.issuers else "person"
    tags = dict(tag.partition("=")[::2] for tag in arguments.tag)
    return Principal(
        subject=claims.get("sub", arguments.subject),
        issuer=issuer,
        kind=kind,
        groups=frozenset(arguments.group),
        run=arguments.run or claims.get("run_id", ""),
        tags=tags,
        claims=claims,
    )
