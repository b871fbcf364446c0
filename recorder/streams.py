"""Puts the bytes of a recording together again, exactly, one hop at a time."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from protocols.wire import Mark, Move, Side
from recorder.errors import MissingKeyError
from recorder.originals import Opener
from recorder.reader import Record, Recording, decoded
from recorder.records import CommandEntry, Event, StoredSpan


class Hop(NamedTuple):
    """One direction of one leg. ``arrives``: bytes that came from ``side``;
    else bytes that went to it."""

    side: Side
    arrives: bool


class Piece(NamedTuple):
    """Consecutive bytes of a hop. ``raw`` is None where they are not to be
    had, ``why`` says why."""

    at: int
    offset: int
    length: int
    raw: bytes | None
    why: str = ""
    mark: Mark = Mark.PLAIN


class Told(NamedTuple):
    """A command or an event, and when."""

    at: int
    entry: CommandEntry | Event


class _Parked:
    """Arrivals of one side that later FORWARDs refer to. ``wanted`` are the
    ranges of all of them; arrivals are let go once no later one is before
    their end."""

    def __init__(self, wanted: list[tuple[int, int]]) -> None:
        self._wanted = sorted(wanted)
        self._next = 0
        self._done: set[int] = set()
        self._kept: deque[tuple[int, StoredSpan, bytes | None, str]] = deque()

    def keep(self, span: StoredSpan, raw: bytes | None, why: str) -> None:
        """An arrival; forgotten at once if nothing refers to it."""
        end = span.arrival + span.length
        after = bisect_left(self._wanted, (end, 0))
        if after > 0 and self._wanted[after - 1][1] > span.arrival:
            self._kept.append((end, span, raw, why))

    def take(self, at: int, span: StoredSpan) -> Iterator[Piece]:
        """The bytes that the FORWARD ``span`` refers to."""
        start, stop, out = span.arrival, span.arrival + span.length, span.departure
        for end, kept, raw, why in self._kept:
            if end <= start:
                continue
            if kept.arrival >= stop or start >= stop:
                break
            if kept.arrival > start:
                length = kept.arrival - start
                yield Piece(at, out, length, None, "missing")
                start, out = kept.arrival, out + length
            length = min(end, stop) - start
            skip = start - kept.arrival
            part = None if raw is None else raw[skip : skip + length]
            yield Piece(at, out, length, part, why, kept.mark)
            start, out = start + length, out + length
        if start < stop:
            yield Piece(at, out, stop - start, None, "missing")
        self._release(span.arrival)

    def _release(self, start: int) -> None:
        self._done.add(start)
        while self._next < len(self._wanted) and self._wanted[self._next][0] in self._done:
            self._done.discard(self._wanted[self._next][0])
            self._next += 1
        more = self._next < len(self._wanted)
        while self._kept and (not more or self._kept[0][0] <= self._wanted[self._next][0]):
            self._kept.popleft()


class Streams:
    """The hops of ``recording``. ``opener`` opens sealed originals."""

    def __init__(self, recording: Recording, opener: Opener | None = None) -> None:
        self._recording = recording
        self._opener = opener

    def pieces(self, hop: Hop) -> Iterator[Piece]:
        """The bytes of ``hop`` in order, with the time of each piece.
        Raises ``FormatError`` where the recording breaks."""
        for item in self.story(hop):
            if isinstance(item, Piece):
                yield item

    def story(self, hop: Hop) -> Iterator[Piece | Told]:
        """The bytes of ``hop``, and among them, in order, what happened."""
        for record in decoded(self._recording):
            if record.gap:
                yield Piece(record.at, -1, 0, None, "records are missing here")
            for entry in record.entries:
                if not isinstance(entry, StoredSpan):
                    yield Told(record.at, entry)
                    continue
                if entry.move is Move.FORWARD and not hop.arrives:
                    # Rare (only held commands): look again, for what it refers to.
                    yield from self._with_parked(hop, record)
                    return
                if _on(entry, hop):
                    yield self._piece(record.at, entry, hop)

    def _with_parked(self, hop: Hop, since: Record) -> Iterator[Piece | Told]:
        source = hop.side.other
        wanted: list[tuple[int, int]] = []
        for record in decoded(self._recording):
            for entry in record.entries:
                if (
                    isinstance(entry, StoredSpan)
                    and entry.move is Move.FORWARD
                    and entry.side is source
                ):
                    wanted.append((entry.arrival, entry.arrival + entry.length))
        parked = _Parked(wanted)
        told = False
        for record in decoded(self._recording):
            told = told or record.seq == since.seq
            if record.gap and told:
                yield Piece(record.at, -1, 0, None, "records are missing here")
            seen_forward = record.seq != since.seq
            for entry in record.entries:
                if not isinstance(entry, StoredSpan):
                    if told and seen_forward:
                        yield Told(record.at, entry)
                    continue
                seen_forward = seen_forward or entry.move is Move.FORWARD
                if entry.move is Move.TAKE and entry.side is source:
                    piece = self._piece(record.at, entry, Hop(source, True))
                    parked.keep(entry, piece.raw, piece.why)
                if not (told and seen_forward and _on(entry, hop)):
                    continue
                if entry.move is Move.FORWARD:
                    yield from parked.take(record.at, entry)
                else:
                    yield self._piece(record.at, entry, hop)

    def _piece(self, at: int, span: StoredSpan, hop: Hop) -> Piece:
        offset = span.arrival if hop.arrives else span.departure
        raw, why = span.raw, ""
        if raw is None:
            if span.mark is Mark.SECRET:
                why = "a credential, never stored"
            elif self._opener is None:
                why = "an original behind a mask: give the auditor's key"
            else:
                try:
                    raw = self._opener.open(span)
                except MissingKeyError as error:
                    why = str(error)
        return Piece(at, offset, span.length, raw, why, span.mark)


def _on(span: StoredSpan, hop: Hop) -> bool:
    if hop.arrives:
        return span.side is hop.side and span.move in (Move.PASS, Move.TAKE)
    if span.move is Move.TAKE:
        return False
    return (span.side if span.move is Move.SEND else span.side.other) is hop.side
