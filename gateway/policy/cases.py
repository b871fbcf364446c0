"""``[[test]]`` blocks: what is given, and what is expected of ``judge``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from gateway.policy.fields import Table
from gateway.policy.principal import Principal
from gateway.policy.texts import EFFECTS
from gateway.policy.who import KINDS
from gateway.policy.words import nearest
from protocols.contract import Effect, EffectKind, Fact, FactKind, Parameter, Part, Phase

VERDICTS = ("allow", "mask", "hold", "block", "deny")
TEXT_KEYS = ("sql", "git", "text")
"""``text`` takes the family of ``action``, or the only one; the others are families."""


@dataclass(frozen=True, slots=True)
class Case:
    """``text`` None: ``part`` is judged as it stands. ``deny`` expects a block
    by the default. None in an expectation: anything."""

    name: str
    line: int
    family: str
    action: str | None
    text: str | None
    part: Part | None
    principal: Principal
    target: str
    phase: Phase
    parameters: tuple[Parameter, ...]
    now: datetime | None
    verdict: str | None
    rules: tuple[str, ...] | None
    masks: tuple[str, ...] | None
    shadow: tuple[str, ...] | None


Families = Mapping[str, tuple[frozenset[str], Mapping[str, FactKind]]]


def read_case(table: Table, families: Families, ids: frozenset[str]) -> Case | None:
    """The case of one ``[[test]]`` table. ``ids`` are the rules that an
    expectation may name."""
    before = len(table.faults.found)
    name = table.text("name")
    given, expect = table.table("given"), table.table("expect")
    table.close()
    for key in ("given", "expect"):
        if key not in table:
            table.fault(None, f'a test needs "{key}"')
    if given is None or expect is None:
        return None
    family, action, text, part = _what(given, families)
    principal = _principal(given)
    target = given.text("target")
    phase = given.word("phase", [p.value for p in Phase])
    values = given.strings("parameters", empty=True)
    now = _now(given)
    given.close()
    verdict = expect.word("verdict", VERDICTS)
    rules = expect.words("rule", ids, "rule")
    masks, shadow = (
        expect.words(key, ids, "rule", empty=True)  # an empty list expects none
        for key in ("masks", "shadow")
    )
    expect.close()
    if not expect.raw:
        table.fault("expect", "an empty table expects nothing")
    if len(table.faults.found) > before:
        return None
    return Case(
        name=name or f"test on line {table.line}",
        line=table.line,
        family=family,
        action=action,
        text=text,
        part=part,
        principal=principal,
        target=target or "",
        phase=Phase(phase or "run"),
        parameters=tuple(Parameter(value.encode()) for value in values or ()),
        now=now,
        verdict=verdict,
        rules=rules,
        masks=masks,
        shadow=shadow,
    )


def _what(given: Table, families: Families) -> tuple[str, str | None, str | None, Part | None]:
    """What is judged: a text, or the facts of one part."""
    actions = sorted({action for known, _ in families.values() for action in known})
    action = given.word("action", actions)
    texts = [(key, text) for key in TEXT_KEYS if (text := given.text(key)) is not None]
    facts, complete = given.table("facts"), given.flag("complete")
    effects = given.words("effects", EFFECTS, "effect", empty=True)
    if texts:
        key, text = texts[0]
        if facts is not None or effects is not None or complete is not None:
            given.fault("facts" if facts else None, f'"{key}" already says what is judged')
        family = action.partition(".")[0] if action else "" if key == "text" else key
        if not family and len(families) == 1:
            family = next(iter(families))
        if family not in families:
            given.fault(None, 'needs "action", to know which protocol the text is of')
        return family, action, text, None
    if action is None:
        if "action" not in given:
            given.fault(None, 'needs "sql", "git" or "text", or "action" with "facts"')
        return "", None, None, None
    family = action.partition(".")[0]
    known = families[family][1]
    values: dict[str, Fact] = {}
    for fact in facts.raw if facts else ():
        assert facts is not None
        values[fact] = _fact(facts, fact, known)
    part = Part(
        action,
        tuple(Effect(EffectKind(word), "", "") for word in effects or ()),
        values,
        (not action.endswith(".unparsed")) if complete is None else complete,
    )
    return family, action, None, part


def _fact(facts: Table, fact: str, known: Mapping[str, FactKind]) -> Fact:
    kind = known.get(fact)
    if kind is FactKind.TEXT:
        return facts.text(fact)
    if kind is FactKind.NUMBER:
        return facts.whole(fact, -(1 << 63), 1 << 63)
    if kind is FactKind.FLAG:
        return facts.flag(fact)
    if kind is FactKind.NAMES:
        return facts.strings(fact, empty=True)
    facts.fault(fact, f'unknown fact "{fact}"{nearest(fact, known)}')
    return None


def _principal(given: Table) -> Principal:
    inner = given.table("principal")
    if inner is None:
        return Principal("test", "test", "person")
    names = [text for key in ("sub", "subject") if (text := inner.text(key)) is not None]
    issuer, run = inner.text("issuer"), inner.text("run")
    kind = inner.word("kind", KINDS)
    groups = inner.strings("groups", empty=True)
    tags, claims = _words(inner.table("tags")), _words(inner.table("claims"))
    inner.close()
    return Principal(
        subject=names[0] if names else "test",
        issuer=issuer or "test",
        kind=kind or "person",
        groups=frozenset(groups or ()),
        run=run or "",
        tags=tags,
        claims=claims,
    )


def _words(table: Table | None) -> dict[str, str]:
    if table is None:
        return {}
    return {key: text for key in table.raw if (text := table.text(key)) is not None}


def _now(given: Table) -> datetime | None:
    text = given.text("now")
    if text is None:
        return None
    now: datetime | None = None
    with suppress(ValueError):
        now = datetime.fromisoformat(text)
    if now is None or now.tzinfo is None:
        given.fault("now", 'must be a time with a zone, such as "2026-03-02T09:30:00+01:00"')
        return None
    return now
