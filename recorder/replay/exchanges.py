"""A recorded client leg as exchanges: what was asked, up to one ReadyForQuery."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from recorder.render import one_line
from recorder.replay.messages import Message
from recorder.replay.script import In, Out, Step
from recorder.replay.wording import described

ASKS = frozenset(b"QSF")
COPYING = frozenset(b"dcf")
_LITERAL = re.compile(rb"'(?:[^']|'')*'|\b\d+(?:\.\d+)?\b")
_NAMES = {"Q": "Query", "P": "Parse", "B": "Bind", "D": "Describe", "E": "Execute", "S": "Sync",
          "C": "Close", "H": "Flush", "F": "FunctionCall", "d": "CopyData", "c": "CopyDone",
          "f": "CopyFail"}  # fmt: skip


@dataclass(slots=True)
class Exchange:
    """``steps`` in recorded order: True for what the client said."""

    number: int
    steps: list[tuple[bool, Message]] = field(default_factory=list)

    @property
    def asked(self) -> list[Message]:
        """What the client said, without the data of a COPY."""
        return [m for ours, m in self.steps if ours and m.kind not in COPYING]

    @property
    def text(self) -> str:
        """It in a line."""
        return next((text for m in self.asked if (text := described(m))), "")


def exchanges(steps: Iterable[Step]) -> list[Exchange]:
    """All of them, in order. An unfinished one at the end is left out."""
    found: list[Exchange] = []
    asking = answering = 0

    def at(number: int) -> Exchange:
        while len(found) <= number:
            found.append(Exchange(len(found) + 1))
        return found[number]

    for step in steps:
        if isinstance(step, Out):
            message = step.message
            if message.kind == 0x58:
                continue
            at(answering if message.kind in COPYING else asking).steps.append((True, message))
            if message.kind in ASKS:
                asking += 1
        elif isinstance(step, In):
            at(answering).steps.append((False, step.message))
            if step.message.kind == 0x5A:
                answering += 1
    return found[:answering]


def same(then: Message, now: Message, loose: bool) -> bool:
    """Is ``now`` what was asked then? ``loose``: whatever the values are."""
    if not then.known:
        return False
    if then.raw == now.raw:
        return True
    if not loose or then.kind != now.kind:
        return False
    if chr(then.kind) in "QP":
        return _LITERAL.sub(b"?", then.body) == _LITERAL.sub(b"?", now.body)
    if chr(then.kind) == "B":
        return then.body.split(b"\0")[:2] == now.body.split(b"\0")[:2]
    return chr(then.kind) == "F" and then.body[:4] == now.body[:4]


def closest(asked: list[Message], among: Iterable[Exchange]) -> str:
    """The recorded exchange that is most like ``asked``, and where they part."""
    text = next((t for m in asked if (t := described(m))), "")
    best: tuple[float, Exchange] | None = None
    for exchange in among:
        matcher = SequenceMatcher(None, text[:300], exchange.text[:300])
        if best is not None and min(matcher.real_quick_ratio(), matcher.quick_ratio()) <= best[0]:
            continue  # these two are never less
        likeness = matcher.ratio()
        if best is None or likeness > best[0]:
            best = likeness, exchange
    if best is None:
        return "Nothing more is on record."
    found = best[1]
    return f"The closest on record is request {found.number}: {found.text or '(no text)'}. " + next(
        _parts(found.asked, asked), ""
    )


def _parts(then: list[Message], now: list[Message]) -> Iterator[str]:
    for a, b in zip(then, now, strict=False):
        if a.raw == b.raw:
            continue
        if a.kind != b.kind:
            yield f"It goes on with {_name(a)}, not {_name(b)}."
        elif chr(a.kind) == "B":
            yield f"The values differ: {_values(a)} then, {_values(b)} now."
        else:
            at = next((n for n, (x, y) in enumerate(zip(a.body, b.body, strict=False)) if x != y),
                      min(len(a.body), len(b.body)))  # fmt: skip
            cut = [m.body[max(0, at - 10) : at + 40].decode("utf-8", "backslashreplace")
                   for m in (a, b)]  # fmt: skip
            yield (f"They part at byte {at} of {_name(a)}: {one_line(cut[0])!r} then, "
                   f"{one_line(cut[1])!r} now.")  # fmt: skip
    if len(then) != len(now):
        yield f"It has {len(then)} messages, not {len(now)}."


def _name(message: Message) -> str:
    return _NAMES.get(chr(message.kind), repr(chr(message.kind)))


def _values(message: Message) -> str:
    return one_line(message.body.partition(b"\0")[2].partition(b"\0")[2].hex(), 60)
