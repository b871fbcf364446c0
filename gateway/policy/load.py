"""TOML text to a Policy, or to every error in it at once, each with its line."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from zoneinfo import ZoneInfo

from gateway.policy.cases import Case, read_case
from gateway.policy.conflicts import hidden
from gateway.policy.errors import Faults, PolicyError, PolicyErrors
from gateway.policy.fields import Table
from gateway.policy.lines import Lines, syntax_line
from gateway.policy.policy import Policy
from gateway.policy.read_rule import Known, read_rule
from gateway.policy.rules import DEFAULT, INCOMPLETE, Rule
from gateway.policy.when import Zone
from protocols.contract import FactKind

__all__ = ["Policy", "PolicyError", "PolicyErrors", "compile_policy"]

VERSION = 1


def compile_policy(
    text: str,
    *,
    source: str,
    actions: Mapping[str, tuple[Iterable[str], Mapping[str, FactKind]]],
    groups: frozenset[str] | None = None,
    targets: frozenset[str] | None = None,
    zone: Zone = ZoneInfo,
) -> Policy:
    """The policy in ``text``; ``source`` is what errors call it (a file name).

    ``actions`` maps each protocol family to its actions (``sql.select`` or
    ``select``; ``unparsed`` is always one) and its facts.  ``groups`` and
    ``targets`` are what rules may name, None for anything.  ``zone`` gives the
    time zone of a name.  Raises ``PolicyErrors``.
    """
    lines = Lines(text)
    faults = Faults(source, lines)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said = str(error).partition(" (at ")[0]
        raise PolicyErrors([PolicyError(source, syntax_line(error, text), "", said)]) from None
    families = {
        family: (
            frozenset(a if "." in a else f"{family}.{a}" for a in (*names, "unparsed")),
            facts,
        )
        for family, (names, facts) in actions.items()
    }
    known = Known(families, groups, targets, zone)
    sets = _sets(faults, document)
    top = Table(faults, (), document, sets)
    if "version" not in top:
        top.fault("version", f"a policy needs version = {VERSION}")
    top.whole("version", VERSION, VERSION)
    default = top.word("default", ("deny", "allow"))
    top.table("sets")
    rules = [r for table in top.tables("rule") or () if (r := read_rule(table, known))]
    ids = _ids(faults, document)
    expectable = frozenset((*ids, DEFAULT, INCOMPLETE))
    read = [read_case(table, families, expectable) for table in top.tables("test") or ()]
    cases: list[Case] = [case for case in read if case is not None]
    top.close()
    _refuse_hidden(faults, rules, ids)
    faults.check()
    return Policy(
        rules,
        version=canonical_hash(document),
        source=source,
        allows=default == "allow",
        tests=tuple(cases),
        unused={name: faults.line(("sets", name)) for name in sets if not _used(name, document)},
    )


def canonical_hash(document: Mapping[str, object]) -> str:
    """SHA-256, hex, of the canonical policy: JSON with sorted keys, rules by
    id, without tests. Comments, layout and the order of rules don't count."""
    counted = {key: value for key, value in document.items() if key != "test"}
    rules = counted.get("rule")
    if isinstance(rules, list):
        counted["rule"] = sorted(rules, key=lambda rule: str(rule.get("id")))
    raw = json.dumps(counted, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(b"wirewarden policy v1\0" + raw.encode()).hexdigest()


def _sets(faults: Faults, document: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    raw = document.get("sets")
    if not isinstance(raw, dict):
        return {}
    table = Table(faults, ("sets",), raw, {})
    # A faulty set is reported once, here, and not again by each use.
    return {name: table.strings(name) or ("*",) for name in raw}


def _ids(faults: Faults, document: Mapping[str, object]) -> dict[str, int]:
    """The index of each id's rule, faulty ones too; complains about twins."""
    seen: dict[str, int] = {}
    rules = document.get("rule")
    for number, rule in enumerate(rules if isinstance(rules, list) else ()):
        name = rule.get("id") if isinstance(rule, dict) else None
        if not isinstance(name, str):
            continue
        if name in seen:
            line = faults.line(("rule", seen[name], "id"))
            faults.add(("rule", number, "id"), f'duplicate id "{name}", first on line {line}')
        else:
            seen[name] = number
    return seen


def _refuse_hidden(faults: Faults, rules: list[Rule], ids: Mapping[str, int]) -> None:
    unique = {rule.id: rule for rule in rules}
    for name, why in hidden(unique.values()).items():
        faults.add(("rule", ids[name]), f'rule "{name}" {why}')


def _used(name: str, value: object) -> bool:
    if isinstance(value, str):
        return value == f"@{name}"
    if isinstance(value, dict):
        return any(_used(name, inner) for inner in value.values())
    return isinstance(value, list) and any(_used(name, inner) for inner in value)
