"""What a recorded PostgreSQL session does on one leg, step by step, after its login."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from protocols.errors import WireError
from protocols.postgres.messages import parse_startup
from protocols.wire import Mark, Side
from recorder.originals import Opener
from recorder.reader import Recording
from recorder.records import Event
from recorder.replay.messages import REQUESTS, Framer, Message, UnreadableError
from recorder.streams import Hop, Piece, Streams


class Out(NamedTuple):
    """The client's side said this, ``at`` nanoseconds after the session's start."""

    at: int
    message: Message


class In(NamedTuple):
    """The server's side said this."""

    at: int
    message: Message


class Stop(NamedTuple):
    """Somebody cancelled what was running."""

    at: int


Step = Out | In | Stop


@dataclass(slots=True)
class Greeting:
    """What the recorded login said, in the clear."""

    startup: dict[str, str] = field(default_factory=dict)
    """The startup packet's parameters."""
    parameters: dict[str, str] = field(default_factory=dict)
    """ParameterStatus, up to the first ReadyForQuery."""


class Script:
    """The steps of ``recording`` on ``leg``: seen by the upstream (what the gateway sent
    it, refusals and all), or by the client."""

    def __init__(self, recording: Recording, leg: Side, opener: Opener | None = None) -> None:
        self._leg = leg
        self._streams = Streams(recording, opener)
        self.greeting = Greeting()
        self.gaps = 0
        """Places where records are missing."""
        self._cancels = self._ready = False
        self._steps = self._read()
        self._first: list[Step] = []

    def greet(self) -> Greeting:
        """Read to the end of the recorded login. Raises UnreadableError when there is
        none on record, FormatError where the recording breaks."""
        for step in self._steps:
            self._first.append(step)
            break
        if self.greeting.startup and not self._ready:
            raise UnreadableError("the recorded login did not succeed: nothing was asked")
        if not self.greeting.startup:
            raise UnreadableError(
                "this session only asked to cancel something of another one"
                if self._cancels else "there is no login on record on this leg"
            )  # fmt: skip
        return self.greeting

    def steps(self) -> Iterator[Step]:
        """Everything after it, once."""
        yield from self._first
        self._first = []
        yield from self._steps

    def _read(self) -> Iterator[Step]:
        leg = self._leg
        # Of the upstream's leg the gateway is the client; of the client's, the server.
        asks, answers = Hop(leg, leg is Side.CLIENT), Hop(leg, leg is Side.UPSTREAM)
        out, into = Framer(packets=True), Framer()
        ready = False
        early: list[Step] = []
        for item in self._streams.story(asks, answers):
            if not isinstance(item, Piece):
                if isinstance(item.entry, Event) and item.entry.kind == "cancel":
                    if ready:
                        yield Stop(item.at)
                    self._cancels = True
                continue
            if item.offset < 0:
                self.gaps += 1
                if self.gaps == 1:
                    raise UnreadableError("records are missing here")
                continue
            if item.hop == asks:
                if item.mark is Mark.SECRET and not ready:
                    continue  # the login's: performed anew
                for message in out.feed(item.raw, item.length):
                    if message.kind == -1:
                        into.answers += self._packet(message)
                    elif ready:
                        yield Out(item.at, message)
                    elif message.kind != 0x70:
                        early.append(Out(item.at, message))
                continue
            if item.mark is Mark.SECRET and not ready:
                continue
            edited = item.mark is Mark.EDITED and leg is Side.CLIENT
            for message in into.feed(item.raw, item.length, edited):
                if ready:
                    yield In(item.at, message)
                elif message.kind == 0x5A:
                    ready = self._ready = True
                    yield from early
                elif message.kind == 0x53 and message.known:
                    name, _, value = message.body[:-1].partition(b"\0")
                    self.greeting.parameters[_text(name)] = _text(value)

    def _packet(self, message: Message) -> int:
        """Note a packet without a kind; 1 when it asks for encryption."""
        code = int.from_bytes(message.raw[4:8], "big")
        what = REQUESTS.get(code)
        if what == "cancel":
            raise UnreadableError("this connection only asked to cancel something of another one")
        if what is not None:
            return 1
        try:
            self.greeting.startup = dict(parse_startup(message.raw[8:]))
        except WireError as error:
            raise UnreadableError(str(error)) from error
        return 0


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
