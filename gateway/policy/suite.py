"""Running a policy's own ``[[test]]`` blocks, through the same ``judge`` as the
relay, and telling which rules no test reaches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.policy.cases import Case
from gateway.policy.judge import judge
from gateway.policy.policy import Policy
from gateway.policy.rules import DEFAULT, INCOMPLETE
from gateway.policy.verdicts import Decision, Verdict
from protocols.contract import Command, Part


@dataclass(frozen=True, slots=True)
class Outcome:
    """One test. ``why`` says what was expected and what came, "" if it passed."""

    name: str
    line: int
    why: str
    decision: Decision | None

    @property
    def passed(self) -> bool:
        return not self.why


@dataclass(frozen=True, slots=True)
class Report:
    """``uncovered`` are rules (id, line) that no passing test's decision names."""

    source: str
    outcomes: tuple[Outcome, ...]
    uncovered: tuple[tuple[str, int], ...]

    def ok(self, *, coverage: bool = True) -> bool:
        """Did all pass (and, with ``coverage``, is each rule covered)?"""
        return all(o.passed for o in self.outcomes) and not (coverage and self.uncovered)

    def text(self) -> str:
        lines = []
        for o in self.outcomes:
            lines.append(f"{'ok  ' if o.passed else 'FAIL'} {o.name}")
            if not o.passed:
                lines.append(f"     {self.source}:{o.line}: {o.why}")
        for name, line in self.uncovered:
            lines.append(f'no test for rule "{name}" ({self.source}:{line})')
        passed = sum(o.passed for o in self.outcomes)
        lines.append(f"{passed} of {len(self.outcomes)} tests passed")
        return "\n".join(lines)


def run_tests(policy: Policy, parts_of: Callable[[str, str], tuple[Part, ...]]) -> Report:
    """Run all tests. ``parts_of(family, text)`` is the protocol's own reading
    of a text (``ProtocolKind.parts``)."""
    outcomes = [_run(case, policy, parts_of) for case in policy.tests]
    seen: set[str] = set()
    for outcome in outcomes:
        if outcome.decision is not None and outcome.passed:
            d = outcome.decision
            seen.update(d.rules, d.masks, d.shadow)
    uncovered = tuple((r.id, r.line) for r in policy.rules.values() if r.id not in seen)
    return Report(policy.source, tuple(outcomes), uncovered)


def _run(case: Case, policy: Policy, parts_of: Callable[[str, str], tuple[Part, ...]]) -> Outcome:
    if case.part is not None:
        parts: tuple[Part, ...] = (case.part,)
    else:
        parts = parts_of(case.family, case.text or "")
    actions = sorted({part.action for part in parts})
    if case.action is not None and case.action not in actions:
        said = ", ".join(actions) or "nothing"
        why = f"given as {case.action}, but the text is {said}"
        return Outcome(case.name, case.line, why, None)
    command = Command(1, case.phase, case.text or "", parts, case.parameters)
    decision = judge(command, case.principal, case.target, policy, case.now)
    return Outcome(case.name, case.line, _difference(case, decision), decision)


def _difference(case: Case, decision: Decision) -> str:
    came = "deny" if _denied(decision) and case.verdict == "deny" else str(decision.verdict)
    wrong = []
    if case.verdict is not None and case.verdict != came:
        wrong.append(f"verdict {case.verdict} expected, {came} came")
    for what, expected, names in (
        ("rule", case.rules, decision.rules),
        ("masks", case.masks, decision.masks),
        ("shadow", case.shadow, decision.shadow),
    ):
        # "rule" may name one of several; the others are the whole list.
        differs = expected is not None and (
            not set(expected) <= set(names) if what == "rule" else set(expected) != set(names)
        )
        if differs and expected is not None:
            wrong.append(f"{what} {_list(expected)} expected, {_list(names)} came")
    if wrong:
        wrong.append(f"decided by {_list(decision.rules)}")
    return "; ".join(wrong)


def _denied(decision: Decision) -> bool:
    return decision.verdict is Verdict.BLOCK and set(decision.rules) <= {DEFAULT, INCOMPLETE}


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"
