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
from dataclasses import dataclass
from typing import NamedTuple

from protocols.postgres.frames import frame
from recorder.replay.align import READY, aligned, place, taken
from recorder.replay.compare import MASKS, Comparer, Difference, name_of
from recorder.replay.messages import WITHHELD, Framer, Message, UnreadableError
from recorder.replay.objects import LargeObjects
from recorder.replay.report import Item, Status, Tally
from recorder.replay.rows import RowShapes
from recorder.replay.script import In, Out, Step, Stop
from recorder.replay.wording import described, summary

_ANY_TIME = frozenset(b"NSA")
_ASKS = frozenset(b"QSF")
"""What a ReadyForQuery answers."""
_MANY = frozenset(b"DdNEAV")
"""What may come several times in a row: where a run that is not on record ends before one of
these, its length tells."""
_ROWS = frozenset(b"Dd")
_HELD = 1 << 26
"""Bytes of one answer that are held for an alignment."""
_AHEAD = 10_000
"""Answers that may be outstanding before no more is sent."""


Place = tuple[int, int, str]
"""A field of an answer: number of the request, of the message, and the field's name."""


class Send(NamedTuple):
    """Something to do: ``raw`` to send (b"": cancel what runs), not before ``due``, in
    nanoseconds of the recorded session."""

    due: int
    raw: bytes


@dataclass(slots=True)
class _Hidden:
    """A run that is not on record, as far as it was followed: ``spans`` recorded pieces of
    ``expected`` bytes; ``count`` messages, ``came`` bytes now, all ``rows`` so far."""

    spans: int = 0
    expected: int = 0
    count: int = 0
    came: int = 0
    rows: bool = True


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
        self._hidden = _Hidden()
        self._unsaid: dict[int, bool] = {}
        """Requests (by number, from 0) that were not sent; True: not even what ends them."""
        self._place = 0
        """Messages of this answer that were paired."""
        self.got: dict[Place, bytes | None] = {}
        """Of each field that differs: what came now."""
        self.learned: dict[Place, bytes | None] | None = None
        """What ``got`` was in another replay: a field that differs from that, too, changes by
        its nature (the normaliser ``learned``)."""
        self.waits = False
        """The answer parted from the recorded one, and its end is not there yet."""
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
        if self._left_out(message):
            self._out.popleft()
            self.tally.not_sent += 1
            return self.next_out()
        return Send(asked.step.at, self._objects.outgoing(message) if self._remap else message.raw)

    def _left_out(self, message: Message) -> bool:
        """It can't be sent: not all of it is on record, or of what came before it up to the
        last Sync. What was answered then is not expected now."""
        if message.known and (message.kind == 0x53 or self._asked not in self._unsaid):
            return False
        if self._asked not in self._unsaid:
            self._unsaid[self._asked] = False
            self._note(Status.UNKNOWN, "request", note=f"{message.length} bytes of a request are "
                       "not on record: it is not sent")  # fmt: skip
        if message.kind in b"QF":
            self._unsaid[self._asked] = True
            self._asked += 1
            self._match()
        return True

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
        broken = ""
        try:
            for message in self._live.feed(data, len(data)):
                self._now.append(message)
                if message.kind in b"GW":
                    self._copying = True
                elif message.kind in b"CEZ":
                    self._copying = False
        except UnreadableError as error:
            broken = str(error)
        self._match()
        if broken:
            self._note(Status.DIFFERS, "(no message)", note=f"what the server says is no "
                       f"PostgreSQL: {broken}")  # fmt: skip
            self.closed()
            return b""
        if self.waits and sum(message.length for message in self._now) > _HELD:
            self._note(Status.EXTRA, "(endless)", note="an answer without an end")
            self._now.clear()
            self.timeout()
            return b""
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
        self.waits = False
        while self._unsaid.get(self._ready):
            if not self._skip_answer():
                return
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
                self.waits = True
                return

    def _skip_answer(self) -> bool:
        """Pass over the recorded answer to what was not sent. False when the recording ends."""
        while self._then or not self._ended:
            if not self._then:
                self._pull()
                continue
            message = self._take_then()
            self._shapes.answered(message)
            if message.kind == READY:
                self._end_exchange()
                return True
        return False

    def _take_then(self) -> Message:
        self._done += 1
        return self._then.popleft()

    def _run(self, then: Message) -> bool:
        """Messages that are not on record, as a run of so many bytes; runs that follow one
        another are one. False when more must arrive first."""
        hidden = self._hidden
        if not hidden.spans:
            hidden.spans, hidden.expected = 1, then.length
        while True:
            asked = len(self._out)
            while len(self._then) <= hidden.spans and not self._ended:
                self._pull()
            last = self._then[hidden.spans] if len(self._then) > hidden.spans else None
            if last is None or last.kind != WITHHELD or len(self._out) > asked:
                break
            hidden.spans += 1
            hidden.expected += last.length
        after = READY if last is None else last.kind
        while self._now:
            message = self._now[0]
            if message.kind == READY or (
                hidden.came >= hidden.expected if after in _MANY else message.kind == after
            ):
                break
            hidden.came += message.length
            hidden.count += 1
            hidden.rows &= message.kind in _ROWS
            self._now.popleft()
        else:
            return False
        self._end_run()
        return True

    def _end_run(self) -> None:
        """The messages that are not on record have all come, or won't."""
        hidden, self._hidden = self._hidden, _Hidden()
        for _ in range(hidden.spans):
            self._shapes.answered(self._take_then())
        self._number += 1
        told = "message" if hidden.count == 1 else "messages"
        item = Item(Status.UNKNOWN, self._exchange, self._number, f"{hidden.count} {told}",
                    self._request(), note=f"{hidden.expected} bytes are not on record (originals "
                    f"behind masks); {hidden.came} bytes came now")  # fmt: skip
        if not hidden.count:
            item.status = Status.MISSING
        elif hidden.rows and hidden.came != hidden.expected:
            # Whatever they said: rows of another length are other rows.
            item.status = Status.DIFFERS
            lengths = str(hidden.expected).encode(), str(hidden.came).encode()
            item.differences.append(Difference("length", *lengths))
        self._keep(item)

    def _pair(self, then: Message, now: Message) -> None:
        if self._remap:
            self._objects.learn(then, now)
        self._shapes.answered(then)
        if not then.known and then.kind in _ROWS and then.length != now.length:
            self._number += 1
            lengths = str(then.length).encode(), str(now.length).encode()
            self._keep(Item(Status.DIFFERS, self._exchange, self._number, name_of(then.kind),
                            self._request(), [Difference("length", *lengths)]))  # fmt: skip
        elif not then.known:
            hidden = sum(b - a for a, b in then.holes)
            note = f"{hidden} bytes of it are not on record"
            self._note(Status.UNKNOWN, name_of(then.kind), note=note)
        else:
            row = self._shapes.columns if then.kind == 0x44 else None
            found = self._comparer.compare(then, now, row)
            if found.differences and then.edited and MASKS in self._comparer.on:
                found.differences.clear()
                found.normalised.add(MASKS)
            if found.differences and self._changes(found.differences):
                found.differences.clear()
                found.normalised.add("learned")
            if found.differences:
                status = Status.DIFFERS
            else:
                status = Status.NORMALISED if found.normalised else Status.EQUAL
            self._number += 1
            item = Item(status, self._exchange, self._number, name_of(then.kind), self._request(),
                        found.differences, tuple(sorted(found.normalised)))  # fmt: skip
            self._keep(item)
        self._place += 1
        if now.kind == READY:
            self._end_exchange()

    def _changes(self, found: list[Difference]) -> bool:
        """All of these came as something else in the replay before."""
        told = {(self._exchange, self._place, d.field): d.got for d in found}
        self.got |= told
        before = self.learned
        return before is not None and all(p in before and before[p] != told[p] for p in told)

    def _realign(self) -> bool:
        """The kinds part: align the rest of this request. False when more must arrive."""
        stop_now = place(self._now)
        if stop_now < 0 and not self._gone:
            return False
        while place(self._then) < 0 and not self._ended:
            self._pull()
        stop_then = place(self._then)
        now = taken(self._now, stop_now)
        then = taken(self._then, stop_then)
        self._done += len(then)
        for op, a, b, c, d in aligned(then, now):
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
        self._place = 0
        for message in self._aside:
            self._missing(message, Status.MISSING)
        self._aside.clear()
        self._requests.pop(self._exchange, None)
        self._exchange += 1
        self.tally.exchanges += 1

    def _extra(self, message: Message) -> None:
        self._note(Status.EXTRA, name_of(message.kind), note=summary(message))
        if message.kind == READY:
            self._end_exchange()

    def _missing(self, message: Message, status: Status) -> None:
        self._note(status, name_of(message.kind), note=summary(message))

    def _finish(self, status: Status) -> None:
        if self._hidden.count:
            self._end_run()
        self._hidden = _Hidden()
        while self._then or not self._ended:
            if not self._then:
                self._pull()
                continue
            if self._now and self._then[0].kind == self._now[0].kind:
                self._pair(self._take_then(), self._now.popleft())
                continue
            message = self._take_then()
            if message.kind == READY:
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
        if self._ready in self._unsaid and status in (Status.MISSING, Status.EXTRA):
            status = Status.UNKNOWN  # no wonder
        self._number += 1
        self._keep(Item(status, self._exchange, self._number, message, self._request(), note=note))

    def _keep(self, item: Item) -> None:
        self.tally.add(item)
        self._items.append(item)

    def _request(self) -> str:
        return self._requests.get(self._exchange, "")
