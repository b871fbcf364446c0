"""Puts the bytes of a recording together again, exactly, one hop at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from protocols.wire import Mark, Move, Side
from recorder.arrivals import Arrivals
from recorder.errors import MissingKeyError
from recorder.originals import Opener
from recorder.reader import Recording, decoded
from recorder.records import SEALED, CommandEntry, Event, StoredSpan


class Hop(NamedTuple):
    """One direction of one leg. ``arrives``: bytes that came from ``side``;
    else bytes that went to it."""

    side: Side
    arrives: bool


class Piece(NamedTuple):
    """Consecutive bytes of a hop. ``raw`` is None where they are not to be
    had, ``why`` says why. ``offset`` -1: records are missing here."""

    at: int
    offset: int
    length: int
    raw: bytes | None
    why: str = ""
    mark: Mark = Mark.PLAIN
    hop: Hop | None = None


class Told(NamedTuple):
    """A command or an event, and when."""

    at: int
    entry: CommandEntry | Event


class Streams:
    """The hops of ``recording``. ``opener`` opens sealed originals, and with
    ``credentials`` sealed credentials too: nothing but exact bytes needs them."""

    def __init__(
        self, recording: Recording, opener: Opener | None = None, credentials: bool = False
    ) -> None:
        self._recording = recording
        self._opener = opener
        self._credentials = credentials

    def pieces(self, hop: Hop) -> Iterator[Piece]:
        """The bytes of ``hop`` in order, with the time of each piece.
        Raises ``FormatError`` where the recording breaks."""
        for item in self.story(hop):
            if isinstance(item, Piece):
                yield item

    def story(self, *hops: Hop) -> Iterator[Piece | Told]:
        """The bytes of ``hops``, and among them, in order, what happened."""
        behind: dict[Side, Arrivals] = {}
        try:
            for record in decoded(self._recording):
                if record.gap:
                    for hop in hops:
                        yield Piece(record.at, -1, 0, None, "records are missing here", hop=hop)
                for entry in record.entries:
                    if not isinstance(entry, StoredSpan):
                        yield Told(record.at, entry)
                        continue
                    for hop in hops:
                        if not _on(entry, hop):
                            continue
                        if entry.move is not Move.FORWARD:
                            yield self._piece(record.at, entry, hop)
                            continue
                        if entry.side not in behind:
                            behind[entry.side] = Arrivals(self._recording, entry.side, self._look)
                        out = entry.departure - entry.arrival
                        for found in behind[entry.side].take(entry, record.seq):
                            start, stop, raw, why, mark = found
                            length = stop - start
                            yield Piece(record.at, start + out, length, raw, why, mark, hop)
        finally:
            for each in behind.values():
                each.close()

    def _piece(self, at: int, span: StoredSpan, hop: Hop) -> Piece:
        offset = span.arrival if hop.arrives else span.departure
        raw, why = self._look(span)
        return Piece(at, offset, span.length, raw, why, span.mark, hop)

    def _look(self, span: StoredSpan) -> tuple[bytes | None, str]:
        """The bytes of a span, or why there are none."""
        if span.raw is not None:
            return span.raw, ""
        if span.mark is Mark.SECRET and span.kept != SEALED:
            return None, "a credential, never stored"
        if self._opener is None or (span.mark is Mark.SECRET and not self._credentials):
            what = "a credential" if span.mark is Mark.SECRET else "an original behind a mask"
            return None, f"{what}: give the auditor's key"
        try:
            return self._opener.open(span), ""
        except MissingKeyError as error:
            return None, str(error)


def _on(span: StoredSpan, hop: Hop) -> bool:
    if hop.arrives:
        return span.side is hop.side and span.move in (Move.PASS, Move.TAKE)
    if span.move is Move.TAKE:
        return False
    return (span.side if span.move is Move.SEND else span.side.other) is hop.side
