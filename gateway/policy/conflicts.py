"""Rules that can't do anything, refused at load. Only what can be proven:

* *Behind a block*: an enforced block rule matches whatever this rule does, so
  this one never decides.  The same for an allow rule behind a hold rule.
* *The same match* as a rule of the same verdict with the same consequence
  (masks, approvals), or of an allow rule as a mask rule: it adds nothing.

A rule matches whatever another does when it is about the same actions or more,
and each of its conditions is met by whatever meets the other's condition on
the same key: patterns covered one by one, sets, ranges; regular expressions,
time windows, ``except`` and the tables of ``where`` only where they are equal.
A shadow rule decides nothing, so it neither hides rules nor is refused.
(Conditions that contradict themselves are refused where they are read.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.policy.conditions import Shape
from gateway.policy.rules import Rule
from gateway.policy.verdicts import Verdict


def hidden(rules: Iterable[Rule]) -> dict[str, str]:
    """For the id of each rule that can't do anything: why."""
    found: dict[str, str] = {}
    enforced = sorted((r for r in rules if not r.shadow), key=lambda r: (r.line, r.id))
    shapes = {rule.id: _shapes(rule) for rule in enforced}
    same: dict[object, list[Rule]] = {}
    strong: dict[str, list[Rule]] = {}
    for rule in enforced:
        match = (rule.actions, frozenset(shapes[rule.id].items()), rule.incomplete)
        same.setdefault(match, []).append(rule)
        if rule.verdict in (Verdict.BLOCK, Verdict.HOLD):
            for action in rule.actions:
                strong.setdefault(action, []).append(rule)
    for twins in same.values():
        for number, rule in enumerate(twins):
            for other in twins[:number]:
                if rule.verdict is other.verdict and _consequence(rule) == _consequence(other):
                    found[rule.id] = _say("matches and gives exactly the same as", other)
            for other in twins:
                if rule.verdict is Verdict.ALLOW and other.verdict is Verdict.MASK:
                    found[rule.id] = _say(
                        "can never decide: it matches just what this does:", other
                    )
    for rule in enforced:
        if rule.verdict is Verdict.BLOCK:
            continue  # nothing is stronger
        rarest = min((strong.get(action, []) for action in rule.actions), key=len)
        for other in rarest:
            stronger = other.verdict is Verdict.BLOCK or rule.verdict is Verdict.ALLOW
            if other.verdict > rule.verdict and stronger and _behind(rule, other, shapes):
                found[rule.id] = _say(
                    f"can never decide: whatever it matches, this {other.verdict} rule does too:",
                    other,
                )
                break
    return found


def behind(rule: Rule, other: Rule) -> bool:
    """Does ``other`` match whatever ``rule`` does?"""
    return _behind(rule, other, {rule.id: _shapes(rule), other.id: _shapes(other)})


def _say(what: str, other: Rule) -> str:
    return f'{what} "{other.id}" (line {other.line})'


def _consequence(rule: Rule) -> object:
    masks = [(item.columns, item.name, sorted(item.args.items())) for item in rule.masks]
    return rule.approve, masks, rule.detect, rule.unresolved


def _shapes(rule: Rule) -> dict[str, Shape]:
    shapes = {condition.key: condition.shape for condition in rule.conditions}
    if rule.target is not None:
        shapes["target"] = Shape("globs", tuple(sorted(rule.target)))
    return shapes


def _behind(rule: Rule, other: Rule, shapes: Mapping[str, Mapping[str, Shape]]) -> bool:
    broad, narrow = shapes[other.id], shapes[rule.id]
    if not broad.keys() <= narrow.keys() or not rule.actions <= other.actions:
        return False
    if rule.verdict is Verdict.ALLOW and any(s.kind in _LOOSER for s in broad.values()):
        return False
    return all(shape.covers(narrow[key]) for key, shape in broad.items())


_LOOSER = ("effects", "parameters")
"""Conditions that may hold where a rule permits and not where it restricts:
``effects`` of a part that has none, ``parameters`` not bound yet."""
