"""Aligns what was said then with what is said now, in bounded time whatever it is."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Hashable, Sequence

from recorder.replay.messages import Message

READY = 0x5A
MOST = 1_500
"""Differences after which an alignment ends; what follows has no partner."""
Operation = tuple[str, int, int, int, int]


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


def aligned(then: list[Message], now: list[Message]) -> list[Operation]:
    """``operations`` by the kinds of messages."""
    return operations([m.kind for m in then], [m.kind for m in now])


def operations(then: Sequence[Hashable], now: Sequence[Hashable]) -> list[Operation]:
    """How to get from one to the other, as ``difflib.SequenceMatcher.get_opcodes`` tells it.

    That one takes the square of what is alike, or worse: of ten thousand equal queries, hours.
    Here it is the length times the number of differences (E. Myers, "An O(ND) difference
    algorithm and its variations", 1986), with MOST of them.
    """
    most = min(len(then), len(now))
    front = next((n for n in range(most) if then[n] != now[n]), most)
    most -= front
    back = next((n for n in range(most) if then[-1 - n] != now[-1 - n]), most)
    ends = len(then) - back, len(now) - back
    found: list[Operation] = []
    at = 0, 0
    runs = [(0, 0, front)]
    runs += [
        (front + x, front + y, size)
        for x, y, size in _runs(_numbered(then[front : ends[0]], now[front : ends[1]]))
    ]
    runs.append((*ends, back))
    for x, y, size in runs:
        if at != (x, y):
            kind = "insert" if at[0] == x else "delete" if at[1] == y else "replace"
            found.append((kind, at[0], x, at[1], y))
        if size:
            found.append(("equal", x, x + size, y, y + size))
        at = x + size, y + size
    return found


def _numbered(a: Sequence[Hashable], b: Sequence[Hashable]) -> tuple[list[int], list[int]]:
    """Numbers in place of values that may be long."""
    numbers: dict[Hashable, int] = {}
    first, second = ([numbers.setdefault(v, len(numbers)) for v in each] for each in (a, b))
    return first, second


def _runs(both: tuple[list[int], list[int]]) -> list[tuple[int, int, int]]:
    """Runs that are alike: where in each, and how long."""
    a, b = both
    if not set(a) & set(b):
        return []
    trace: list[array[int]] = []  # for each number of differences: how far on each diagonal
    for cost in range(min(len(a) + len(b), MOST) + 1):
        reached = array("i", bytes(4 * (cost + 1)))
        for index in range(cost + 1):
            k = 2 * index - cost
            x = _step(trace[-1], index, k, len(a), len(b)) if cost else 0
            if x >= 0:
                y = x - k
                while x < len(a) and y < len(b) and a[x] == b[y]:
                    x, y = x + 1, y + 1
            reached[index] = x
            if x == len(a) and x - k == len(b):
                trace.append(reached)
                return _back(trace, (x, x - k), len(a), len(b))
        trace.append(reached)
    # As far as it came: what follows has no partner.
    far = [(2 * x - (2 * n - MOST), x, x - (2 * n - MOST)) for n, x in enumerate(reached) if x >= 0]
    return _back(trace, max(far)[1:], len(a), len(b)) if far else []


def _step(before: array[int], index: int, k: int, wide: int, high: int) -> int:
    """The farthest on diagonal ``k`` with one difference more; -1: it leads out."""
    right = before[index - 1] if index else -1
    down = before[index] if index < len(before) else -1
    right = right + 1 if 0 <= right < wide else -1
    return max(right, down if down >= 0 and down - k <= high else -1)


def _back(
    trace: list[array[int]], end: tuple[int, int], wide: int, high: int
) -> list[tuple[int, int, int]]:
    found: list[tuple[int, int, int]] = []
    x, y = end
    for cost in range(len(trace) - 1, -1, -1):
        k = x - y
        start = _step(trace[cost - 1], (k + cost) // 2, k, wide, high) if cost else 0
        if x > start:
            found.append((start, start - k, x - start))
        if not cost:
            break
        before, index = trace[cost - 1], (k + cost) // 2
        if index and before[index - 1] >= 0 and before[index - 1] + 1 == start:
            x, y = start - 1, start - k
        else:
            x, y = start, start - k - 1
    return found[::-1]
