"""Drives a lane from a test, in pieces of any size."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

from git_pump import no_spool

from protocols.contract import Allow, Answer, Question, Screen
from protocols.git.fetch import FetchLane
from protocols.git.lane import Lane, LaneOpening
from protocols.wire import Mark, Move, Side


def opening(version: int = 0, own: Screen | None = None, limit: int = 1 << 20) -> LaneOpening:
    numbers = itertools.count(1)
    return LaneOpening("s-1", "org/repo", version, lambda: next(numbers), no_spool, own, limit)


class Drive:
    """A lane, what left it to each side, and what it asked. ``answers`` says what
    each question is answered with; None leaves it open."""

    def __init__(
        self, lane: Lane | None = None, answers: Callable[[Question], Answer | None] | None = None
    ) -> None:
        self.lane: Lane = lane or FetchLane(opening())
        self.answers = answers or (lambda question: Allow())
        self.sent: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self.came: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self.plain: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        """Arrivals that anyone who may see the record sees."""
        self.told = [0, 0]
        self.asked: list[Question] = []

    def feed(self, side: Side, data: bytes, sizes: Iterable[int] = ()) -> None:
        at = 0
        for size in itertools.chain(sizes, itertools.repeat(len(data))):
            piece = data[at : at + max(1, size)]
            if not piece:
                return
            self._turn(side, piece)
            at += len(piece)

    def end(self, side: Side) -> None:
        self._turn(side, b"")

    def _turn(self, side: Side, piece: bytes) -> None:
        self.came[side].extend(piece)
        try:
            self.settle(self.lane.receive(side, piece))
        finally:
            self.take()

    def settle(self, questions: list[Question]) -> None:
        for question in questions:
            self.asked.append(question)
            answer = self.answers(question)
            self.take()
            if answer is not None:
                self.settle(self.lane.answer(question.number, answer))
                self.take()

    def take(self) -> None:
        for move, side, mark, raw, offset in self.lane.moves():
            assert raw
            if move in (Move.PASS, Move.TAKE):
                assert offset == self.told[side]
                assert self.came[side][offset : offset + len(raw)] == raw
                self.told[side] += len(raw)
                if mark is Mark.PLAIN:
                    self.plain[side].extend(raw)
            elif move is Move.FORWARD:
                assert offset + len(raw) <= self.told[side]
                assert self.came[side][offset : offset + len(raw)] == raw
            else:
                assert offset == -1
            if move is not Move.TAKE:
                self.sent[side if move is Move.SEND else side.other].extend(raw)
        assert self.told == [len(came) for came in self.came]
