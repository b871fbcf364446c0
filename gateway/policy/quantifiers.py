"""Some, all or none of the names of a fact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from gateway.policy.conditions import Judged
from gateway.policy.globs import Test
from gateway.policy.principal import Principal
from protocols.contract import Command, Part

QUANTIFIERS = ("any", "all", "only", "none", "outside")

Value: TypeAlias = Callable[[Any], bool]
"""A test of a fact's value, which isn't None."""

# Loops, because a generator expression would cost more than the tests.


def quantify(word: str, test: Test) -> Value:
    """The quantifier ``word`` over a tuple of names."""

    def some(known: Sequence[str]) -> bool:
        for name in known:  # noqa: SIM110
            if test(name):
                return True
        return False

    def only(known: Sequence[str]) -> bool:
        for name in known:  # noqa: SIM110
            if not test(name):
                return False
        return True

    forms: dict[str, Value] = {
        "any": some,
        "all": lambda known: bool(known) and only(known),
        "only": only,
        "none": lambda known: not some(known),
        "outside": lambda known: not only(known),
    }
    return forms[word]


def every(tests: Sequence[Value]) -> Value:
    """All of ``tests``."""
    return tests[0] if len(tests) == 1 else lambda known: all(test(known) for test in tests)


def any_name(fact: str, test: Test) -> Judged:
    """Unknown, or some name passes."""

    def judge(part: Part, command: Command, principal: Principal, now: datetime | None) -> bool:
        known: Any = part.facts.get(fact)
        if known is None:
            return True
        for name in known:  # noqa: SIM110
            if test(name):
                return True
        return False

    return judge


def all_names(fact: str, test: Test) -> Judged:
    """Known, and there are names, and all pass."""

    def judge(part: Part, command: Command, principal: Principal, now: datetime | None) -> bool:
        known: Any = part.facts.get(fact)
        if not known:
            return False
        for name in known:  # noqa: SIM110
            if not test(name):
                return False
        return True

    return judge
