"""A transcript kit for the query phase: frames by name, and a small server.

``Server`` answers what it is sent in the order and with the skipping rules of
a real one, so that a test needs to say only what the client sends.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from itertools import count

from protocols.contract import Allow, Answer, Command, Destined, Opening, Question, Screen
from protocols.outbox import Outbox
from protocols.postgres.traffic import Traffic
from protocols.wire import Mark, Move, Side, Span

CLIENT, UPSTREAM = Side.CLIENT, Side.UPSTREAM


def f(kind: str, body: bytes = b"") -> bytes:
    return kind.encode() + struct.pack(">I", len(body) + 4) + body


def query(text: str) -> bytes:
    return f("Q", text.encode() + b"\0")


def parse(name: str, text: str, *oids: int) -> bytes:
    types = struct.pack(f">H{len(oids)}I", len(oids), *oids)
    return f("P", name.encode() + b"\0" + text.encode() + b"\0" + types)


def bind(portal: str, name: str, *values: bytes | None) -> bytes:
    body = portal.encode() + b"\0" + name.encode() + b"\0" + struct.pack(">HH", 0, len(values))
    for v in values:
        body += struct.pack(">i", -1) if v is None else struct.pack(">i", len(v)) + v
    return f("B", body + struct.pack(">H", 0))


def execute(portal: str = "", rows: int = 0) -> bytes:
    return f("E", portal.encode() + b"\0" + struct.pack(">i", rows))


def describe(what: str, name: str = "") -> bytes:
    return f("D", what.encode() + name.encode() + b"\0")


def close(what: str, name: str = "") -> bytes:
    return f("C", what.encode() + name.encode() + b"\0")


SYNC = f("S")
FLUSH = f("H")
TERMINATE = f("X")


def ready(status: str = "I") -> bytes:
    return f("Z", status.encode())


def complete(tag: str) -> bytes:
    return f("C", tag.encode() + b"\0")


def row(*values: bytes | None) -> bytes:
    body = struct.pack(">H", len(values))
    for v in values:
        body += struct.pack(">i", -1) if v is None else struct.pack(">i", len(v)) + v
    return f("D", body)


def columns(*names: str, table: int = 0, form: int = 0) -> bytes:
    body = struct.pack(">H", len(names))
    for i, name in enumerate(names):
        body += name.encode() + b"\0" + struct.pack(">IhIhih", table, i + 1, 25, -1, -1, form)
    return f("T", body)


def error(code: str, text: str, severity: str = "ERROR", **more: str) -> bytes:
    fields = {"S": severity, "V": severity, "C": code, "M": text, **more}
    return f("E", b"".join(k.encode() + v.encode() + b"\0" for k, v in fields.items()) + b"\0")


def frames(raw: bytes) -> list[tuple[str, bytes]]:
    """``raw`` cut into frames; fails unless they tile it."""
    out, at = [], 0
    while at < len(raw):
        (size,) = struct.unpack_from(">I", raw, at + 1)
        assert 4 <= size <= len(raw) - at - 1, "a torn frame"
        out.append((chr(raw[at]), raw[at + 5 : at + 1 + size]))
        at += 1 + size
    return out


def kinds(raw: bytes) -> str:
    return "".join(kind for kind, _ in frames(raw))


def fields(body: bytes) -> dict[str, str]:
    return {p[:1].decode(): p[1:].decode() for p in body.split(b"\0") if p}


def allow(question: Question) -> Answer:
    return Allow()


class Session:
    """A Traffic with its relay: asks ``judge``, keeps the spans, checks that
    they tile what came in and that nothing passes an unanswered question."""

    def __init__(
        self,
        judge: Callable[[Question], Answer | None] = allow,
        *,
        masked: bool = False,
        own: Screen | None = None,
        limit: int = 1 << 20,
    ) -> None:
        self.chances: Iterator[int] = count(1)
        opening = Opening("s1", lambda n: next(self.chances).to_bytes(n, "big"), limit=limit)
        destined = Destined("u", "d", "disable", b"k", masked=masked, own=own)
        self.outbox = Outbox()
        self.parameters: dict[str, str] = {}
        self.traffic = Traffic(opening, destined, self.outbox, count(1), self.parameters)
        self.judge = judge
        self.questions: list[Question] = []
        self.waiting: list[Question] = []
        self.spans: list[Span] = []
        self.arrived = [b"", b""]
        self.sent = [b"", b""]
        self.read = [0, 0]

    def feed(self, side: Side, data: bytes) -> None:
        self.arrived[side] += data
        try:
            questions = self.traffic.receive(side, data)
            self.settle(questions)
        finally:
            self.drain()

    def settle(self, questions: list[Question]) -> None:
        todo = list(questions)
        while todo:
            question = todo.pop(0)
            self.questions.append(question)
            answer = self.judge(question)
            if answer is None:
                self.waiting.append(question)
            else:
                todo += self.traffic.answer(question.number, answer)

    def answer(self, answer: Answer) -> None:
        question = self.waiting.pop(0)
        try:
            self.settle(self.traffic.answer(question.number, answer))
        finally:
            self.drain()

    def drain(self) -> None:
        spans = self.traffic.moves()
        self.spans += spans
        for span in spans:
            if span.move is Move.SEND:
                self.sent[span.side] += span.raw
            elif span.move is not Move.TAKE:
                self.sent[span.side.other] += span.raw
        self.check()

    def check(self) -> None:
        left = self.traffic.unforwarded
        for side in (CLIENT, UPSTREAM):
            tiles = b""
            gone = set()
            for span in self.spans:
                if span.side is not side:
                    continue
                if span.move in (Move.PASS, Move.TAKE):
                    assert span.offset == len(tiles)
                    tiles += span.raw
                elif span.move is Move.FORWARD:
                    end = span.offset + len(span.raw)
                    assert self.arrived[side][span.offset : end] == span.raw
                    assert span.offset not in gone
                    gone.add(span.offset)
            whole = self.arrived[side]
            assert tiles == whole[: len(whole) - left[side]], "the spans do not tile the stream"

    def client(self, data: bytes) -> None:
        self.feed(CLIENT, data)

    def server(self, data: bytes) -> None:
        self.feed(UPSTREAM, data)

    def take(self, side: Side) -> bytes:
        """What has been sent to ``side`` since the last call."""
        raw = self.sent[side][self.read[side] :]
        self.read[side] = len(self.sent[side])
        return raw

    @property
    def commands(self) -> list[Command]:
        return [q for q in self.questions if isinstance(q, Command)]

    def texts(self) -> list[str]:
        return [q.text for q in self.commands]

    def marks(self, mark: Mark) -> bytes:
        return b"".join(s.raw for s in self.spans if s.mark is mark)


class Server:
    """A server of canned results. ``results`` maps a text to the frames that
    it gives up to its CommandComplete; an ErrorResponse among them fails it.
    What isn't there is a syntax error that quotes the text's first word."""

    def __init__(self, results: dict[str, bytes]) -> None:
        self.results = results
        self.statements: dict[str, str] = {}
        self.portals: dict[str, str] = {}
        self.skipping = False
        self.ran: list[str] = []
        self.buffer = b""

    def run(self, text: str) -> tuple[bytes, bool]:
        self.ran.append(text)
        if text in self.results:
            raw = self.results[text]
            return raw, raw[:1] != b"E"
        return self.syntax(text), False

    @staticmethod
    def syntax(text: str) -> bytes:
        return error(
            "42601", f'syntax error at or near "{text.split(maxsplit=1)[0] if text else ""}"'
        )

    def receive(self, data: bytes) -> bytes:
        out = b""
        for kind, body in frames(data):
            out += self.message(kind, body)
        return out

    def message(self, kind: str, body: bytes) -> bytes:
        if kind == "S":
            self.skipping = False
            return ready()
        if self.skipping or kind in "HXdcf":
            return b""
        if kind == "Q":
            raw, _ = self.run(body[:-1].decode())
            return raw + ready()
        raw, good = getattr(self, "on_" + kind)(body)
        self.skipping = not good
        return raw

    def on_P(self, body: bytes) -> tuple[bytes, bool]:
        name, text, _ = body.split(b"\0", 2)
        if text.decode() not in self.results:
            return self.syntax(text.decode()), False
        if name and name.decode() in self.statements:
            return error("42P05", "exists"), False
        self.statements[name.decode()] = text.decode()
        return f("1"), True

    def on_B(self, body: bytes) -> tuple[bytes, bool]:
        portal, name, _ = body.split(b"\0", 2)
        if name.decode() not in self.statements:
            return error("26000", "prepared statement does not exist"), False
        self.portals[portal.decode()] = self.statements[name.decode()]
        return f("2"), True

    def on_D(self, body: bytes) -> tuple[bytes, bool]:
        book = self.statements if body[:1] == b"S" else self.portals
        text = book.get(body[1:-1].decode())
        if text is None:
            return error("26000", "does not exist"), False
        raw = self.results[text]
        described = f("n")
        for kind, body_ in frames(raw):
            if kind == "T":
                described = f("T", body_)
        return (f("t", b"\0\0") if book is self.statements else b"") + described, True

    def on_E(self, body: bytes) -> tuple[bytes, bool]:
        text = self.portals.get(body[:-5].decode())
        if text is None:
            return error("34000", "portal does not exist"), False
        raw, good = self.run(text)
        return b"".join(f(k, b) for k, b in frames(raw) if k != "T"), good

    def on_C(self, body: bytes) -> tuple[bytes, bool]:
        book = self.statements if body[:1] == b"S" else self.portals
        book.pop(body[1:-1].decode(), None)
        return f("3"), True


def talk(session: Session, server: Server, *reads: bytes) -> bytes:
    """The client sends ``reads``; returns all that it got."""
    before = len(session.sent[CLIENT])
    for read in reads:
        session.client(read)
        while raw := session.take(UPSTREAM):
            if reply := server.receive(raw):
                session.server(reply)
    return session.sent[CLIENT][before:]
