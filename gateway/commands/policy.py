"""``gateway policy``: test, lint and replay a policy file."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import protocols
from gateway.commands import CommandError, add_config, guarded, policy_replay, read_config
from gateway.policy.errors import PolicyErrors
from gateway.policy.lint import lint
from gateway.policy.load import compile_policy
from gateway.policy.policy import Policy
from gateway.policy.suite import run_tests
from gateway.policy_file import load_policy
from protocols.contract import Part


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "policy",
        help="test, lint and replay policies",
        description="Work on policy files. Without FILE it is the configured one; with FILE "
        "alone no configuration is needed, and groups and targets are not checked.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text in (
        ("test", "run the [[test]] blocks; a rule without a test fails too"),
        ("lint", "warn about rules that look like mistakes"),
        ("version", "print the policy's version (SHA-256)"),
    ):
        action = actions.add_parser(name, help=text, description=text.capitalize() + ".")
        add_config(action)
        action.add_argument("file", nargs="?", type=Path, metavar="FILE")
        if name == "test":
            action.add_argument(
                "--no-coverage", action="store_true", help="rules without a test are fine"
            )
        if name != "version":
            action.add_argument("--json", action="store_true")
        action.set_defaults(run=run)
    state = Path(os.environ.get("WIREWARDEN_STATE") or "wirewarden-state")
    policy_replay.add(actions, state)
    actions.choices["replay"].set_defaults(run=guarded(policy_replay.run))


def run(arguments: argparse.Namespace) -> int:
    try:
        policy = _load(arguments)
    except CommandError as error:
        print(f"gateway: {error}", file=sys.stderr)
        return error.code
    except (PolicyErrors, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    if arguments.action == "version":
        print(policy.version)
        return 0
    if arguments.action == "lint":
        return _lint(policy, arguments)
    return _test(policy, arguments)


def _load(arguments: argparse.Namespace) -> Policy:
    if arguments.file is None or arguments.config.exists():
        return load_policy(read_config(arguments.config), arguments.file)
    kinds = [protocols.load(name) for name in protocols.NAMES]
    return compile_policy(
        arguments.file.read_text(encoding="utf-8"),
        source=str(arguments.file),
        actions={kind.family: (kind.actions, kind.facts) for kind in kinds},
    )


def _lint(policy: Policy, arguments: argparse.Namespace) -> int:
    concerns = lint(policy)
    for concern in concerns:
        if arguments.json:
            print(json.dumps({"rule": concern.rule, "line": concern.line, "why": concern.message}))
        else:
            print(concern)
    return 1 if concerns else 0


def _test(policy: Policy, arguments: argparse.Namespace) -> int:
    report = run_tests(policy, _parts)
    if arguments.json:
        for outcome in report.outcomes:
            shown = {"name": outcome.name, "line": outcome.line, "passed": outcome.passed}
            print(json.dumps({**shown, "why": outcome.why}))
    else:
        print(report.text())
    return 0 if report.ok(coverage=not arguments.no_coverage) else 3


def _parts(family: str, text: str) -> tuple[Part, ...]:
    for name in protocols.NAMES:
        kind = protocols.load(name)
        if kind.family == family:
            return kind.parts(text)
    return ()
