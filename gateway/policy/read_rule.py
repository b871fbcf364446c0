"""One ``[[rule]]`` table to a compiled Rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.policy import globs
from gateway.policy.conditions import Condition, Judged, Shape
from gateway.policy.detectors import DETECTORS
from gateway.policy.fields import Table
from gateway.policy.globs import compile_globs
from gateway.policy.masks import MASKS, build
from gateway.policy.rules import (
    OBJECTS,
    RESERVED,
    WORDS,
    Approve,
    MaskItem,
    Rule,
    Template,
    mask_item,
    template,
)
from gateway.policy.texts import read_effects, read_parameters, read_text
from gateway.policy.verdicts import Verdict
from gateway.policy.when import Zone, read_when
from gateway.policy.where import read_where
from gateway.policy.who import group_names, read_except, read_who
from gateway.policy.words import nearest
from protocols.contract import FactKind

VERDICTS = {str(verdict): verdict for verdict in Verdict}
_CHECK_KEY = b"only to check arguments, no value"


@dataclass(frozen=True, slots=True)
class Known:
    """What rules are checked against. ``families`` maps a protocol family to
    its actions (spelt out) and facts; None for ``groups`` or ``targets``:
    don't check."""

    families: Mapping[str, tuple[frozenset[str], Mapping[str, FactKind]]]
    groups: frozenset[str] | None
    targets: frozenset[str] | None
    zone: Zone = field(repr=False)


def read_rule(table: Table, known: Known) -> Rule | None:
    """The rule; None where it is too faulty to go on (faults are noted)."""
    before = len(table.faults.found)
    name = table.text("id")
    if name is None:
        if "id" not in table:
            table.fault(None, 'a rule needs an "id"')
    elif name in RESERVED:
        words = ", ".join(sorted(RESERVED))
        table.fault(
            "id", f"\"{name}\" can't be a rule's id: these have a meaning of their own: {words}"
        )
    elif not name or not name.isprintable() or len(name) > 80:
        table.fault("id", f"\"{name}\" can't be a rule's id: 1 to 80 printable characters")
    word = table.word("verdict", VERDICTS)
    if "verdict" not in table:
        table.fault(None, 'a rule needs a "verdict"')
    verdict = VERDICTS.get(word or "", Verdict.BLOCK)
    actions, spells = _actions(table, known, verdict)
    facts = _facts(actions, known)
    conditions = _conditions(table, known, facts)
    target = _target(table, known)
    mode = table.word("mode", ("enforce", "shadow"))
    incomplete = _incomplete(table, verdict, conditions)
    approve = _approve(table, known, verdict, facts)
    masks, detect, unresolved = _masks(table, verdict)
    message = _message(table, facts)
    table.close()
    if len(table.faults.found) > before:
        return None
    who, static, volatile, permits = _split(conditions, verdict)
    objects, besides = _by_objects(conditions) if verdict is Verdict.MASK else ((), ())
    return Rule(
        id=name or "",
        line=table.line,
        actions=actions,
        target=target,
        conditions=tuple(conditions),
        verdict=verdict,
        shadow=mode == "shadow",
        incomplete=incomplete,
        spells_unparsed=spells,
        approve=approve,
        masks=masks,
        detect=detect,
        unresolved=unresolved,
        message=message,
        who=who,
        static=static,
        volatile=volatile,
        permits=permits,
        objects=objects,
        besides=besides,
    )


def _actions(table: Table, known: Known, verdict: Verdict) -> tuple[frozenset[str], bool]:
    """All actions that ``on`` means, and whether it spells an unparsed one.
    In an allow rule a pattern doesn't reach what wasn't understood."""
    every = {action for actions, _ in known.families.values() for action in actions}

    def complaint(pattern: str) -> str:
        wrong = globs.complaint(pattern)
        if wrong or any(compile_globs((pattern,))(action) for action in every):
            return wrong
        return f'unknown action "{pattern}"{nearest(pattern, every)}'

    patterns = table.strings("on", complaint)
    if "on" not in table:
        table.fault(None, 'a rule needs "on": the actions that it is about')
    if patterns is None:
        return frozenset(), False
    matches = compile_globs(patterns)
    found = {action for action in every if matches(action)}
    spelt = {action for action in found if action in patterns and action.endswith(".unparsed")}
    if verdict is Verdict.ALLOW:
        found = {a for a in found if a in spelt or not a.endswith(".unparsed")}
        if not found:
            table.fault("on", "an allow rule must spell out an unparsed action")
    return frozenset(found), bool(spelt)


def _facts(actions: frozenset[str], known: Known) -> dict[str, FactKind]:
    """The facts that every family of ``actions`` has, in one kind."""
    families = sorted({action.partition(".")[0] for action in actions})
    if not families:  # "on" is faulty: don't complain about its facts as well
        return {f: kind for _, facts in known.families.values() for f, kind in facts.items()}
    first, *rest = (known.families[family][1] for family in families)
    return {f: kind for f, kind in first.items() if all(o.get(f) is kind for o in rest)}


def _conditions(table: Table, known: Known, facts: Mapping[str, FactKind]) -> list[Condition]:
    """All conditions, cheap ones first and those that look at more than the
    text last, which is the order in which they are tried."""
    found: list[Condition] = []
    if (who := table.table("who")) is not None:
        found += read_who(who, known.groups)
    if (unless := table.table("except")) is not None and (one := read_except(unless, known.groups)):
        found.append(one)
    if (where := table.table("where")) is not None:
        if not where.raw:
            table.fault("where", "an empty table says nothing")
        found += read_where(where, facts)
    for read in (read_effects, read_text, read_parameters):
        if (one := read(table)) is not None:
            found.append(one)
    if (window := table.table("when")) is not None and (one := read_when(window, known.zone)):
        found.append(one)
    return found


def _target(table: Table, known: Known) -> tuple[str, ...] | None:
    def complaint(pattern: str) -> str:
        wrong = globs.complaint(pattern)
        targets = known.targets
        if wrong or targets is None or any(compile_globs((pattern,))(name) for name in targets):
            return wrong
        return f'unknown target "{pattern}"{nearest(pattern, targets)}'

    return table.strings("target", complaint)


def _incomplete(table: Table, verdict: Verdict, conditions: list[Condition]) -> bool:
    value = table.flag("incomplete")
    says = [c.shape for c in conditions if c.key == "where.complete"]
    if value and says == [Shape("words", (True,))]:
        table.fault("incomplete", "contradicts where.complete = true")
    if value is not None and verdict not in (Verdict.ALLOW, Verdict.MASK):
        table.fault("incomplete", "is for rules that permit; a rule that restricts sees every part")
    return bool(value) or says == [Shape("words", (False,))]


def _approve(
    table: Table, known: Known, verdict: Verdict, facts: Mapping[str, FactKind]
) -> Approve | None:
    inner = table.table("approve")
    if verdict is not Verdict.HOLD:
        if inner is not None:
            table.fault("approve", 'is for rules with verdict = "hold"')
        return None
    if inner is None:
        if "approve" not in table:
            table.fault(None, 'a rule that holds needs "approve": whom to ask')
        return None
    groups = group_names(inner, "groups", known.groups)
    if "groups" not in inner:
        inner.fault(None, 'needs "groups": whom to ask')
    count = inner.whole("count", 1, 20)
    ttl = inner.seconds("ttl", 10, 7 * 86400)
    if inner.flag("not_requester") is False:
        inner.fault("not_requester", "nobody may approve what they ask for themselves")
    # An approval binds the digest of all that will run, so of these too.
    inner.words("bind", facts, "fact")
    inner.close()
    return Approve(groups or (), count or 1, ttl or 1800.0)


def _masks(table: Table, verdict: Verdict) -> tuple[tuple[MaskItem, ...], frozenset[str], str]:
    items = [item for inner in table.tables("mask") or () if (item := _mask(inner))]
    detect = table.words("detect", DETECTORS, "kind")
    unresolved = table.word("unresolved", ("block", "mask"))
    if verdict is Verdict.MASK:
        if "mask" not in table and "detect" not in table:
            table.fault(None, 'a rule that masks needs "mask" or "detect"')
    else:
        for key in ("mask", "detect", "unresolved"):
            if key in table:
                table.fault(key, 'is for rules with verdict = "mask"')
    return tuple(items), frozenset(detect or ()), unresolved or "block"


def _mask(table: Table) -> MaskItem | None:
    def complaint(pattern: str) -> str:
        return globs.complaint(pattern.removeprefix("column:"))

    columns = table.strings("columns", complaint)
    name = table.word("with", MASKS)
    inner = table.table("args")
    table.close()
    for key in ("columns", "with"):
        if key not in table:
            table.fault(None, f'a mask needs "{key}"')
    args = dict(inner.raw) if inner else {}
    if columns is None or name is None:
        return None
    try:
        build(name, args, _CHECK_KEY)
    except ValueError as error:
        table.fault("args" if inner else "with", str(error))
        return None
    return mask_item(columns, name, args)


def _message(table: Table, facts: Mapping[str, FactKind]) -> Template:
    message = table.text("message")
    words = (*facts, *WORDS)
    try:
        pieces = template(message or "")
    except ValueError as error:
        table.fault("message", f"no valid template: {error}")
        return ()
    for _, name in pieces:
        if name is not None and name not in words:
            table.fault("message", f'unknown fact "{{{name}}}"{nearest(name, words)}')
    return pieces


def _split(conditions: list[Condition], verdict: Verdict) -> tuple[tuple[Judged, ...], ...]:
    """The tests on the principal, on the text, on more than that, and a mask
    rule's permission."""
    who = [c for c in conditions if c.key.startswith(("who.", "except"))]
    rest = [c for c in conditions if c not in who]

    def reading(volatile: bool) -> tuple[Judged, ...]:
        return tuple(
            c.permit if verdict is Verdict.ALLOW else c.restrict
            for c in rest
            if c.volatile is volatile
        )

    permits = [c.permit for c in rest] if verdict is Verdict.MASK else []
    return tuple(c.permit for c in who), reading(False), reading(True), tuple(permits)


def _by_objects(conditions: list[Condition]) -> tuple[tuple[Judged, ...], tuple[Judged, ...]]:
    """A mask rule's static tests: those on which data is read, and the rest."""
    static = [c for c in conditions if not c.volatile and not c.key.startswith(("who.", "except"))]
    about = [c for c in static if c.key.removeprefix("where.") in OBJECTS]
    return tuple(c.restrict for c in about), tuple(c.restrict for c in static if c not in about)
