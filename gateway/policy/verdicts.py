"""The words of a decision: frozen, comparable, printable, recordable."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Verdict(IntEnum):
    """Strongest wins: compare them with ``max``."""

    ALLOW = 0
    MASK = 1
    HOLD = 2
    BLOCK = 3

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class ApprovalNeed:
    """What one hold rule asks for before the command may run."""

    rule: str
    groups: tuple[str, ...]
    count: int = 1
    ttl: float = 1800.0
    """Seconds from the request until it lapses."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policy says about one command, and why.

    ``rules`` are the ids of the rules that gave the verdict (the default's id
    is ``default``), ``masks`` those of mask rules that apply to the result,
    ``shadow`` those that would have fired in shadow mode, ``standing`` those of
    mask rules that the command names no object of, and that apply to whatever
    column of the result turns out to come from one.  ``cacheable`` is False when
    a rule looked at something besides the text (parameters, time).
    """

    verdict: Verdict
    rules: tuple[str, ...]
    reason: str
    policy: str
    """SHA-256, hex, of the canonical policy."""
    needs: tuple[ApprovalNeed, ...] = ()
    masks: tuple[str, ...] = ()
    shadow: tuple[str, ...] = ()
    cacheable: bool = True
    standing: tuple[str, ...] = ()
