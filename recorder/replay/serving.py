"""Plays the server of a recorded session for one client. Sans-IO.

Every login succeeds. What the client asks is looked up among the recorded exchanges, and
answered with the very bytes that were answered then. What is not on record is answered
with an error that names the closest recorded exchange and the difference.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import Literal

from protocols.errors import WireError
from protocols.postgres import messages
from recorder.replay.exchanges import ASKS, COPYING, Exchange, closest, same
from recorder.replay.messages import REQUESTS, Framer, Message, UnreadableError
from recorder.replay.script import Greeting

Mode = Literal["strict", "ordered", "pool"]
_FLUSH = 0x48
_HELD_MAX = 1 << 26
MISS = "0A000"


@dataclass(slots=True)
class Repertoire:
    """What can be answered; in ``pool`` mode shared by all connections."""

    exchanges: list[Exchange]
    greeting: Greeting
    mode: Mode = "strict"
    taken: set[int] = field(default_factory=set)
    misses: int = 0
    lock: Lock = field(default_factory=Lock)


class Player:
    """One connection. ``receive`` gives the bytes to send; ``over`` when to hang up."""

    def __init__(self, on: Repertoire, key: bytes) -> None:
        self._on = on
        self._key = key
        self._framer = Framer(packets=True)
        self._ready = False
        self._batch: list[Message] = []
        self._held = 0
        self._next = 0
        self._now: Exchange | None = None
        self._at = 0
        self._copied = bytearray()
        self._skipping = False
        self._status = b"I"
        self.over = False

    def receive(self, data: bytes) -> bytes:
        """Bytes of the client, and what to answer."""
        out = bytearray()
        try:
            for message in self._framer.feed(data, len(data)):
                out += self._packet(message) if message.kind == -1 else self._message(message)
                if self.over:
                    break
        except (UnreadableError, WireError) as error:
            self.over = True
            out += messages.fatal("08P01", str(error))
        return bytes(out)

    # -- login ------------------------------------------------------------

    def _packet(self, message: Message) -> bytes:
        what = REQUESTS.get(int.from_bytes(message.raw[4:8], "big"))
        if what == "cancel":
            self.over = True
            return b""
        if what is not None:
            return b"N"
        if self._ready:
            raise UnreadableError("a second startup packet")
        messages.parse_startup(message.raw[8:])
        self._ready = True
        out = bytearray(messages.authentication(messages.AUTH_OK))
        for name, value in self._on.greeting.parameters.items():
            words = (w.encode("utf-8", "surrogateescape") + b"\0" for w in (name, value))
            out += messages.frame(b"S", b"".join(words))
        out += messages.frame(b"K", self._key)
        return bytes(out + messages.frame(b"Z", b"I"))

    # -- requests ---------------------------------------------------------

    def _message(self, message: Message) -> bytes:
        if not self._ready:
            raise UnreadableError("a request before the login")
        if message.kind == 0x58:
            self.over = True
            return b""
        if self._skipping:
            if message.kind != 0x53:
                return b""
            self._skipping = False
            return messages.frame(b"Z", self._status)
        if self._now is not None and message.kind in COPYING:
            return self._copy(message)
        if message.kind in COPYING:
            return b""  # a server ignores these after a COPY that failed
        self._held += message.length
        if self._held > _HELD_MAX:
            raise UnreadableError("too much is asked at once")
        self._batch.append(message)
        if message.kind in ASKS or message.kind == _FLUSH:
            return self._answer()
        return b""

    def _answer(self) -> bytes:
        batch, self._batch, self._held = self._batch, [], 0
        if self._now is not None:  # it goes on after a Flush
            done = sum(ours and m.kind not in COPYING for ours, m in self._now.steps[: self._at])
            if self._fits(self._now.asked[done:], batch):
                return self._play(len(batch))
            return self._miss([*self._now.asked[:done], *batch], batch)
        found = self._find(batch)
        if found is None:
            return self._miss(batch, batch)
        self._now, self._at = found, 0
        return self._play(len(batch))

    def _find(self, batch: list[Message]) -> Exchange | None:
        on = self._on
        if on.mode != "pool":
            if self._next < len(on.exchanges) and self._fits(on.exchanges[self._next].asked, batch):
                return on.exchanges[self._next]
            return None
        with on.lock:
            for exchange in on.exchanges:
                if exchange.number not in on.taken and self._fits(exchange.asked, batch):
                    on.taken.add(exchange.number)
                    return exchange
        return None

    def _fits(self, then: list[Message], now: list[Message]) -> bool:
        loose = self._on.mode == "ordered"
        whole = len(then) == len(now) if now[-1].kind in ASKS else len(then) >= len(now)
        return whole and all(same(a, b, loose) for a, b in zip(then, now, strict=False))

    def _play(self, asked: int) -> bytes:
        """Go past ``asked`` messages of the client, and say what was said until the next."""
        assert self._now is not None
        out = bytearray()
        steps = self._now.steps
        while self._at < len(steps):
            ours, message = steps[self._at]
            if ours:
                if not asked:
                    return bytes(out)
                asked -= 1
            elif not message.known:
                return bytes(out) + self._error("This part of the answer is not on record.")
            else:
                out += message.raw
                if message.kind == 0x5A:
                    self._status = message.body
            self._at += 1
        self._now = None
        self._next += 1
        return bytes(out)

    def _copy(self, message: Message) -> bytes:
        if message.kind == 0x64:
            self._copied += message.body
            if len(self._copied) > _HELD_MAX:
                raise UnreadableError("more is copied than can be compared")
            return b""
        assert self._now is not None
        ahead = []
        for ours, step in self._now.steps[self._at :]:
            if not ours or step.kind not in COPYING:
                break
            ahead.append(step)
        data = b"".join(step.body for step in ahead if step.kind == 0x64)
        copied, self._copied = bytes(self._copied), bytearray()
        last = ahead[-1] if ahead else None
        if last is None or last.kind != message.kind or (
            self._on.mode != "ordered" and data != copied
        ):  # fmt: skip
            at = next((n for n, (a, b) in enumerate(zip(data, copied, strict=False)) if a != b),
                      min(len(data), len(copied)))  # fmt: skip
            return self._error(f"The data of this COPY parts from the recorded at byte {at}: "
                               f"{len(data)} bytes then, {len(copied)} now.")  # fmt: skip
        return self._play(len(ahead))

    # -- misses -----------------------------------------------------------

    def _miss(self, asked: list[Message], batch: list[Message]) -> bytes:
        on = self._on
        text = asked[0].body.rstrip(b"\0").strip(b" ;").upper()
        if self._status == b"E" and asked[0].kind == 0x51 and text in (b"ROLLBACK", b"ABORT"):
            self._status = b"I"
            return messages.frame(b"C", b"ROLLBACK\0") + messages.frame(b"Z", b"I")
        if on.mode == "pool":
            among = [e for e in on.exchanges if e.number not in on.taken] or on.exchanges
            why = closest(asked, among[:2000])
        else:
            why = closest(asked, on.exchanges[self._next : self._next + 1])
        return self._error(why, batch[-1].kind)

    def _error(self, why: str, last: int = 0x51) -> bytes:
        on = self._on
        with on.lock:
            on.misses += 1
            if self._now is not None:
                on.taken.discard(self._now.number)
        self._now = None
        if self._status == b"T":
            self._status = b"E"
        out = messages.report(
            b"E", "ERROR", MISS, "this was not recorded", detail=why,
            hint="recorder serve plays what is on record, and nothing else.",
        )  # fmt: skip
        if last in ASKS:
            return out + messages.frame(b"Z", self._status)
        self._skipping = True
        return out
