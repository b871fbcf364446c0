"""A talk of git's on an SSH connection of its own."""

from __future__ import annotations

from collections.abc import Callable

from protocols.contract import Answer, Question, Talk
from protocols.errors import WireError
from protocols.outbox import Outbox
from protocols.ssh.ascent import Ascent, Summit
from protocols.ssh.frames import HEADER, Frames, Kind, data, frame
from protocols.wire import Mark, Move, Side, Span

UPSTREAM = Side.UPSTREAM


class SshTalk:
    """``inner`` is the talk with the service that ``summit`` names: it gets the
    service's standard output, and its sends are the standard input."""

    def __init__(self, inner: Talk, summit: Summit, number: Callable[[], int]) -> None:
        self._inner = inner
        self._outbox = Outbox()
        self._ascent = Ascent(self._outbox, number)
        self._frames = Frames(UPSTREAM)
        self._ascent.begin(summit)  # asks once the upstream is ready, never before
        self._ascent.begin(summit)  # asks once the upstream is ready, never before
        self._ended = False
        self._closing = False
        self._failure = ""

    def receive(self, side: Side, data: bytes) -> list[Question]:
        if self._closing:
            return []
        if not data:
            return self._end("the upstream closed the connection")
        questions: list[Question] = []
        buffer, found = self._frames.cut(data)
        for kind, start, end in found:
            body = buffer[start + HEADER : end]
            self._outbox.take(UPSTREAM, buffer[start:end])
            if not self._ascent.started:
                questions += self._ascent.receive(kind, body)
                if self._ascent.failure:
                    self._fail(self._ascent.aside or self._ascent.failure)
            elif kind is Kind.DATA:
                questions += self._inner.receive(UPSTREAM, body)
            elif kind is Kind.EOF:
                questions += self._end("the service ended")
            elif kind is Kind.FAILED:
                self._fail(body.decode("utf-8", "backslashreplace"))
            elif kind not in (Kind.STDERR, Kind.EXIT, Kind.SIGNAL):
                raise WireError(UPSTREAM, "a frame out of turn")
        return questions

    def answer(self, number: int, answer: Answer) -> list[Question]:
        if number and number == self._ascent.pending:
            self._ascent.answer(answer)
            if self._ascent.failure:
                self._fail(self._ascent.failure)
            return []
        return self._inner.answer(number, answer)

    def moves(self) -> list[Span]:
        if self._ascent.started:
            for span in self._inner.moves():
                if span.move is Move.SEND:
                    self._outbox.send(UPSTREAM, data(Kind.DATA, span.raw), Mark.OURS)
            if self._inner.closing and not self._closing:
                self._closing = True
                self._outbox.send(UPSTREAM, frame(Kind.EOF), Mark.OURS)
        return self._outbox.drain()

    @property
    def closing(self) -> bool:
        return self._closing or (self._ascent.started and self._inner.closing)

    @property
    def result(self) -> object:
        return None if self._failure else self._inner.result

    @property
    def error(self) -> str:
        return self._failure or self._inner.error

    def _end(self, why: str) -> list[Question]:
        questions: list[Question] = []
        if self._ascent.started and not self._ended and not self._inner.closing:
            self._ended = True
            questions = self._inner.receive(UPSTREAM, b"")
            if questions:
                return questions
        if not self._inner.closing:
            self._fail(why)
        return questions

    def _fail(self, why: str) -> None:
        self._closing = True
        self._failure = why
