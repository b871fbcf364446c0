"""The card: all that an approver approves, as inert text.

Nothing that the requester wrote can move the cursor, hide, reorder or pose as
a part of the card: every character but printable ones is shown by its code
between ``⟨`` and ``⟩``, lines that belong to the command begin with a bar, and a
text that is not shown whole can't be approved.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from gateway.approval_rows import Approval
from protocols.contract import Parameter

CARD_LINES: Final = 200
CARD_CHARACTERS: Final = 32_000

_PLAIN: Final = re.compile(r"[\x20-\x7e]*")
_SHOWN: Final = frozenset(("L", "N", "P", "S"))
"""Letters, numbers, punctuation and symbols. Not marks, which draw over their
neighbours, not spaces that look like nothing, nor anything that formats."""
# In these categories, and yet drawn as nothing.
_BLANK: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800")


def inert(text: str) -> str:
    """``text`` on one line, with what isn't printable shown by its code; the
    brackets themselves too, so that no two texts look the same."""
    if _PLAIN.fullmatch(text):
        return text
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    code = ord(character)
    if 0x20 <= code < 0x7F:
        return character
    if 0xDC80 <= code <= 0xDCFF:
        return f"⟨byte {code - 0xDC00:02X}⟩"
    if character in "⟨⟩" or character in _BLANK:
        return f"⟨U+{code:04X}⟩"
    if unicodedata.category(character)[0] in _SHOWN:
        return character
    return f"⟨U+{code:04X}⟩"


@dataclass(frozen=True, slots=True)
class Card:
    """``whole`` is False when something is left out; then approving is to be
    refused until the person has seen it all."""

    text: str
    whole: bool


def render(approval: Approval, whole: bool = False) -> Card:
    """The card of ``approval``. Without ``whole`` a long command is cut at
    ``CARD_LINES`` lines or ``CARD_CHARACTERS`` characters, and the card says so."""
    request = approval.request
    who = f"{inert(request.subject)} ({inert(request.issuer)})"
    lines = [
        f"{approval.id}  {approval.state.value}",
        f"who       {who}, groups: {_names(request.groups)}",
        f"run       {inert(request.run) or '-'}",
        f"session   {inert(request.session)}",
        f"target    {inert(request.target)} ({inert(request.protocol)})",
        f"rules     {_names(request.rules)}: {inert(request.reason)}",
        f"asked     {_time(approval.created)}, lapses {_time(approval.expires)}",
        f"policy    {inert(request.policy)}",
        f"digest    {inert(request.digest)}",
    ]
    for need in request.needs:
        lines.append(f"needs     {need.count} of {_names(need.groups)} (rule {inert(need.rule)})")
    for said in approval.decisions:
        verb = "approved" if said.approve else "denied"
        by = f"{inert(said.subject)} ({inert(said.issuer)})"
        lines.append(f"{verb:9} by {by} at {_time(said.at)}: {inert(said.reason)}")
    if approval.why:
        lines.append(f"why       {inert(approval.why)}")
    body = _body(approval)
    shown = body
    if not whole:
        shown = _cut(body)
    lines += shown
    if not request.text.isascii():
        lines.append("NOTE      the command has letters outside ASCII, which may look like others")
    if len(shown) < len(body):
        left = len(body) - len(shown)
        lines.append(f"NOT WHOLE {left} more lines are not shown. It can't be approved like this.")
    return Card("\n".join(lines) + "\n", len(shown) == len(body))


def refusal(approval: Approval, seen_whole: bool) -> str:
    """Why a person who was shown the card can't approve it yet; "" when they
    can. ``seen_whole``: they were shown it with ``whole``."""
    if seen_whole or render(approval).whole:
        return ""
    return f"{approval.id} is too long to be shown at once: read all of it first"


def _body(approval: Approval) -> list[str]:
    request = approval.request
    # Only the newline breaks a line; other line ends are shown by their code.
    texts = request.text.split("\n")
    size = len(request.text.encode("utf-8", "surrogateescape"))
    lines = [f"command   {len(texts)} lines, {size} bytes"]
    lines += [f"  | {inert(text)}" for text in texts]
    for number, parameter in enumerate(request.parameters, 1):
        lines.append(f"  ${number} {inert(parameter.type or parameter.form)} = {_value(parameter)}")
    return lines


def _cut(body: list[str]) -> list[str]:
    """Whole lines only: half a line reads like another command."""
    shown: list[str] = []
    room = CARD_CHARACTERS
    for line in body[:CARD_LINES]:
        room -= len(line) + 1
        if room < 0:
            break
        shown.append(line)
    return shown


def _value(parameter: Parameter) -> str:
    value = parameter.value
    if value is None:
        return "NULL"
    if parameter.form == "text":
        text = inert(value.decode("utf-8", "surrogateescape"))
        return f'{len(value)} bytes "{text}"'
    if value and all(0x20 <= byte < 0x7F for byte in value):
        return f'{len(value)} bytes, hex {value.hex()} ("{value.decode()}")'
    return f"{len(value)} bytes, hex {value.hex()}"


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(inert(name) for name in names) or "-"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
