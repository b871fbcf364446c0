"""Why a command is decided as it is: every rule, and where it stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from gateway.policy.globs import compile_globs
from gateway.policy.judge import judge
from gateway.policy.policy import Policy
from gateway.policy.principal import Principal
from gateway.policy.rules import OBJECTS, Rule, plain
from gateway.policy.verdicts import Decision, Verdict
from protocols.contract import Command, Part


@dataclass(frozen=True, slots=True)
class Row:
    """One rule on one part (``part`` counts from 0). ``failed`` is the key
    that didn't match ("" when all did), ``value`` what it looked at there.
    ``note`` says what a match doesn't: that a mask doesn't permit, ..."""

    part: int
    rule: str
    line: int
    verdict: str
    shadow: bool
    matched: bool
    failed: str = ""
    value: object = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    decision: Decision
    actions: tuple[str, ...]
    facts: tuple[Mapping[str, object], ...]
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, object]:
        """As JSON can carry it."""
        d = self.decision
        return {
            "verdict": str(d.verdict),
            "rules": list(d.rules),
            "reason": d.reason,
            "masks": list(d.masks),
            "standing": list(d.standing),
            "shadow": list(d.shadow),
            "policy": d.policy,
            "approvals": [
                {"rule": n.rule, "groups": list(n.groups), "count": n.count, "ttl": n.ttl}
                for n in d.needs
            ],
            "parts": [
                {
                    "action": action,
                    "facts": {k: list(v) if isinstance(v, tuple) else v for k, v in facts.items()},
                    "tried": [
                        {
                            "rule": row.rule,
                            "line": row.line,
                            "verdict": row.verdict,
                            "mode": "shadow" if row.shadow else "enforce",
                            "matched": row.matched,
                            "failed": row.failed,
                            "value": list(row.value) if isinstance(row.value, tuple) else row.value,
                            "note": row.note,
                        }
                        for row in self.rows
                        if row.part == number
                    ],
                }
                for number, (action, facts) in enumerate(zip(self.actions, self.facts, strict=True))
            ],
        }

    def text(self) -> str:
        """For a terminal: what comes from the command is made printable."""
        d = self.decision
        lines = [f"{d.verdict}  by {', '.join(d.rules)}" + (f": {d.reason}" if d.reason else "")]
        for need in d.needs:
            groups = " or ".join(need.groups)
            lines.append(f"  asks {need.count} of {groups}, for {need.ttl:g} s ({need.rule})")
        if d.masks:
            lines.append(f"  masks by {', '.join(d.masks)}")
        if d.standing:
            lines.append(f"  masks what comes from their tables: {', '.join(d.standing)}")
        if d.shadow:
            lines.append(f"  in shadow: {', '.join(d.shadow)}")
        for number, (action, facts) in enumerate(zip(self.actions, self.facts, strict=True)):
            lines.append(f"part {number + 1}: {action}")
            shown = [f"{name}={_plain(facts[name])}" for name in sorted(facts)]
            lines += [f"    {fact}" for fact in shown]
            for row in self.rows:
                if row.part == number:
                    lines.append(f"  {_line(row)}")
        lines.append(f"policy {d.policy}")
        return "\n".join(lines)


def explain(
    command: Command, principal: Principal, target: str, policy: Policy, now: datetime | None
) -> Explanation:
    """``judge``'s decision, and for every rule of the policy whether it
    matched each part, or the first key on which it failed."""
    rows = [
        _row(rule, number, command, principal, target, now)
        for number in range(len(command.parts))
        for rule in policy.rules.values()
    ]
    return Explanation(
        decision=judge(command, principal, target, policy, now),
        actions=tuple(part.action for part in command.parts),
        facts=tuple({**part.facts, "complete": part.complete} for part in command.parts),
        rows=tuple(rows),
    )


def _row(  # noqa: PLR0917 - what judge gets, and which of it
    rule: Rule,
    number: int,
    command: Command,
    principal: Principal,
    target: str,
    now: datetime | None,
) -> Row:
    part = command.parts[number]
    failed, note = "", ""
    value: object = None
    if part.action not in rule.actions:
        failed, value = "on", part.action
    elif rule.target is not None and not compile_globs(rule.target)(target):
        failed, value = "target", target
    else:
        permitting = rule.verdict is Verdict.ALLOW
        for condition in rule.conditions:
            test = condition.permit if permitting else condition.restrict
            if not test(part, command, principal, now):
                failed, value = condition.key, condition.show(part, command, principal, now)
                break
        if not failed and permitting and not rule.accepts(part):
            failed, value = "incomplete", part.why_incomplete or True
        if not failed and rule.verdict is Verdict.MASK:
            note = _permission(part, rule, command, principal, now)
        elif failed.removeprefix("where.") in OBJECTS and _stands(
            rule, part, command, principal, now
        ):
            note = "stands: masks what comes from there under other names"
    return Row(
        part=number,
        rule=rule.id,
        line=rule.line,
        verdict=str(rule.verdict),
        shadow=rule.shadow,
        matched=not failed,
        failed=failed,
        value=value,
        note=note,
    )


def _stands(
    rule: Rule, part: Part, command: Command, principal: Principal, now: datetime | None
) -> bool:
    if rule.verdict is not Verdict.MASK or not rule.objects or rule.shadow:
        return False
    tests = (*rule.who, *rule.besides, *rule.volatile)
    return all(test(part, command, principal, now) for test in tests)


def _permission(
    part: Part, rule: Rule, command: Command, principal: Principal, now: datetime | None
) -> str:
    """Why a mask rule that matches doesn't permit the part, "" if it does."""
    for condition in rule.conditions:
        if not condition.permit(part, command, principal, now):
            return f"masks, but doesn't permit: {condition.key} doesn't hold for all of it"
    return "" if rule.accepts(part) else "masks, but doesn't permit: the part is incomplete"


def _line(row: Row) -> str:
    mode = " (shadow)" if row.shadow else ""
    head = f"{'+' if row.matched else '-'} {row.rule} [{row.verdict}{mode}, line {row.line}]"
    if not row.matched:
        return f"{head} failed on {row.failed}: {_plain(row.value)}" + (
            f"; {row.note}" if row.note else ""
        )
    return f"{head} matched{f'; {row.note}' if row.note else ''}"


def _plain(value: object) -> str:
    if value is None:
        return "unknown"
    text = ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    if isinstance(value, tuple | list) and not value:
        return "(none)"
    return plain(text)
