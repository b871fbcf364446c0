"""One session's end of the journal: what the relay writes to.

Calls only collect; the journal packs what one tick collected into one record
when it is flushed. Nothing here waits or touches a file.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from protocols.wire import Mark, Move, Span
from recorder import framing, records
from recorder.errors import RecorderError
from recorder.fields import plain_value, rendered, shortened, weight, writable
from recorder.originals import Keeper
from recorder.tally import SUMMARY_FIELDS

if TYPE_CHECKING:
    from recorder.journal import Journal

Status = Literal["closed", "terminated"]

_PASS = Move.PASS
_PLAIN = Mark.PLAIN
_SPAN_MAX = records.SPAN_MAX
_RECORD_FULL = records.RECORD_FULL
_CLOCK_EVERY = 60_000_000_000
_SHAPES_MAX = 256
"""Of a client that says something else each time, none comes again: each takes 350 bytes."""
_SHAPE_TEXT_MAX = 1 << 20
PLACES_MAX = 1 << 20
"""Remembered places of records of a part; beyond it the sealer scans."""


class Portion(NamedTuple):
    """A part of a session whose records are all on record: what the sealer needs to cut
    it. ``first`` is its HEADER's sequence number; ``places`` are those of its records, None
    where they have to be looked for in ``segments``. ``end`` is the END to give it, None for
    the last part, which has its own among its records."""

    number: int
    session: str
    part: int
    first: int
    segments: list[int]
    places: array[int] | None
    end: list[Any] | None


class Lent(NamedTuple):
    """Where a log stands while somebody else writes its records (``SessionLog.lend``).
    ``until`` is the time of the journal's clock, ``room`` the bytes of records, from which
    on it has to do so itself; ``segment`` is the last that has a record of it."""

    start: int
    seq: int
    arrived: tuple[int, int]
    left: tuple[int, int]
    until: int
    room: int
    segment: int


class SessionLog:
    """The log of one session while it is written. Made by ``Journal.open``."""

    __slots__ = (
        "_arrived",
        "_journal",
        "_keeper",
        "_left",
        "_next_clock",
        "_next_shape",
        "_part_at",
        "_part_seq",
        "_part_until",
        "_refused",
        "_said",
        "_said_of",
        "_seq",
        "_shape_text",
        "_shapes",
        "_start",
        "_verdicts",
        "ended",
        "entries",
        "era",
        "flags",
        "header",
        "lent",
        "number",
        "part",
        "places",
        "room",
        "segments",
        "size",
        "summary",
    )

    def __init__(
        self, journal: Journal, number: int, header: dict[str, Any], keeper: Keeper, start: int
    ) -> None:
        self._journal = journal
        self._keeper = keeper
        self._start = start
        self._seq = 1
        self.entries: list[Any] | None = None
        self.size = 0
        self.flags = 0
        self._arrived = [0, 0]
        self._left = [0, 0]
        self._shapes: dict[tuple[object, ...], int] = {}
        self._part_seq = 0
        self._part_at = 0
        self._part_until = journal.part_time
        self._next_clock = min(_CLOCK_EVERY, self._part_until)
        self._next_shape = 0
        self._shape_text = 0
        self._verdicts = [0, 0, 0, 0]
        self._refused = False
        self._said: list[Any] = []
        self._said_of: tuple[object, ...] = ()
        self.lent = False
        self.number = number
        self.header = header
        self.summary: dict[str, Any] = {}
        self.ended = False
        self.part = 0
        """The number of its present part (FORMAT.md, section 6.1)."""
        self.era = 0
        """Another whenever shapes were forgotten, and have new ids."""
        self.room: int = journal.part_size
        """Bytes of records that still go into that part."""
        self.segments: list[int] = []
        """Numbers of the segments that hold records of that part."""
        self.places: array[int] | None = array("Q")

    @property
    def session(self) -> str:
        """The session's id."""
        return str(self.header["session"])

    # ---- what the relay calls -------------------------------------------

    def spans(self, spans: Sequence[Span]) -> None:
        """Write down what became of bytes: the list that ``moves()`` gave."""
        left = self._left
        arrived = self._arrived
        for span in spans:
            entries = self.entries or self._begin()
            move, side, mark, raw, offset = span
            length = len(raw)
            if move is _PASS and mark is _PLAIN and length <= _SPAN_MAX:
                if side:
                    out = left[0]
                    left[0] = out + length
                    arrived[1] = offset + length
                    entries.append((4, offset, out, raw))
                else:
                    out = left[1]
                    left[1] = out + length
                    arrived[0] = offset + length
                    entries.append((0, offset, out, raw))
                self.size += length
                if self.size >= _RECORD_FULL:
                    self._close_record()
            else:
                self._span(span)

    def event(self, kind: str, fields: Mapping[str, object]) -> None:
        """Write down something that happened (``identity``, ``approval``...).

        ``fields`` holds msgpack's types under string keys; what takes more
        than 256 KiB is cut, and a field ``cut`` says so. Those of
        ``identity`` and ``destination`` also go into the session's summary.
        """
        plain = {writable(str(key)): plain_value(value) for key, value in fields.items()}
        kept = SUMMARY_FIELDS.get(kind)
        if kept is not None:
            self.summary.update({key: plain[key] for key in kept if key in plain})
        size = weight(plain)
        if size > records.EVENT_MAX:
            plain, size = shortened(plain, size)
        entries = self.entries or self._begin()
        self.flags |= 1
        entries.append((records.EVENT, writable(kind), plain))
        self._grow(size)

    def command(  # noqa: PLR0917
        self,
        number: int,
        phase: str,
        text: str,
        verdict: int,
        rules: tuple[str, ...] = (),
        reason: str = "",
        policy: str = "",
        digest: str | None = None,
        parameters: Sequence[str | None] | None = None,
        masks: tuple[str, ...] = (),
        shadow: tuple[str, ...] = (),
    ) -> None:
        """Write down a command and its verdict, before its bytes move.

        ``verdict`` is a ``Verdict``. ``parameters`` are as rendered for
        people, already masked where they must be. All but number, digest and
        parameters is stored once per session and then referred to.
        """
        # A plain int and str: hashing an Enum member runs Python code.
        plain = verdict + 0
        phase = phase[:]
        key = (text, phase, plain, rules, reason, policy, masks, shadow)
        entries = self.entries or self._begin()
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._shape(key, entries)
        self._verdicts[plain] += 1
        if parameters:
            shown, size = rendered(parameters)
            entries.append((records.COMMAND, number, shape, digest, shown))
            self.size += 96 + size
        else:
            entries.append((records.COMMAND, number, shape, digest, None))
            self.size += 96
        if self.size >= _RECORD_FULL:
            self._close_record()

    def end(self, status: Status, reason: str) -> None:
        """The session is over; ``reason`` is never empty. Idempotent."""
        if not reason:
            raise ValueError("a session's end has a reason")
        if self.ended or self._refused:
            return
        if self.lent:
            raise RuntimeError("somebody else writes this log")
        self._close_record()
        self.ended = True
        self._shapes = {}
        self._journal.ended(self, status, reason)

    # ---- what the straight gear calls -----------------------------------

    def shape_of(self, *key: object) -> int:
        """The id of the shape on record of commands with that text, phase, verdict, rules,
        reason, policy, masks and shadow; -1 where there is none."""
        text, phase, verdict, *rest = key
        assert isinstance(verdict, int)
        return self._shapes.get((text, phase, verdict + 0, *rest), -1)

    def lend(self, *arrived: int) -> Lent | None:
        """Let somebody else write records until ``take_back``: DATA records of one
        command and one plain PASS. None where something is to be written first, or when not all
        that has ``arrived`` is on record."""
        if self.entries is not None or self.ended or self._refused or not self.segments:
            return None
        if self.places is None or list(arrived) != self._arrived:
            return None
        self.lent = True
        return Lent(
            self._start,
            self._seq,
            (self._arrived[0], self._arrived[1]),
            (self._left[0], self._left[1]),
            self._start + self._next_clock,
            self.room,
            self.segments[-1],
        )

    def take_back(  # noqa: PLR0917
        self,
        seq: int,
        arrived: tuple[int, int],
        left: tuple[int, int],
        verdicts: tuple[int, int],
        room: int,
        places: bytes,
    ) -> None:
        """What others wrote: where the log stands now, how many commands were allowed and
        masked, and at which ``places`` (u64, in this machine's order) the records are."""
        self.lent = False
        self._seq = seq
        self._arrived = list(arrived)
        self._left = list(left)
        self._verdicts[0] += verdicts[0]
        self._verdicts[1] += verdicts[1]
        self.room = room
        if self.places is not None:
            self.places.frombytes(places)

    # ---- what the journal calls -----------------------------------------

    def end_body(self, status: str, reason: str) -> list[Any]:
        """The body of the END record."""
        seq = self._seq
        self._seq = seq + 1
        self.summary["verdicts"] = list(self._verdicts)
        now = self._journal.clock() - self._start
        counts = [*self._arrived, *self._left]
        return [self.number, seq, now, status, reason, counts, self.summary]

    def portion(self, end: list[Any] | None = None) -> Portion:
        """The present part, which takes nothing more."""
        return Portion(
            self.number, self.session, self.part, self._part_seq, self.segments, self.places, end
        )

    def header_body(self) -> list[Any]:
        """The body of the HEADER that the present part begins with."""
        header = self.header
        if self.part:
            counts = [*self._arrived, *self._left]
            header = {**header, "part": self.part, "counts": counts, "summary": self.summary}
        return [self.number, self._part_seq, self._part_at, framing.VERSION, header]

    def idle(self, segment: int) -> None:
        """Told now and then: begin a new part if its time is over, or if it holds segments
        before the one of that number; where the part is empty, say its HEADER again."""
        if self.entries is not None or self.ended or self._refused or not self.segments:
            return
        now = self._journal.clock() - self._start
        old = self.segments[0] < segment
        empty = self._seq == self._part_seq + 1
        if empty and self.part:
            if old:
                self._journal.say_again(self)
        elif old or (now >= self._part_until and not empty):
            self._next_part(now)

    def roll_back(self, bodies: Sequence[bytes]) -> bool:
        """Forget records that did not get written; False if the session's
        header is among them, so that nothing of it is on record."""
        unpacked = [] if self.entries is None else [self.entries]
        for items in [*unpacked, *map(records.unpack, reversed(bodies))]:
            self._seq = items[1]
            if self._seq == 0:
                return False
            if type(items[3]) is int:
                continue  # the HEADER of a part
            for item in items[:2:-1]:
                if item[0] == records.COMMAND:
                    self._uncount(item[2])
                elif item[0] < records.EVENT:
                    span = records.read_span(list(item), 0)
                    if span.move in (Move.PASS, Move.TAKE):
                        self._arrived[span.side] = span.arrival
                    if span.move is not Move.TAKE:
                        out = span.side if span.move is Move.SEND else span.side.other
                        self._left[out] = span.departure
        return True

    def _uncount(self, shape: int) -> None:
        """A command of that shape did not get written."""
        for key, number in self._shapes.items():
            if number == shape:
                verdict = key[2]
                assert isinstance(verdict, int)
                self._verdicts[verdict] -= 1

    def refuse(self) -> None:
        """Take nothing more: the journal can't write."""
        self._refused = True
        self.entries = None

    # ---- within ----------------------------------------------------------

    def _begin(self) -> list[Any]:
        if self._refused or self.ended:
            raise RecorderError("this session's log takes nothing more")
        if self.lent:
            raise RuntimeError("somebody else writes this log")
        journal = self._journal
        now = journal.clock() - self._start
        ticked = now >= self._next_clock
        if self.room < 0 or (ticked and now >= self._part_until):
            self._next_part(now)
        seq = self._seq
        self._seq = seq + 1
        entries: list[Any] = [self.number, seq, now]
        if ticked:
            self._next_clock = min(now + _CLOCK_EVERY, self._part_until)
            entries.append((records.EVENT, "clock", {"wall": journal.wall(), "at": now}))
        self.entries = entries
        journal.dirty.append(self)
        return entries

    def _next_part(self, now: int) -> None:
        """The boundary takes a sequence number of its own: END of one, HEADER of the next."""
        journal = self._journal
        seq = self._seq
        self._seq = seq + 1
        summary = {**self.summary, "verdicts": list(self._verdicts)}
        counts = [*self._arrived, *self._left]
        end = [self.number, seq, now, "continued", records.CONTINUED, counts, summary]
        self.summary = dict(summary)  # what the sealer got must not change
        done = self.portion(end)
        self.part += 1
        self._part_seq = seq
        self._part_at = now
        self._part_until = now + journal.part_time
        self._next_clock = min(self._next_clock, self._part_until)
        self._shapes = {}
        self._shape_text = 0
        self.era += 1
        self.room = journal.part_size
        journal.parted(self, done)

    def _grow(self, size: int) -> None:
        self.size += size
        if self.size >= _RECORD_FULL:
            self._close_record()

    def _close_record(self) -> None:
        if self.entries is not None:
            self._journal.pack(self)

    def _span(self, span: Span) -> None:
        """Every span but a small plain PASS."""
        move, side, mark, raw, offset = span
        length = len(raw)
        tag = move | side << 2 | mark << 3
        out_side = side if move is Move.SEND else 1 - side
        departure = 0
        if move is not Move.TAKE:
            departure = self._left[out_side]
            self._left[out_side] = departure + length
        if move in (Move.PASS, Move.TAKE):
            self._arrived[side] = offset + length
        if move is Move.FORWARD:
            self._add((tag, offset, departure, length), 24)
            return
        if mark is Mark.SECRET:
            ends = {Move.PASS: (offset, departure), Move.TAKE: (offset,), Move.SEND: (departure,)}
            kept = self._keeper.keep_credential(move, side, ends[move][0], raw)
            self._add((tag, *ends[move], length, *kept), 24 + length)
            return
        for at in range(0, length, _SPAN_MAX):
            piece = raw
            if length > _SPAN_MAX:
                # Each closes its record, and a part may begin with the next one.
                piece = raw[at : at + _SPAN_MAX]
                self._count(move, side, offset + at, departure + at)
                if self.entries is None:
                    self._begin()
                self._count(move, side, offset + at + len(piece), departure + at + len(piece))
            if move is Move.PASS:
                item: tuple[Any, ...] = (tag, offset + at, departure + at, piece)
            elif move is Move.SEND:
                item = (tag, departure + at, piece)
            elif mark is Mark.EDITED:
                sealed = self._keeper.keep(side, offset + at, piece)
                item = (tag, offset + at, len(piece), *sealed)
            else:
                item = (tag, offset + at, piece)
            self._add(item, len(piece))

    def _count(self, move: Move, side: int, arrived: int, left: int) -> None:
        if move is not Move.TAKE:
            self._left[side if move is Move.SEND else 1 - side] = left
        if move is not Move.SEND:
            self._arrived[side] = arrived

    def _add(self, item: tuple[Any, ...], size: int) -> None:
        entries = self.entries or self._begin()
        entries.append(item)
        self._grow(size)

    def _shape(self, key: tuple[object, ...], entries: list[Any]) -> int:
        text = key[0]
        assert isinstance(text, str)
        cut = 0
        if len(text) > records.TEXT_MAX:
            cut = len(text)
            text = text[: records.TEXT_MAX]
        self._shape_text += len(text)
        if len(self._shapes) >= _SHAPES_MAX or self._shape_text > _SHAPE_TEXT_MAX:
            self._shapes.clear()
            self._shape_text = len(text)
            self.era += 1
        shape = self._next_shape
        self._next_shape = shape + 1
        if not cut:
            self._shapes[key] = shape
        self.flags |= 1
        of = key[1:]
        if of != self._said_of:
            # The words of a verdict come again with each text that it is given for.
            self._said_of = of
            self._said = [plain_value(value) for value in of]
        first, *rest = self._said
        entries.append((records.SHAPE, shape, first, writable(text), *rest, cut))
        self.size += 4 * len(text) + 256
        return shape
