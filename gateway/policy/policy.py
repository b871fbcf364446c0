"""A compiled policy: rules by action, and what may be asked of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from gateway.policy.globs import compile_globs
from gateway.policy.plan import Detect, Make, plan
from gateway.policy.principal import Principal
from gateway.policy.rules import Rule
from gateway.policy.verdicts import Decision, Verdict
from protocols.contract import Column, Command, Part, Phase, Plan, ProtocolKind, Refuse

if TYPE_CHECKING:
    from gateway.policy.cases import Case

FEW = 12
"""With no more rules than this, trying each is cheaper than looking them up."""
REMEMBERED = 4096
"""Pairs of action and target whose rules are kept ready."""

Candidates = Callable[[Part], Sequence[Rule]]


class Policy:
    """``rules`` are in the order of their ids. ``version`` is the SHA-256,
    hex, of the canonical policy. ``tests`` are its ``[[test]]`` blocks."""

    __slots__ = ("_by_action", "_ready", "allows", "rules", "source", "tests", "unused", "version")

    def __init__(
        self,
        rules: Iterable[Rule],
        *,
        version: str,
        source: str,
        allows: bool = False,
        tests: tuple[Case, ...] = (),
        unused: Mapping[str, int] | None = None,
    ) -> None:
        self.rules: Mapping[str, Rule] = {r.id: r for r in sorted(rules, key=lambda r: r.id)}
        self.version = version
        self.source = source
        self.allows = allows
        self.tests = tests
        self.unused: Mapping[str, int] = unused or {}
        self._by_action: dict[str, list[Rule]] = {}
        for rule in self.rules.values():
            for action in rule.actions:
                self._by_action.setdefault(action, []).append(rule)
        self._ready: dict[tuple[str, str], Candidates] = {}

    def candidates(self, action: str, target: str) -> Candidates:
        """A function from a part to the rules that could match it (some may
        come twice); all others can't."""
        ready = self._ready.get((action, target))
        if ready is None:
            if len(self._ready) >= REMEMBERED:
                self._ready.clear()
            ready = _candidates([r for r in self._by_action.get(action, ()) if _on(r, target)])
            self._ready[action, target] = ready
        return ready

    def plan(
        self,
        decision: Decision,
        columns: Sequence[Column],
        make: Make,
        detect: Detect | None = None,
    ) -> Plan | Refuse:
        """What may be seen of a result with ``columns`` under ``decision``;
        see ``plan.plan``."""
        return plan(self.rules, decision, columns, make, detect)

    def masks_on(self, target: str, principal: Principal) -> bool:
        """Could a mask apply to anything that ``principal`` does there? False
        is a promise."""
        part = Part("", (), {}, True)
        command = Command(0, Phase.RUN, "", (part,))
        return any(
            rule.verdict is Verdict.MASK
            and not rule.shadow
            and _on(rule, target)
            and all(
                condition.restrict(part, command, principal, None)
                for condition in rule.conditions
                if condition.key.startswith(("who", "except"))
            )
            for rule in self.rules.values()
        )

    def unenforceable(self, target: str, kind: ProtocolKind) -> str:
        """A sentence that names the rules for ``target`` which protocol
        ``kind`` can't carry out, "" if there are none. A shadow rule needs
        nothing carried out."""
        wanted = {Verdict.HOLD: kind.can_hold, Verdict.MASK: kind.can_mask}
        names = [
            rule.id
            for rule in self.rules.values()
            if not wanted.get(rule.verdict, True)
            and not rule.shadow
            and _on(rule, target)
            and any(action.startswith(kind.family + ".") for action in rule.actions)
        ]
        if not names:
            return ""
        return f"{kind.name} can't carry out the rules {', '.join(names)} of target {target}"


def _on(rule: Rule, target: str) -> bool:
    return rule.target is None or compile_globs(rule.target)(target)


def _candidates(rules: list[Rule]) -> Candidates:
    """Rules that name objects are found by the last segment of a name, so
    that a thousand of them cost what ten cost."""
    if len(rules) <= FEW:
        few = tuple(rules)
        return lambda part: few
    rest: list[Rule] = []
    tables: dict[str, dict[str, list[Rule]]] = {}
    every: dict[str, list[Rule]] = {}
    for rule in rules:
        index = next((c.index for c in rule.conditions if c.index and not c.volatile), None)
        if index is None:
            rest.append(rule)
            continue
        fact, tails = index
        every.setdefault(fact, []).append(rule)
        for tail in tails:
            tables.setdefault(fact, {}).setdefault(tail, []).append(rule)
    looked = tuple((fact, tables[fact], every[fact]) for fact in sorted(tables))

    def find(part: Part) -> list[Rule]:
        found = rest.copy()
        facts = part.facts
        for fact, by_tail, those in looked:
            value = facts.get(fact)
            if isinstance(value, str):
                found += by_tail.get(value.rpartition(".")[2], ())
            elif not isinstance(value, tuple):
                found += those  # unknown
            elif any("*" in name for name in value):
                found += those  # could stand for any name
            else:
                for name in value:
                    found += by_tail.get(name.rpartition(".")[2], ())
        return found

    return find
