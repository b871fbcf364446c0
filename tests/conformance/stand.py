"""Stands in for relay, client and server around one conversation.

Whatever the plan of a run, it checks after every call that the spans tile the
arrivals and that what is forwarded had arrived, once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from random import Random
from typing import Any

from subject import Script, Subject

import protocols
from protocols.contract import (
    Allow,
    Answer,
    Cancel,
    Challenge,
    Command,
    Credential,
    Destination,
    Done,
    Errand,
    Offer,
    Opening,
    Plan,
    Proof,
    Proven,
    Question,
    Refuse,
    Remark,
    Result,
    SpoolFull,
    Upgrade,
    Upgraded,
)
from protocols.errors import WireError
from protocols.wire import Mark, Move, Side, Span

CREDENTIAL = b"canary-credential-77c1"
REFUSE = Refuse("the reason", "the-rule")
GATES_UPSTREAM = {Command, Proof, Destination, Challenge}
GATES_CLIENT = {Proof, Destination, Challenge, Result, Errand}
"""While one of these is open nothing leaves on that side."""
Mutate = Callable[[Side, bytes], bytes]


class MemorySpool:
    """A spool of ``cap`` bytes."""

    def __init__(self, cap: int) -> None:
        self.cap, self.raw = cap, b""

    @property
    def size(self) -> int:
        return len(self.raw)

    def write(self, data: bytes) -> None:
        if len(self.raw) + len(data) > self.cap:
            raise SpoolFull(f"more than {self.cap} bytes")
        self.raw += data

    def read(self, offset: int, length: int) -> bytes:
        return self.raw[offset : offset + length]

    def close(self) -> None:
        self.raw = b""


@dataclass
class Way:
    """How a script is run. ``late``: no question is answered before all of a
    turn has been read. ``masked``: every command is allowed with a plan that
    masks nothing. ``stop``: (side, n) ends that side's stream at byte n."""

    cut: int | Random = 0
    late: bool = False
    masked: bool = False
    stop: tuple[Side, int] | None = None
    mutate: Mutate | None = None
    refuse: bool = True


@dataclass
class Stand:
    protocol: str
    subject: Subject
    plan: Way = field(default_factory=Way)

    def __post_init__(self) -> None:
        self.draws = 0
        self.conversation: Any = protocols.load(self.protocol).start(
            Opening("session-1", self.chance, "off", self.subject.limit, MemorySpool)
        )
        self.server = self.subject.server()
        self.questions: list[Question] = []
        self.open: list[Question] = []
        self.refused = 0
        self.spans: list[Span] = []
        self.arrived = [bytearray(), bytearray()]
        self.told = [0, 0]
        self.sent = [bytearray(), bytearray()]
        self.forwarded: set[tuple[int, int]] = set()
        self.served = 0
        self.error: WireError | None = None
        self.stopped = False
        self.destined = self.greeted = False
        self.logged_in = (0, 0, 0, 0)

    def chance(self, count: int) -> bytes:
        self.draws += 1
        return self.draws.to_bytes(max(count, 8), "big")[-count:]

    # -- running ----------------------------------------------------------

    def run(self, script: Script) -> Stand:
        for number, turn in enumerate(script.turns):
            shut = self.subject.waits and number >= self.subject.waits
            if self.over or (shut and not self.conversation.ready):
                break
            if number == script.login:
                self.mark()
            self.feed(Side.CLIENT, turn)
            self.pump()
        return self

    def mark(self) -> None:
        """The login is over: what leaves from here on is the commands'."""
        sent, arrived = self.sent, self.arrived
        self.logged_in = (len(sent[0]), len(sent[1]), len(arrived[0]), len(arrived[1]))

    @property
    def over(self) -> bool:
        return self.error is not None or self.stopped or bool(self.conversation.closing)

    def pump(self) -> None:
        """Until nobody has anything more to say."""
        for _ in range(10_000):
            if self.over:
                return
            if self.open and self.plan.late:
                self.answer(self.open.pop(0))
                continue
            if self.destined and not self.greeted:
                self.greeted = True
                self.feed(Side.UPSTREAM, self.subject.greeting)
                continue
            if self.conversation.more:
                self.drain()
                continue
            raw = bytes(self.sent[Side.UPSTREAM][self.served :])
            self.served += len(raw)
            reply = self.server.receive(raw) if raw else b""
            if reply:
                self.feed(Side.UPSTREAM, reply)
            elif not self.open:
                return
        raise AssertionError("the talk does not come to rest")

    def feed(self, side: Side, data: bytes) -> None:
        if self.plan.mutate is not None:
            data = self.plan.mutate(side, data)
        cut, at = self.plan.cut, 0
        stop = self.plan.stop
        if stop is not None and stop[0] is side:
            room = stop[1] - len(self.arrived[side])
            if len(data) >= room:
                data = data[:room]
                self.pieces(side, data, cut)
                if not self.over:
                    self.stopped = True
                    self.call(lambda: self.conversation.receive(side, b""))
                return
        assert at == 0
        self.pieces(side, data, cut)

    def pieces(self, side: Side, data: bytes, cut: int | Random) -> None:
        at = 0
        while at < len(data) and self.error is None:
            step = cut.randint(1, 25) if isinstance(cut, Random) else cut or len(data)
            piece = data[at : at + step]
            at += step
            self.arrived[side] += piece
            waiting = {type(question) for question in self.open}
            before = [len(sent) for sent in self.sent]
            self.call(lambda piece=piece: self.conversation.receive(side, piece))
            if not self.conversation.closing:
                if waiting & GATES_UPSTREAM:
                    assert len(self.sent[1]) == before[1], "bytes went past a question"
                if waiting & GATES_CLIENT:
                    assert len(self.sent[0]) == before[0], "bytes went past a question"

    def call(self, what: Callable[[], list[Question]]) -> None:
        try:
            asked = what()
        except WireError as error:
            self.error = error
            assert self.conversation.closing, "it goes on after a WireError"
            asked = []
        self.questions += asked
        asked = [question for question in asked if not isinstance(question, Remark)]
        if self.plan.late:
            self.open += asked
            self.drain()
            return
        for question in asked:
            answer = self.decide(question)
            self.call(lambda q=question, a=answer: self.conversation.answer(q.number, a))
        self.drain()

    def answer(self, question: Question) -> None:
        answer = self.decide(question)
        self.call(lambda: self.conversation.answer(question.number, answer))

    def decide(self, question: Question) -> Answer:
        if isinstance(question, Command):
            if self.plan.refuse and self.subject.forbidden in question.text:
                self.refused += 1
                return REFUSE
            return Allow(masked=self.plan.masked)
        if isinstance(question, Proof):
            evidence = question.secret is not None or question.key
            return Proven("mia") if evidence else Offer()
        if isinstance(question, Destination):
            self.destined = bool(self.subject.greeting)
        if isinstance(question, Result):
            return Plan((None,) * len(question.columns))
        simple: dict[type, Answer] = {
            Destination: self.subject.destined,
            Challenge: Credential(CREDENTIAL),
            Errand: Done(None, "no errands here"),
            Upgrade: Upgraded(),
            Cancel: Done(),
        }
        return simple[type(question)]

    # -- laws that hold in every run --------------------------------------

    def drain(self) -> None:
        spans = self.conversation.moves()
        self.spans += spans
        for move, side, mark, raw, offset in spans:
            assert raw, "an empty span"
            arrived = self.arrived[side]
            if move in (Move.PASS, Move.TAKE):
                assert offset == self.told[side], "the spans do not tile the stream"
                assert arrived[offset : offset + len(raw)] == raw
                self.told[side] += len(raw)
            elif move is Move.FORWARD:
                assert arrived[offset : offset + len(raw)] == raw
                assert offset + len(raw) <= self.told[side], "forwards what it has not taken"
                assert (side, offset) not in self.forwarded, "forwards it twice"
                self.forwarded.add((side, offset))
            else:
                assert offset == -1
            if move in (Move.PASS, Move.FORWARD):
                assert mark is Mark.PLAIN
            if move is Move.SEND:
                assert mark is not Mark.PLAIN
                self.sent[side] += raw
            elif move is not Move.TAKE:
                self.sent[1 - side] += raw
        due = self.conversation.unforwarded
        for side in Side:
            assert self.told[side] + due[side] == len(self.arrived[side]), "bytes are lost"
        assert self.conversation.held >= 0

    # -- what came of it --------------------------------------------------

    def asked(self) -> dict[str, list[tuple[Any, ...]]]:
        """The questions of each kind, without their numbers."""
        out: dict[str, list[tuple[Any, ...]]] = {}
        for question in self.questions:
            told = tuple(
                getattr(question, f.name)
                for f in fields(question)
                if f.name not in ("number", "command", "talk")
            )
            out.setdefault(type(question).__name__, []).append(told)
        return out

    def outcome(self) -> tuple[Any, ...]:
        return self.asked(), bytes(self.sent[0]), bytes(self.sent[1])

    def exposed(self) -> bytes:
        """All that is on record in clear, each side's spans joined."""
        return b"\0".join(
            b"".join(s.raw for s in self.spans if s.mark is not Mark.SECRET and s.side is side)
            for side in Side
        )
