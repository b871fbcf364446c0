"""Drives the recorded client's side against a server and compares what it says.

Sans-IO: the caller asks what to send (``next_out``), tells what arrived (``receive``,
``closed``) and when nothing did (``quiet``), and takes the findings (``items``).

Answers are matched request by request: what ends in one ReadyForQuery then, with what
ends in one now. Within, messages are paired in order; where the kinds part, the rest of
the request is aligned by kind, and what has no partner is missing or extra. Messages that
a server may send at any time (notices, parameters, notifications) are paired among
themselves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import NamedTuple

from protocols.postgres.frames import frame
from recorder.render import one_line
from recorder.replay.compare import Comparer, cells, name_of
from recorder.replay.messages import WITHHELD, Framer, Message
from recorder.replay.objects import LargeObjects
from recorder.replay.report import Item, Status, Tally
from recorder.replay.rows import RowShapes
from recorder.replay.script import In, Out, Step, Stop

_ANY_TIME = frozenset(b"NSA")
_READY = 0x5A
_ASKS = frozenset(b"QSF")
"""What a ReadyForQuery answers."""
_IN_RUN = frozenset(b"DdNE")
"""What a run that is not on record may have been."""
_AHEAD = 10_000
"""Answers that may be outstanding before no more is sent."""
_ALIGNED = 3_000
"""Messages of one request that are aligned by kind; beyond, in pairs."""


class Send(NamedTuple):
    """Something to do: ``raw`` to send (b"": cancel what runs), not before ``due``, in
    nanoseconds of the recorded session."""

    due: int
    raw: bytes


class _Asked(NamedTuple):
    after: int
    step: Out | Stop


class Replay:
    """One replay of ``steps``. ``causal``: nothing is sent before what the server had
    said before it then was said now (or is sure not to come)."""

    def __init__(
        self, steps: Iterator[Step], comparer: Comparer, *, causal: bool = True, remap: bool = True
    ) -> None:
        self._steps = steps
        self._comparer = comparer
        self._causal = causal
        self._objects = LargeObjects()
        self._remap = remap
        if remap:
            comparer.oids = self._objects.oids
        self._shapes = RowShapes()
        self._live = Framer()
        self._then: deque[Message] = deque()
        self._now: deque[Message] = deque()
        self._aside: deque[Message] = deque()
        """Recorded notices and the like that were not seen yet."""
        self._out: deque[_Asked] = deque()
        self._read = 0
        self._done = 0
        """Recorded answers that were read, and that are accounted for."""
        self._ended = False
        self._gone = False
        self._released = 0
        self._items: list[Item] = []
        self._exchange = 1
        self._requests: dict[int, str] = {}
        self._asked = 0
        self._ready = 0
        self._number = 0
        self._copying = False
        self.tally = Tally()

    # -- what to send -----------------------------------------------------

    def next_out(self) -> Send | None:
        """What is to be sent next, None when nothing may be now. ``sent`` takes it."""
        while not self._out and not self._ended and len(self._then) < self._most():
            self._pull()
        if not self._out or self._gone:
            return None
        asked = self._out[0]
        gate = self._causal or isinstance(asked.step, Stop)
        if gate and asked.after > self._done and not self._released:
            return None
        if isinstance(asked.step, Stop):
            return Send(asked.step.at, b"")
        message = asked.step.message
        if not message.known:
            self._out.popleft()
            self.tally.not_sent += 1
            self._note(Status.UNKNOWN, "request", note=f"{message.length} bytes of the request "
                       "are not on record: not sent")  # fmt: skip
            return self.next_out()
        return Send(asked.step.at, self._objects.outgoing(message) if self._remap else message.raw)

    def sent(self) -> None:
        """What ``next_out`` said is done."""
        asked = self._out.popleft()
        self._released = max(0, self._released - 1)
        if isinstance(asked.step, Stop):
            return
        message = asked.step.message
        self.tally.sent += 1
        self._shapes.asked(message)
        about = described(message)
        if about and self._asked + 1 not in self._requests:
            self._requests[self._asked + 1] = about
        if message.kind in _ASKS:
            self._asked += 1

    def _most(self) -> int:
        return 1 if self._causal else _AHEAD

    def _pull(self) -> None:
        step = next(self._steps, None)
        if step is None:
            self._ended = True
        elif isinstance(step, In):
            self._then.append(step.message)
            self._read += 1
        else:
            self._out.append(_Asked(self._read, step))

    # -- what arrives -----------------------------------------------------

    def receive(self, data: bytes) -> bytes:
        """Bytes of the server; returns what must be answered at once."""
        reply = b""
        for message in self._live.feed(data, len(data)):
            self._now.append(message)
            if message.kind in b"GW":
                self._copying = True
            elif message.kind in b"CEZ":
                self._copying = False
        self._match()
        if self._copying and self._stray_copy():
            # It waits for data that nobody has: then nobody would say anything any more.
            self._copying = False
            reply = frame(0x66, b"the recording has no data for this COPY\0")
        return reply

    def _stray_copy(self) -> bool:
        return any(message.kind in b"GW" for message in self._now)

    def closed(self) -> None:
        """The server hung up."""
        if not self._gone:
            self._gone = True
            self._finish(Status.CLOSED)

    def quiet(self) -> bool:
        """Nothing came for a moment: let the next request go if the server may be
        waiting for it. True when that changes something."""
        if self._out and self._ready >= self._asked and not self._released:
            self._released = 1
            return True
        return False

    def timeout(self) -> None:
        """Nothing came for so long that it is given up."""
        self._finish(Status.TIMEOUT)
        self._gone = True

    @property
    def over(self) -> bool:
        """All was sent and all was answered, or the server is gone."""
        if self._gone:
            return True
        self.next_out()
        return self._ended and not self._out and not self._then and not self._now

    @property
    def waiting(self) -> bool:
        """Answers are outstanding."""
        return bool(self._then) or self._ready < self._asked

    def finish(self) -> None:
        """Nothing more is to come: what is left is missing or extra."""
        if not self._gone:
            self._finish(Status.MISSING)
            self._gone = True

    def items(self) -> list[Item]:
        """The findings since the last call."""
        found, self._items = self._items, []
        return found

    # -- matching ---------------------------------------------------------

    def _match(self) -> None:
        while self._now:
            while not self._then and not self._ended and len(self._out) < _AHEAD:
                self._pull()
            now = self._now[0]
            if not self._then:
                if not self._ended:
                    return
                self._extra(self._now.popleft())
                continue
            then = self._then[0]
            if then.kind == WITHHELD:
                if not self._run(then):
                    return
            elif then.kind == now.kind:
                self._pair(self._take_then(), self._now.popleft())
            elif now.kind in _ANY_TIME:
                self._now.popleft()
                known = next((m for m in self._aside if m.kind == now.kind), None)
                if known is None:
                    known = next((m for m in self._then if m.kind == now.kind), None)
                    if known is None:
                        self._extra(now)
                        continue
                    self._then.remove(known)
                    self._done += 1
                else:
                    self._aside.remove(known)
                self._pair(known, now)
            elif then.kind in _ANY_TIME:
                self._aside.append(self._take_then())
            elif not self._realign():
                return

    def _take_then(self) -> Message:
        self._done += 1
        return self._then.popleft()

    def _run(self, then: Message) -> bool:
        """Messages that are not on record, as a run of ``then.length`` bytes. False when
        more must arrive first."""
        while len(self._then) < 2 and not self._ended:
            self._pull()
        after = next((m.kind for m in list(self._then)[1:2]), 0)
        total = count = 0
        for message in self._now:
            if message.kind not in _IN_RUN or (after in _IN_RUN and total >= then.length):
                break
            total += message.length
            count += 1
        else:
            return False
        for _ in range(count):
            self._now.popleft()
        self._shapes.answered(then)
        self._take_then()
        self._note(
            Status.UNKNOWN, f"{count} messages",
            note=f"{then.length} bytes are not on record (originals behind masks); "
            f"{total} bytes came now",
        )  # fmt: skip
        return True

    def _pair(self, then: Message, now: Message) -> None:
        if self._remap:
            self._objects.learn(then, now)
        self._shapes.answered(then)
        if not then.known:
            hidden = sum(b - a for a, b in then.holes)
            note = f"{hidden} bytes of it are not on record"
            self._note(Status.UNKNOWN, name_of(then.kind), note=note)
        else:
            row = self._shapes.columns if then.kind == 0x44 else None
            found = self._comparer.compare(then, now, row)
            if found.differences:
                status = Status.DIFFERS
            else:
                status = Status.NORMALISED if found.normalised else Status.EQUAL
            self._number += 1
            item = Item(status, self._exchange, self._number, name_of(then.kind), self._request(),
                        found.differences, tuple(sorted(found.normalised)))  # fmt: skip
            self._keep(item)
        if now.kind == _READY:
            self._end_exchange()

    def _realign(self) -> bool:
        """The kinds part: align the rest of this request. False when more must arrive."""
        stop_now = _place(self._now)
        if stop_now < 0 and not self._gone:
            return False
        while _place(self._then) < 0 and not self._ended:
            self._pull()
        stop_then = _place(self._then)
        now = _cut(self._now, stop_now)
        then = _cut(self._then, stop_then)
        self._done += len(then)
        for op, a, b, c, d in _align(then, now):
            if op == "equal":
                for old, new in zip(then[a:b], now[c:d], strict=True):
                    self._pair(old, new)
                continue
            for old in then[a:b]:
                self._shapes.answered(old)
                self._missing(old, Status.MISSING)
            for new in now[c:d]:
                self._extra(new)
        return True

    def _end_exchange(self) -> None:
        self._ready += 1
        for message in self._aside:
            self._missing(message, Status.MISSING)
        self._aside.clear()
        self._requests.pop(self._exchange, None)
        self._exchange += 1
        self.tally.exchanges += 1

    def _extra(self, message: Message) -> None:
        self._note(Status.EXTRA, name_of(message.kind), note=summary(message))
        if message.kind == _READY:
            self._end_exchange()

    def _missing(self, message: Message, status: Status) -> None:
        self._note(status, name_of(message.kind), note=summary(message))

    def _finish(self, status: Status) -> None:
        while self._then or not self._ended:
            if not self._then:
                self._pull()
                continue
            if self._now and self._then[0].kind == self._now[0].kind:
                self._pair(self._take_then(), self._now.popleft())
                continue
            message = self._take_then()
            if message.kind == _READY:
                self.tally.exchanges += 1
            self._missing(message, status)
            if status is not Status.MISSING:
                status = Status.MISSING if status is Status.TIMEOUT else status
        for message in self._now:
            self._extra(message)
        for message in self._aside:
            self._missing(message, status)
        self._now.clear()
        self._aside.clear()
        self.tally.not_sent += sum(isinstance(asked.step, Out) and chr(asked.step.message.kind)
                                   != "X" for asked in self._out)  # fmt: skip
        self._out.clear()

    def _note(self, status: Status, message: str, note: str = "") -> None:
        self._number += 1
        self._keep(Item(status, self._exchange, self._number, message, self._request(), note=note))

    def _keep(self, item: Item) -> None:
        self.tally.add(item)
        self._items.append(item)

    def _request(self) -> str:
        return self._requests.get(self._exchange, "")


def _place(messages: deque[Message]) -> int:
    for index, message in enumerate(messages):
        if message.kind == _READY:
            return index
    return -1


def _cut(messages: deque[Message], last: int) -> list[Message]:
    count = last + 1 if last >= 0 else len(messages)
    return [messages.popleft() for _ in range(count)]


def _align(then: list[Message], now: list[Message]) -> list[tuple[str, int, int, int, int]]:
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


def described(message: Message) -> str:
    """A request in a line; "" for messages that ask nothing by themselves."""
    kind, body = chr(message.kind), message.body
    if kind == "Q":
        return one_line(body.rstrip(b"\0").decode("utf-8", "surrogateescape"), 200)
    if kind == "P":
        text = body.partition(b"\0")[2].partition(b"\0")[0]
        return one_line(text.decode("utf-8", "surrogateescape"), 200)
    if kind == "B":
        name = body.partition(b"\0")[2].partition(b"\0")[0]
        return one_line(f"(prepared {name.decode('utf-8', 'surrogateescape') or 'unnamed'})", 200)
    if kind == "F":
        return f"(function {int.from_bytes(body[:4], 'big')})"
    return ""


def summary(message: Message) -> str:
    """A server's message in a few words."""
    if message.kind == WITHHELD:
        return f"{message.length} bytes that are not on record"
    kind, body = chr(message.kind), message.body
    if kind in "EN":
        parts = {
            chr(p[0]): p[1:].decode("utf-8", "surrogateescape") for p in body.split(b"\0") if p
        }
        return one_line(f"{parts.get('S', '')} {parts.get('C', '')}: {parts.get('M', '')}", 200)
    if kind == "C":
        return one_line(body.rstrip(b"\0").decode("utf-8", "surrogateescape"), 80)
    if kind == "D":
        return one_line(" | ".join(
            "NULL" if v is None else v[:40].decode("utf-8", "surrogateescape")
            for v in _values(body)
        ), 120)  # fmt: skip
    return f"{message.length} bytes"


def _values(body: bytes) -> list[bytes | None]:
    try:
        return list(cells(body))
    except ValueError:
        return [body]
