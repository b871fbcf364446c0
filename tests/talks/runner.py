"""Runs a talk: a text file with one line per frame, question or answer.

    client WORDS      the client says it            server WORDS    the upstream says it
    upstream WORDS    it must leave for the upstream
    client< WORDS     it must leave for the client
    ask KIND WORDS    the next question             answer WORDS    answers the oldest open one
    say "text"        told to the client about the open question
    withdraw          the client withdraws the open question
    dismiss "reason"  the gateway ends the session
    end client|server the stream ends
    blame client|server   what was said last broke the protocol
    closed            the session is over           set NAME VALUE  before the first frame
    include FILE      the lines of another file, beside this one

WORDS are the protocol's own (see words_*.py). Whatever leaves must be named:
a byte that no line expects fails the talk at the line before which it left.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

import questions
import tokens

import protocols
from protocols.contract import Command, Opening, Question, Refuse, Remark
from protocols.errors import WireError
from protocols.wire import Move, Side

SIDES = {"client": Side.CLIENT, "server": Side.UPSTREAM}
LEAVES = {"client<": Side.CLIENT, "upstream": Side.UPSTREAM}


class MemorySpool:
    """A spool that lives as long as the talk."""

    def __init__(self, cap: int) -> None:
        self.raw = b""

    @property
    def size(self) -> int:
        return len(self.raw)

    def write(self, data: bytes) -> None:
        self.raw += data

    def read(self, offset: int, length: int) -> bytes:
        return self.raw[offset : offset + length]

    def close(self) -> None:
        pass


class TalkFailed(AssertionError):
    """Says where: file:line."""


@dataclass
class Line:
    path: Path
    number: int
    verb: str
    rest: str


@dataclass
class Way:
    """How a talk is run. ``cut``: bytes per read, 0 for whole, or a chance;
    ``late``: commands are answered after all that the client says next."""

    name: str
    cut: int | Random = 0
    late: bool = False


def read(path: Path) -> list[Line]:
    lines = []
    for number, text in enumerate(path.read_text().splitlines(), 1):
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        verb, _, rest = text.strip().partition(" ")
        if verb == "include":
            lines += read(path.parent / rest.strip())
        else:
            lines.append(Line(path, number, verb, rest.strip()))
    return lines


@dataclass
class Runner:
    path: Path
    way: Way
    open: list[Question] = field(default_factory=list)
    asked: list[Question] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.protocol = self.path.parent.name
        self.codec: Any = import_module(f"words_{self.protocol.replace('-', '_')}").Words()
        self.settings: dict[str, str] = {}
        self.sent = [bytearray(), bytearray()]
        self.arrived = [bytearray(), bytearray()]
        self.told = [0, 0]
        self.blamed: WireError | None = None
        self.fed: set[tuple[Path, int]] = set()
        self.conversation: Any = None
        self.draws = 0

    def run(self) -> None:
        lines = read(self.path)
        for at, line in enumerate(lines):
            try:
                self.line(line, lines[at + 1 :])
            except TalkFailed as failed:
                raise TalkFailed(
                    f"{line.path}:{line.number}: ({self.way.name}) {line.verb} {line.rest}\n"
                    f"    {failed}"
                ) from None
            except Exception as error:
                error.add_note(f"at {line.path}:{line.number} ({self.way.name})")
                raise
        try:
            self.quiet("at the end")
        except TalkFailed as failed:
            raise TalkFailed(f"{self.path}: ({self.way.name})\n    {failed}") from None
        if self.blamed is not None:
            raise TalkFailed(f"{self.path}: ({self.way.name}) nobody expects {self.blamed}")

    def chance(self, count: int) -> bytes:
        self.draws += 1
        return self.draws.to_bytes(max(count, 1), "big")[-count:] if count else b""

    def start(self) -> None:
        if self.conversation is None:
            opening = Opening(
                "s-1",
                self.chance,
                self.settings.get("tls", "off"),
                int(self.settings.get("limit", 1 << 20)),
                MemorySpool,
            )
            self.conversation = protocols.load(self.protocol).start(opening)

    def line(self, line: Line, after: list[Line]) -> None:
        verb, rest = line.verb, line.rest
        if verb == "set":
            name, text = rest.split(None, 1)
            self.settings[name] = text
            return
        self.start()
        if verb in SIDES:
            if (line.path, line.number) not in self.fed:
                self.quiet("before it")
                self.feed(SIDES[verb], self.codec.encode(SIDES[verb], tokens.split(rest)))
        elif verb in LEAVES:
            self.leaves(LEAVES[verb], rest)
        elif verb == "ask":
            self.ask(rest)
        elif verb == "answer":
            self.answer(rest, after)
        elif verb == "say":
            self.conversation.say(self.oldest().number, tokens.value(rest).decode())
            self.drain()
        elif verb == "withdraw":
            self.conversation.withdraw(self.open.pop(0).number)
            self.drain()
        elif verb == "dismiss":
            self.conversation.dismiss(Refuse(tokens.value(rest).decode(), kind="shutdown"))
            self.drain()
        elif verb == "end":
            self.quiet("before it")
            self.receive(SIDES[rest], b"")
        elif verb == "blame":
            if self.blamed is None or self.blamed.side is not SIDES[rest]:
                raise TalkFailed(f"blamed: {self.blamed}")
            self.blamed = None
        elif verb == "closed":
            if not self.conversation.closing:
                raise TalkFailed("the session goes on")
        else:
            raise ValueError(f"no such line: {verb}")

    # -- bytes ------------------------------------------------------------

    def feed(self, side: Side, data: bytes) -> None:
        cut, at = self.way.cut, 0
        while at < len(data):
            step = cut.randint(1, 30) if isinstance(cut, Random) else cut or len(data)
            if not self.receive(side, data[at : at + step]):
                return
            at += step

    def receive(self, side: Side, data: bytes) -> bool:
        self.arrived[side] += data
        try:
            self.take(self.conversation.receive(side, data))
        except WireError as error:
            self.blamed = error
            if not self.conversation.closing:
                raise TalkFailed(f"goes on after {error}") from None
        self.drain()
        return self.blamed is None

    def drain(self) -> None:
        self.told_of()
        while self.conversation.more:
            self.told_of()

    def told_of(self) -> None:
        for move, side, _mark, raw, offset in self.conversation.moves():
            if move in (Move.PASS, Move.TAKE):
                if offset != self.told[side]:
                    raise TalkFailed(f"a span at {offset} where {self.told[side]} is due")
                if self.arrived[side][offset : offset + len(raw)] != raw:
                    raise TalkFailed("a span that did not arrive like this")
                self.told[side] += len(raw)
            if move is Move.SEND:
                self.sent[side] += raw
            elif move is not Move.TAKE:
                self.sent[1 - side] += raw
        for side in Side:
            due = self.conversation.unforwarded[side]
            if self.told[side] + due != len(self.arrived[side]):
                raise TalkFailed(f"bytes of the {side.name.lower()} are not accounted for")

    def quiet(self, when: str) -> None:
        """Nothing has left that no line has named."""
        for verb, side in LEAVES.items():
            if self.sent[side]:
                raise TalkFailed(f"{when} this left too: {verb} {self.next(side)}")
        if self.blamed is not None and when == "before it":
            raise TalkFailed(f"the protocol was broken before: {self.blamed}")

    def next(self, side: Side) -> str:
        """The first frame that left for ``side``, in words."""
        words, size = self.codec.describe(side, bytes(self.sent[side]))
        del self.sent[side][:size]
        return str(words)

    def leaves(self, side: Side, rest: str) -> None:
        if not self.sent[side]:
            raise TalkFailed(f"nothing has left; open questions: {self.open}")
        found, wanted = self.next(side), tokens.normal(rest)
        if found != wanted:
            raise TalkFailed(f"what left is: {found}")

    # -- questions --------------------------------------------------------

    def take(self, asked: list[Question]) -> None:
        self.open += [question for question in asked if not isinstance(question, Remark)]
        self.asked += asked

    def oldest(self) -> Question:
        if not self.open:
            raise TalkFailed("no question is open")
        return self.open[0]

    def ask(self, rest: str) -> None:
        if not self.asked:
            raise TalkFailed("nothing was asked")
        found, wanted = questions.describe(self.asked.pop(0)), tokens.normal(rest)
        if found != wanted:
            raise TalkFailed(f"what was asked is: {found}")

    def answer(self, rest: str, after: list[Line]) -> None:
        question = self.oldest()
        if self.way.late and isinstance(question, Command):
            self.look_ahead(after)
        self.open.pop(0)
        answer = questions.answer(tokens.split(rest), question, self.codec)
        try:
            self.take(self.conversation.answer(question.number, answer))
        except WireError as error:
            self.blamed = error
        self.drain()

    def look_ahead(self, after: list[Line]) -> None:
        """All that the client says before anybody else does comes now."""
        for line in after:
            if line.verb == "client":
                if (line.path, line.number) not in self.fed:
                    self.fed.add((line.path, line.number))
                    self.feed(Side.CLIENT, self.codec.encode(Side.CLIENT, tokens.split(line.rest)))
            elif line.verb not in ("ask", "answer", "upstream", "client<"):
                break
        self.quiet("while the answer was late")
