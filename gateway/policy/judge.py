"""``judge``: the one function that decides, for the relay, explain and tests.

For each part of a command (a statement):

* a block rule that matches blocks, a hold rule holds;
* a mask rule that matches adds its masks to the whole result;
* the part must be permitted: by an allow rule, by a hold rule (people will see
  it), by a mask rule that matches also in the permitting reading, or by
  ``default = "allow"``.  A part that nothing permits is blocked by the rule
  ``default``.

A mask rule that doesn't match only because the command names none of its
objects is *standing*: it adds nothing to the verdict and permits nothing, and
``plan`` applies it to the columns that come from those objects all the same,
through a view or a function.

The strongest of all parts wins (block, hold, mask, allow); masks and approvals
are the union of all parts'.  The order of rules never matters.

What is unknown: a fact that is None or absent matches in rules that restrict
and doesn't in rules that permit.  A part that is not ``complete`` (it calls a
function that may do anything) is judged by what it shows, but only a rule with
``incomplete = true`` permits it, or a hold rule; otherwise the rule
``incomplete`` blocks it, also under ``default = "allow"``.  To block or hold
whatever is incomplete: ``where = { complete = false }``.

A mask rule is read wide when it adds masks and narrow when it permits: with
``tables = "public.users"`` it masks every join with that table, and lets
through only commands on that table alone.
"""

from __future__ import annotations

import re
from datetime import datetime

from gateway.policy.policy import Policy
from gateway.policy.principal import Principal
from gateway.policy.rules import DEFAULT, INCOMPLETE, Rule, plain, render
from gateway.policy.verdicts import ApprovalNeed, Decision, Verdict
from protocols.contract import Command, Part

_Found = list[tuple[Rule, Part]]
_BLANK = " \t\r\n\f;"
_COMMENT = re.compile(r"--[^\r\n]*|/\*(?:[^*/]|\*(?!/)|/(?!\*))*\*/")
"""A line's, or an innermost block."""
_NESTED = 16


def _says_nothing(text: str) -> bool:
    """True for blanks, semicolons and SQL comments (pg_restore sends a dump's own
    as statements). Only asked of texts in which a parser found no statement."""
    for _ in range(_NESTED):
        if not (text := text.strip(_BLANK)):
            return True
        shorter = _COMMENT.sub(" ", text)
        if shorter == text:
            return False
        text = shorter
    return False


def judge(
    command: Command, principal: Principal, target: str, policy: Policy, now: datetime | None
) -> Decision:
    """What ``policy`` says about ``command``. ``now`` must have a time zone;
    None (or a time without a zone) is unknown.  Raises nothing that depends
    on the command.  A command without parts is blocked: there is nothing that
    a rule could permit. Only blanks, semicolons and comments, with which
    drivers ask whether a connection lives, are let through by the rule ``default``."""
    blocks: _Found = []
    holds: _Found = []
    masks: _Found = []
    allows: _Found = []
    shadows: list[Rule] = []
    refused: list[tuple[str, Part]] = []
    standing: list[Rule] = []
    cacheable = True
    parts = command.parts
    for part in parts:
        permitted = withheld = False
        for rule in policy.candidates(part, target, principal):
            for test in rule.static:
                if not test(part, command, principal, now):
                    break
            else:
                if rule.volatile:
                    cacheable = False
                    if not all(t(part, command, principal, now) for t in rule.volatile):
                        continue
                verdict = rule.verdict
                if rule.shadow:
                    shadows.append(rule)
                elif verdict is Verdict.BLOCK:
                    blocks.append((rule, part))
                elif verdict is Verdict.HOLD:
                    holds.append((rule, part))
                    permitted = True
                else:
                    if verdict is Verdict.MASK:
                        masks.append((rule, part))
                        if not all(t(part, command, principal, now) for t in rule.permits):
                            continue
                    if rule.accepts(part):
                        permitted = True
                        allows.append((rule, part))
                    else:
                        withheld = True
        for rule in policy.standing(part, target, principal):
            if all(t(part, command, principal, now) for t in rule.besides):
                if rule.volatile:
                    cacheable = False
                    if not all(t(part, command, principal, now) for t in rule.volatile):
                        continue
                standing.append(rule)
        if not permitted:
            defaulted = policy.allows and not part.action.endswith(".unparsed")
            if not (defaulted and part.complete):
                # Would it have been permitted, had it been complete?
                refused.append((INCOMPLETE if withheld or defaulted else DEFAULT, part))
    shadow = _ids(shadows)
    if blocks:
        rule, part = min(blocks, key=_by_id)
        reason = render(rule, part, principal, target)
        ids = _ids([rule for rule, _ in blocks])
        return policy.plain(Verdict.BLOCK, ids, reason, (), shadow, cacheable)
    if refused or (not parts and not _says_nothing(command.text)):
        names = tuple(sorted({name for name, _ in refused})) or (DEFAULT,)
        reason = _refusal(*refused[0]) if refused else "there is nothing in it that can be judged"
        return policy.plain(Verdict.BLOCK, names, reason, (), shadow, cacheable)
    veils = _ids([rule for rule, _ in masks])
    stand = _ids([rule for rule in standing if rule.id not in veils]) if standing else ()
    needs: tuple[ApprovalNeed, ...] = ()
    if holds:
        decisive, verdict = holds, Verdict.HOLD
        needs = _needs(holds, principal, target)
    elif masks:
        decisive, verdict = masks, Verdict.MASK
    else:
        decisive, verdict = allows, Verdict.ALLOW
    if decisive:
        rule, part = min(decisive, key=_by_id)
        reason = render(rule, part, principal, target) if rule.message or holds else ""
        ids = _ids([rule for rule, _ in decisive])
    else:
        reason, ids = "", (DEFAULT,)
    if needs:
        return Decision(
            verdict,
            ids,
            reason,
            policy.version,
            needs,
            veils,
            shadow=shadow,
            cacheable=cacheable,
            standing=stand,
        )
    return policy.plain(verdict, ids, reason, veils, shadow, cacheable, stand)


def _by_id(found: tuple[Rule, Part]) -> str:
    return found[0].id


def _ids(rules: list[Rule]) -> tuple[str, ...]:
    if not rules:
        return ()
    if len(rules) == 1:
        return (rules[0].id,)
    return tuple(sorted({rule.id for rule in rules}))


def _needs(holds: _Found, principal: Principal, target: str) -> tuple[ApprovalNeed, ...]:
    first: dict[str, tuple[Rule, Part]] = {}
    for rule, part in holds:
        first.setdefault(rule.id, (rule, part))
    out = []
    for name in sorted(first):
        rule, part = first[name]
        asked = rule.approve
        assert asked is not None
        reason = render(rule, part, principal, target)
        out.append(ApprovalNeed(name, asked.groups, asked.count, asked.ttl, reason))
    return tuple(out)


def _refusal(name: str, part: Part) -> str:
    why = plain(part.why_incomplete)
    if name == INCOMPLETE:
        return f"it may do more than can be seen{f': {why}' if why else ''}"
    if part.action.endswith(".unparsed"):
        return f"it can't be understood{f': {why}' if why else ''}, and no rule allows that"
    return f"no rule allows {part.action} here"
