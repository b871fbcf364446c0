"""Finds the bytes that a FORWARD refers to: arrivals that a TAKE put on record earlier.

A pack may lie hundreds of megabytes before the FORWARDs that release it. So
nothing is kept in memory for them: a second reader follows some way behind.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import NamedTuple

from protocols.wire import Mark, Move, Side
from recorder.reader import Record, Recording, decoded
from recorder.records import StoredSpan

WINDOW = 4 << 20
"""Bytes kept of what was read last, for FORWARDs that are not in order."""
EACH = 256
"""Bytes that an arrival takes beside its own: a peer may send single ones."""
BACK_MAX = 64
"""How often the second reader starts anew. Gateways forward a side's bytes nearly in
order; a file made to go to and fro costs no more than this many readings."""


class Arrival(NamedTuple):
    """Bytes of a TAKE: ``raw`` is None where they are not to be had, ``why`` says why."""

    start: int
    stop: int
    raw: bytes | None
    why: str
    mark: Mark


class Arrivals:
    """What arrived on ``side`` of ``recording`` and stayed. ``look`` gives the bytes
    of a span, and why not where it has none. Close it after use."""

    def __init__(
        self,
        recording: Recording,
        side: Side,
        look: Callable[[StoredSpan], tuple[bytes | None, str]],
    ) -> None:
        self._recording = recording
        self._side = side
        self._look = look
        self._again: Recording | None = None
        self._records: Iterator[Record] = iter(())
        self._kept: deque[Arrival] = deque()
        self._kept_bytes = 0
        self._dropped = 0
        """Arrivals before this offset are in ``_kept`` no more."""
        self._ahead: Record | None = None
        self._backs = -1
        self._back()

    def close(self) -> None:
        """Close the second reader. Idempotent."""
        if self._again is not None:
            self._again.close()
            self._again = None

    def take(self, span: StoredSpan, seq: int) -> Iterator[Arrival]:
        """The arrivals in the range of the FORWARD ``span`` of record ``seq``, in
        order, without a break; ``raw`` is None for what no TAKE told of.
        ``FormatError`` where the recording breaks."""
        at, stop = span.arrival, span.arrival + span.length
        if at < self._dropped:
            if self._backs >= BACK_MAX:
                yield Arrival(at, stop, None, "forwarded too far out of order", Mark.PLAIN)
                return
            self._back()
        for found in self._from(at, stop, seq):
            if found.start > at:
                yield Arrival(at, found.start, None, "missing", Mark.PLAIN)
                at = found.start
            end = min(found.stop, stop)
            raw = found.raw
            if raw is not None and (found.start != at or found.stop != end):
                raw = raw[at - found.start : end - found.start]
            yield Arrival(at, end, raw, found.why, found.mark)
            at = end
        if at < stop:
            yield Arrival(at, stop, None, "missing", Mark.PLAIN)

    def _from(self, at: int, stop: int, seq: int) -> Iterator[Arrival]:
        """Arrivals that overlap ``at`` to ``stop``, of records up to ``seq``."""
        kept = self._kept
        index = bisect_right(kept, at, key=attrgetter("stop"))
        while index < len(kept) and kept[index].start < stop:
            yield kept[index]
            index += 1
        while not (self._kept and self._kept[-1].stop >= stop):
            record = self._ahead or next(self._records, None)
            self._ahead = None
            if record is None:
                return
            if record.seq > seq:
                self._ahead = record  # what is forwarded has arrived before
                return
            for found in self._of(record):
                self._kept.append(found)
                self._kept_bytes += found.stop - found.start + EACH
                if found.stop > at and found.start < stop:
                    yield found
            while self._kept_bytes > WINDOW and len(self._kept) > 1:
                old = self._kept.popleft()
                self._kept_bytes -= old.stop - old.start + EACH
                self._dropped = old.stop

    def _of(self, record: Record) -> Iterator[Arrival]:
        for entry in record.entries:
            if (
                isinstance(entry, StoredSpan)
                and entry.move is Move.TAKE
                and entry.side is self._side
                and entry.length
            ):
                raw, why = self._look(entry)
                end = entry.arrival + entry.length
                yield Arrival(entry.arrival, end, raw, why, entry.mark)

    def _back(self) -> None:
        self.close()
        self._again = self._recording.again()
        self._records = decoded(self._again)
        self._kept.clear()
        self._kept_bytes = self._dropped = 0
        self._ahead = None
        self._backs += 1
