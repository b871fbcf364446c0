"""Aligns what was answered then with what is answered now, by the kinds of messages."""

from __future__ import annotations

from collections import deque
from difflib import SequenceMatcher

from recorder.replay.messages import Message

READY = 0x5A
_ALIGNED = 3_000
"""Messages of one request that are aligned by kind; beyond, in pairs."""


def place(messages: deque[Message]) -> int:
    """Where the first ReadyForQuery is, -1 for nowhere."""
    for index, message in enumerate(messages):
        if message.kind == READY:
            return index
    return -1


def taken(messages: deque[Message], last: int) -> list[Message]:
    """Take those up to ``last``; -1 for all."""
    count = last + 1 if last >= 0 else len(messages)
    return [messages.popleft() for _ in range(count)]


def aligned(then: list[Message], now: list[Message]) -> list[tuple[str, int, int, int, int]]:
    """Operations as those of SequenceMatcher.get_opcodes."""
    if len(then) <= _ALIGNED and len(now) <= _ALIGNED:
        kinds = [m.kind for m in then], [m.kind for m in now]
        return list(SequenceMatcher(None, *kinds, autojunk=False).get_opcodes())
    # From both ends: what is between has no partner.
    most = min(len(then), len(now))
    front = next((n for n in range(most) if then[n].kind != now[n].kind), most)
    most -= front
    back = next((n for n in range(most) if then[-1 - n].kind != now[-1 - n].kind), most)
    ends = len(then) - back, len(now) - back
    return [
        ("equal", 0, front, 0, front),
        ("replace", front, ends[0], front, ends[1]),
        ("equal", ends[0], len(then), ends[1], len(now)),
    ]
