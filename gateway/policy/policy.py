"""A compiled policy: rules by action, and what may be asked of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from gateway.policy.detectors import screen
from gateway.policy.globs import compile_globs
from gateway.policy.plan import Detect, Make, plan
from gateway.policy.principal import Principal
from gateway.policy.rules import Rule
from gateway.policy.verdicts import Decision, Verdict
from protocols.contract import Column, Command, Part, Phase, Plan, ProtocolKind, Refuse, Screen

if TYPE_CHECKING:
    from gateway.policy.cases import Case

FEW = 12
"""With no more rules than this, trying each is cheaper than looking them up."""
REMEMBERED = 1024
"""Triples of action, target and principal whose rules are kept ready."""

SCREENS = 64
"""Combinations of detected kinds whose screens are kept ready."""

Find: TypeAlias = Callable[[Part], Sequence[Rule]]
Candidates: TypeAlias = "tuple[Rule, ...] | Find"
"""The rules, or a function from a part to them (some may come twice)."""


class Policy:
    """``rules`` are in the order of their ids. ``version`` is the SHA-256,
    hex, of the canonical policy. ``tests`` are its ``[[test]]`` blocks."""

    __slots__ = (
        "_by_action",
        "_plain",
        "_ready",
        "_screens",
        "_standing",
        "allows",
        "reads_text",
        "rules",
        "source",
        "tests",
        "unused",
        "version",
    )

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
        self.reads_text = any(
            c.key == "text" for rule in self.rules.values() for c in rule.conditions
        )
        self._by_action: dict[str, list[Rule]] = {}
        for rule in self.rules.values():
            for action in rule.actions:
                self._by_action.setdefault(action, []).append(rule)
        self._screens: dict[tuple[str, ...], Screen] = {}
        self._plain: dict[tuple[object, ...], Decision] = {}
        self._ready: dict[tuple[str, str, int], tuple[Principal, Candidates]] = {}
        self._standing: dict[tuple[str, str, int], tuple[Principal, tuple[Rule, ...]]] = {}

    def candidates(self, part: Part, target: str, principal: Principal) -> Sequence[Rule]:
        """The rules that could match ``part``, some perhaps twice; all others
        can't. What depends on action, target and principal alone is worked
        out once for each of a session's actions and kept (a principal doesn't
        change: it is known by its identity)."""
        key = (part.action, target, id(principal))
        ready = self._ready.get(key)
        if ready is None or ready[0] is not principal:
            if len(self._ready) >= REMEMBERED:
                self._ready.clear()
            rules = self._by_action.get(part.action, ())
            there = [r for r in rules if _on(r, target) and _about(r, principal)]
            self._ready[key] = ready = (principal, _candidates(there))
        found = ready[1]
        return found if type(found) is tuple else found(part)  # type: ignore[operator]

    def standing(self, part: Part, target: str, principal: Principal) -> tuple[Rule, ...]:
        """The mask rules for ``part``'s action, for ``principal`` there, that
        name the data which they mask, and so apply to it by whatever name it
        is read."""
        key = (part.action, target, id(principal))
        ready = self._standing.get(key)
        if ready is None or ready[0] is not principal:
            if len(self._standing) >= REMEMBERED:
                self._standing.clear()
            rules = tuple(
                r
                for r in self._by_action.get(part.action, ())
                if r.verdict is Verdict.MASK and r.objects and not r.shadow
                if _on(r, target) and _about(r, principal)
            )
            self._standing[key] = ready = (principal, rules)
        return ready[1]

    def plain(  # noqa: PLR0917 - as Decision has them
        self,
        verdict: Verdict,
        ids: tuple[str, ...],
        reason: str,
        masks: tuple[str, ...],
        shadow: tuple[str, ...],
        cacheable: bool,
        standing: tuple[str, ...] = (),
    ) -> Decision:
        """The decision with these words and no approvals. Most decisions are
        one of a few, and making one costs more than finding it."""
        key = (verdict, ids, reason, masks, shadow, cacheable, standing)
        found = self._plain.get(key)
        if found is None:
            if len(self._plain) >= REMEMBERED:
                self._plain.clear()
            found = Decision(
                verdict,
                ids,
                reason,
                self.version,
                (),
                masks,
                shadow=shadow,
                cacheable=cacheable,
                standing=standing,
            )
            self._plain[key] = found
        return found

    def plan(
        self,
        decision: Decision,
        columns: Sequence[Column],
        make: Make,
        detect: Detect | None = None,
    ) -> Plan | Refuse:
        """What may be seen of a result with ``columns`` under ``decision``;
        see ``plan.plan``. Without ``detect``, screens are built once and kept:
        compiling one takes longer than most results."""
        return plan(self.rules, decision, columns, make, detect or self._screen)

    def _screen(self, kinds: Sequence[str]) -> Screen:
        found = self._screens.get(tuple(kinds))
        if found is None:
            if len(self._screens) >= SCREENS:
                self._screens.clear()
            found = self._screens[tuple(kinds)] = screen(kinds)
        return found

    def masks_on(self, target: str, principal: Principal) -> bool:
        """Could a mask apply to anything that ``principal`` does there? False
        is a promise."""
        return any(
            rule.verdict is Verdict.MASK
            and not rule.shadow
            and _on(rule, target)
            and _about(rule, principal)
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


_NOTHING = Part("", (), {}, complete=True)
_NO_COMMAND = Command(0, Phase.RUN, "", ())


def _about(rule: Rule, principal: Principal) -> bool:
    """Do the conditions on the principal hold? They look at nothing else."""
    return all(test(_NOTHING, _NO_COMMAND, principal, None) for test in rule.who)


def _candidates(rules: list[Rule]) -> Candidates:
    """Rules that name objects are found by the last segment of a name, so
    that a thousand of them cost what ten cost."""
    if len(rules) <= FEW:
        return tuple(rules)
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
