"""A small made-up world for policy tests: two families, parts, commands."""

from __future__ import annotations

from gateway.policy.load import Policy, compile_policy
from gateway.policy.principal import Principal
from protocols.contract import (
    Command,
    Effect,
    EffectKind,
    Fact,
    FactKind,
    Parameter,
    Part,
    Phase,
)

SQL = {
    "verb": FactKind.TEXT,
    "tables": FactKind.NAMES,
    "reads_columns": FactKind.NAMES,
    "functions": FactKind.NAMES,
    "has_where": FactKind.FLAG,
    "where_is_constant": FactKind.FLAG,
    "statement_count": FactKind.NUMBER,
    "sets": FactKind.NAMES,
}
GIT = {
    "update": FactKind.TEXT,
    "ref": FactKind.TEXT,
    "repo": FactKind.TEXT,
    "old_oid": FactKind.TEXT,
    "new_oid": FactKind.TEXT,
}
K8S = {"resource": FactKind.TEXT, "name": FactKind.TEXT}
ACTIONS = {
    "sql": ({"select", "insert", "update", "delete", "call", "set"}, SQL),
    "git": ({"git.push", "git.fetch"}, GIT),
    "k8s": ({"delete"}, K8S),
}
GROUPS = frozenset(("dba", "sre", "release-managers"))
TARGETS = frozenset(("prod-db", "test-db"))
WHO = Principal("ada", "github", "ci", groups=frozenset({"dev"}), claims={"ref": "refs/heads/main"})


def load(text: str, *, version: bool = True) -> Policy:
    head = "version = 1\n" if version else ""
    return compile_policy(
        head + text, source="p.toml", actions=ACTIONS, groups=GROUPS, targets=TARGETS
    )


def part(
    action: str = "sql.select",
    *,
    complete: bool = True,
    effects: tuple[EffectKind, ...] = (),
    why: str = "",
    **facts: Fact,
) -> Part:
    done = tuple(Effect(kind, "", "relation") for kind in effects)
    return Part(action, done, facts, complete, why)


def command(
    *parts: Part,
    text: str = "the text",
    parameters: tuple[Parameter, ...] = (),
    phase: Phase = Phase.RUN,
) -> Command:
    return Command(1, phase, text, parts, parameters)


def rule(name: str, verdict: str, *lines: str, on: str = '"sql.*"') -> str:
    extra = {"hold": 'approve = { groups = ["dba"] }', "mask": _MASK}.get(verdict, "")
    if any(line.startswith(("approve", "mask", "detect")) for line in lines):
        extra = ""
    body = "\n".join((*lines, extra))
    return f'[[rule]]\nid = "{name}"\non = {on}\nverdict = "{verdict}"\n{body}\n'


_MASK = 'mask = { columns = "*.email", with = "redact" }'

AGENT = Principal("bot", "okta", "agent", groups=frozenset({"sre", "x"}), run="r1", tags={"t": "v"})
