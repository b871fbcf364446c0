"""``text``, ``parameters`` and ``effects``: conditions on the whole command's
text and bound values (RE2, linear in the text), and on what a part does.

A regular expression is searched for in rules that restrict, and must match the
whole where a rule permits: ``text = "SELECT"`` must not let through whatever
contains that word.  The text is the command's, with all its statements.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import re2

from gateway.policy.conditions import Condition, Shape
from gateway.policy.fields import Table
from gateway.policy.principal import Principal
from protocols.contract import Command, EffectKind, Parameter, Part, Phase

EFFECTS = tuple(kind.value for kind in EffectKind)
PATTERN_MAX = 2000
TEXTUAL = frozenset(
    {"text", "varchar", "bpchar", "char", "name", "json", "xml", "unknown"}
    | {"25", "1043", "1042", "18", "19", "114", "142", "705"}
)
"""Types whose binary form is their text: PostgreSQL's names and OIDs
(pg_type.dat). Any other binary value is unknown to a pattern."""


def read_effects(table: Table) -> Condition | None:
    """``effects``: some effect is of these kinds (rules that restrict); no
    effect is of another kind (rules that permit)."""
    words = table.words("effects", EFFECTS, "effect")
    if words is None:
        return None
    wanted = frozenset(EffectKind(word) for word in words)

    def restrict(part: Part, command: Command, principal: Principal, now: datetime | None) -> bool:
        for effect in part.effects:  # noqa: SIM110 - a generator costs more
            if effect.kind in wanted:
                return True
        return False

    def permit(part: Part, command: Command, principal: Principal, now: datetime | None) -> bool:
        return all(effect.kind in wanted for effect in part.effects)

    def show(part: Part, command: Command, principal: Principal, now: datetime | None) -> object:
        return sorted({effect.kind.value for effect in part.effects})

    return Condition("effects", Shape("effects", tuple(sorted(words))), restrict, permit, show)


def read_text(table: Table) -> Condition | None:
    """``text``: one of these expressions on the command's text."""
    patterns = table.strings("text", _complaint)
    if patterns is None:
        return None
    compiled = [_compile(pattern) for pattern in patterns]

    def restrict(part: Part, command: Command, principal: Principal, now: datetime | None) -> bool:
        try:
            raw = command.text.encode()
        except UnicodeEncodeError:
            return True  # not UTF-8: what it says is unknown
        return any(expression.search(raw) is not None for expression in compiled)

    def permit(part: Part, command: Command, principal: Principal, now: datetime | None) -> bool:
        try:
            raw = command.text.encode()
        except UnicodeEncodeError:
            return False
        return any(expression.fullmatch(raw) is not None for expression in compiled)

    def show(part: Part, command: Command, principal: Principal, now: datetime | None) -> object:
        return command.text

    return Condition("text", Shape("text", tuple(sorted(patterns))), restrict, permit, show)


def read_parameters(table: Table) -> Condition | None:
    """``parameters``: some bound value matches (rules that restrict); there is
    one and each matches (rules that permit). NULL matches nothing. A binary
    value of a type that isn't text is unknown. While a command is only being
    prepared its values don't exist yet: nothing is refused and nothing is
    denied for them; running it is judged again."""
    patterns = table.strings("parameters", _complaint)
    if patterns is None:
        return None
    compiled = [_compile(pattern) for pattern in patterns]

    def restrict(part: Part, command: Command, principal: Principal, now: datetime | None) -> bool:
        if command.phase is Phase.PREPARE:
            return False
        for parameter in command.parameters:
            if parameter.value is None:
                continue
            text = _text_of(parameter)
            if text is None or any(e.search(text) is not None for e in compiled):
                return True
        return False

    def permit(part: Part, command: Command, principal: Principal, now: datetime | None) -> bool:
        if command.phase is Phase.PREPARE:
            return True
        texts = [_text_of(parameter) for parameter in command.parameters]
        return bool(texts) and all(
            text is not None and any(e.fullmatch(text) is not None for e in compiled)
            for text in texts
        )

    def show(part: Part, command: Command, principal: Principal, now: datetime | None) -> object:
        return f"{len(command.parameters)} bound values"  # never the values: they may be secret

    shape = Shape("parameters", tuple(sorted(patterns)))
    return Condition("parameters", shape, restrict, permit, show, volatile=True)


def _text_of(parameter: Parameter) -> bytes | None:
    value = parameter.value
    if value is None or (parameter.form != "text" and parameter.type not in TEXTUAL):
        return None
    try:
        value.decode()
    except UnicodeDecodeError:
        return None  # the engine would step over bytes that aren't UTF-8
    return value


def _compile(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    return re2.compile(pattern, options)


def _complaint(pattern: str) -> str:
    if not pattern:
        return "an empty expression says nothing"
    if len(pattern) > PATTERN_MAX:
        return f"an expression may have at most {PATTERN_MAX} characters"
    try:
        _compile(pattern)
    except re2.error as error:
        said = error.args[0] if error.args else "?"
        said = said.decode() if isinstance(said, bytes) else str(said)
        return f"RE2 refuses {pattern!r}: {said}"
    return ""
