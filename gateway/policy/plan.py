"""From a decision's mask rules to one mask per column of a result.

A column is matched by its origins, read wide (see ``names``), and by its label
where the pattern has no dot.  Of several masks that match one column the
strongest is taken, the one that shows least: null, redact, hash (shows which
values are equal), fixed-format (shows length and shape), keep-last (shows some
characters), partial-email (shows the domain); on a tie the first rule's.

A computed column (not ``exact``) that matches is masked whole: null where a mask
is null, else redact, for the parts of a value that the other masks show are not
where they think.

A standing rule applies to the columns whose origins meet its conditions on
tables and columns, taken as a statement that reads just these.

A column of unknown origin may be any column: each rule with a pattern that
could mean an origin refuses the result (``unresolved = "block"``, the default)
or has it redacted whole (``"mask"``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from gateway.policy.principal import Principal
from gateway.policy.rules import MaskItem, Rule, plain
from gateway.policy.verdicts import Decision
from protocols.contract import Column, Command, Fact, Mask, Part, Phase, Plan, Refuse, Screen

STRENGTH = ("null", "redact", "hash", "fixed-format", "keep-last", "partial-email")

Make: TypeAlias = Callable[[str, Mapping[str, object], str], Mask]
"""``make(name, args, rule)``: the mask, for the rule with that id."""
Detect: TypeAlias = Callable[[Sequence[str]], Screen]


def plan(
    rules: Mapping[str, Rule],
    decision: Decision,
    columns: Sequence[Column],
    make: Make,
    detect: Detect,
) -> Plan | Refuse:
    """The masks of ``columns`` under ``decision``, or the refusal that an
    unknown origin asks for.  ``detect`` gives the screen for kinds of values (sorted).
    A rule of the decision that isn't in
    ``rules`` refuses: the decision is another policy's."""
    if not decision.masks and not decision.standing:
        return Plan((None,) * len(columns))
    kinds: set[str] = set()
    named: list[Rule] = []
    standing: list[Rule] = []
    for names, into in ((decision.masks, named), (decision.standing, standing)):
        for name in names:
            rule = rules.get(name)
            if rule is None:
                return Refuse("the rule that masks this result is gone", rule=name)
            into.append(rule)
    for rule in named:
        kinds |= rule.detect
    masks: list[Mask | None] = []
    for column in columns:
        found: tuple[int, str, Mapping[str, object], str] | None = None
        ours = named
        if standing and (those := _standing(standing, column)):
            ours = named + those
            for rule in those:
                kinds |= rule.detect
        for rule in ours:
            choices = [
                (item.name, item.args) if column.exact else _whole(item)
                for item in rule.masks
                if _matches(item, column)
            ]
            if column.origins is None and any(item.needs_origin for item in rule.masks):
                if rule.unresolved == "block":
                    return Refuse(
                        f'where column "{plain(column.name)}" comes from can\'t be told, '
                        f"and rule {rule.id} masks by origin",
                        rule=rule.id,
                    )
                choices.append(("redact", {}))
            for word, args in choices:
                rank = STRENGTH.index(word)
                if found is None or rank < found[0]:
                    found = rank, word, args, rule.id
        masks.append(None if found is None else make(found[1], found[2], found[3]))
    return Plan(
        columns=tuple(masks),
        detect=detect(sorted(kinds)) if kinds else None,
        withhold=True,
    )


def _matches(item: MaskItem, column: Column) -> bool:
    return item.by_label(column.name) or any(map(item.by_origin, column.origins or ()))


def _whole(item: MaskItem) -> tuple[str, Mapping[str, object]]:
    return (item.name, item.args) if item.name in ("null", "redact") else ("redact", {})


_NOBODY = Principal("", "", "")
_NO_COMMAND = Command(0, Phase.RUN, "", ())


def _standing(rules: list[Rule], column: Column) -> list[Rule]:
    """Those of ``rules`` that are about the data in ``column``. What is unknown
    matches, as everywhere where a rule restricts."""
    facts: dict[str, Fact] = {}
    if column.origins is not None:
        tables = tuple(dict.fromkeys(origin.rpartition(".")[0] for origin in column.origins))
        facts = {
            "tables": tables,
            "reads_tables": tables,
            "columns": column.origins,
            "reads_columns": column.origins,
        }
    part = Part("", (), facts, complete=True)
    return [r for r in rules if all(t(part, _NO_COMMAND, _NOBODY, None) for t in r.objects)]
