"""Where a conversation writes down what became of its bytes, in order."""

from __future__ import annotations

from typing import Any

from protocols.wire import Mark, Move, Side, Span


class Numbers:
    """Counts questions, from 1. ``following`` is the number of the next one."""

    __slots__ = ("following",)

    def __init__(self) -> None:
        self.following = 1

    def __iter__(self) -> Numbers:
        return self

    def __next__(self) -> Any:  # an int; mypyc can't return one here
        number = self.following
        self.following = number + 1
        return number


class Outbox:
    """The list behind ``moves()``: appended to by the conversation, drained
    by the relay. ``arrived[side]`` counts the bytes of that side's arrivals
    that have been accounted for (by PASS or TAKE), which is the offset of the
    next one."""

    __slots__ = ("_spans", "arrived")

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self.arrived = [0, 0]

    def pass_on(self, side: Side, raw: bytes) -> None:
        """``raw`` arrived on ``side`` and leaves on the other, untouched."""
        if raw:
            offset = self.arrived[side]
            self.arrived[side] = offset + len(raw)
            self._spans.append(Span(Move.PASS, side, Mark.PLAIN, raw, offset))

    def take(self, side: Side, raw: bytes, mark: Mark = Mark.PLAIN) -> int:
        """``raw`` arrived on ``side`` and stays. Returns its offset, which a
        later ``forward`` of the same bytes must name."""
        offset = self.arrived[side]
        if raw:
            self.arrived[side] = offset + len(raw)
            self._spans.append(Span(Move.TAKE, side, mark, raw, offset))
        return offset

    def forward(self, side: Side, raw: bytes, offset: int) -> None:
        """Bytes that a TAKE told of at ``offset`` leave on the other side."""
        if raw:
            self._spans.append(Span(Move.FORWARD, side, Mark.PLAIN, raw, offset))

    def send(self, side: Side, raw: bytes, mark: Mark) -> None:
        """Bytes that never arrived leave on ``side``."""
        if raw:
            self._spans.append(Span(Move.SEND, side, mark, raw, -1))

    def drain(self) -> list[Span]:
        spans = self._spans
        if spans:
            self._spans = []
        return spans
