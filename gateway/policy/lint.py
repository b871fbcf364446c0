"""What is legal in a policy and still likely to be a mistake."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.policy.conflicts import behind
from gateway.policy.policy import Policy
from gateway.policy.rules import Rule
from gateway.policy.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Concern:
    source: str
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        rule = f'rule "{self.rule}": ' if self.rule else ""
        return f"{self.source}:{self.line}: {rule}{self.message}"


_MASKS_ALL = (
    "lets every command through, also DROP: a mask rule permits what it is about; "
    'on = "sql.select" is whatever reads rows'
)


def lint(policy: Policy) -> tuple[Concern, ...]:
    """Warnings in line order: rules that permit without ``who``, that block or
    hold without a message, that stand behind a broader rule of the same
    verdict, or reach further than they look (also to settings such as the
    search path, on which unqualified names depend); unused sets; an open
    default."""
    found: list[Concern] = []

    def warn(line: int, rule: str, message: str) -> None:
        found.append(Concern(policy.source, line, rule, message))

    rules = list(policy.rules.values())
    for rule in rules:
        names = {condition.key for condition in rule.conditions}
        keys = {name.partition(".")[0] for name in names}
        permits = rule.verdict in (Verdict.ALLOW, Verdict.MASK)
        if permits and "who" not in keys:
            warn(rule.line, rule.id, f'{rule.verdict}s for everybody: it has no "who"')
        everything = any(action.endswith(".unparsed") for action in rule.actions)
        if rule.verdict is Verdict.MASK and everything and "where" not in keys:
            warn(rule.line, rule.id, _MASKS_ALL)
        if not permits and not rule.message:
            warn(rule.line, rule.id, 'has no "message": people will only see its id')
        if permits and rule.incomplete and not any(k.startswith("where") for k in keys):
            warn(rule.line, rule.id, "permits statements that may do anything")
        if rule.verdict is Verdict.ALLOW and not rule.conditions and rule.target is None:
            warn(rule.line, rule.id, "allows its actions on every object of every target")
        if (
            rule.verdict is Verdict.ALLOW
            and "sql.set" in rule.actions
            and "where.sets" not in names
        ):
            warn(rule.line, rule.id, "lets clients change every setting: say which in where.sets")
        broader = _broader(rule, rules)
        if broader is not None:
            warn(
                rule.line,
                rule.id,
                f'adds only its message: "{broader.id}" (line {broader.line}) matches all it does',
            )
    for name, line in policy.unused.items():
        warn(line, "", f'set "{name}" is used nowhere')
    if policy.allows:
        warn(1, "", 'default = "allow": whatever no rule speaks about is let through')
    if not rules:
        warn(
            1,
            "",
            f"there are no rules: everything is {'let through' if policy.allows else 'blocked'}",
        )
    return tuple(sorted(found, key=lambda w: (w.line, w.rule, w.message)))


def _broader(rule: Rule, rules: list[Rule]) -> Rule | None:
    if rule.shadow or rule.verdict not in (Verdict.BLOCK, Verdict.ALLOW):
        return None
    for other in rules:
        same = other.verdict is rule.verdict and not other.shadow and other is not rule
        # Of two that match the same in different words, warn about the later.
        if (
            same
            and (other.incomplete or not rule.incomplete)
            and behind(rule, other)
            and (not behind(other, rule) or (rule.line, rule.id) > (other.line, other.id))
        ):
            return other
    return None
