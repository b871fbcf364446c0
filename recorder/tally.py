"""What a session's records add up to: counted while reading them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from protocols.wire import Move
from recorder.records import CommandEntry, Entry, Event, StoredSpan

SUMMARY_FIELDS = {
    "identity": ("subject", "issuer", "kind", "groups", "run", "tags", "method"),
    "destination": ("target", "upstream", "user", "database"),
}
"""Fields of events that a session's END repeats, for listing."""


class Tally:
    """Bytes per hop, commands per verdict, and who and where.

    ``counts`` is where to start: not 0 in a part that continues another.
    ``fault`` is the first contradiction among offsets, "" while there is none.
    """

    def __init__(self, counts: Sequence[int] = (0, 0, 0, 0)) -> None:
        self.arrived = list(counts[:2])
        self.left = list(counts[2:4])
        self.verdicts = [0, 0, 0, 0]
        self.summary: dict[str, Any] = {}
        self.fault = ""

    def add(self, entries: Iterable[Entry]) -> None:
        """Count the entries of one data record."""
        for entry in entries:
            if isinstance(entry, StoredSpan):
                self._span(entry)
            elif isinstance(entry, CommandEntry):
                if 0 <= entry.verdict < len(self.verdicts):
                    self.verdicts[entry.verdict] += 1
            elif isinstance(entry, Event):
                kept = SUMMARY_FIELDS.get(entry.kind, ())
                self.summary.update({k: entry.fields[k] for k in kept if k in entry.fields})

    def counts(self) -> list[int]:
        """As an END record says them: arrived on and left to each side."""
        return [*self.arrived, *self.left]

    def resume(self) -> None:
        """After a gap: take the next offsets for granted."""
        self.arrived = [-1, -1]
        self.left = [-1, -1]

    def _span(self, span: StoredSpan) -> None:
        if span.move in (Move.PASS, Move.TAKE):
            expected = self.arrived[span.side]
            if expected >= 0 and span.arrival != expected:
                self._blame("arrivals", span.side.name, expected, span.arrival)
            self.arrived[span.side] = span.arrival + span.length
        elif span.move is Move.FORWARD:
            known = self.arrived[span.side]
            if 0 <= known < span.arrival + span.length:
                self._blame("forwarded arrivals", span.side.name, known, span.arrival)
        if span.move is not Move.TAKE:
            out = span.side if span.move is Move.SEND else span.side.other
            expected = self.left[out]
            if expected >= 0 and span.departure != expected:
                self._blame("departures", out.name, expected, span.departure)
            self.left[out] = span.departure + span.length

    def _blame(self, what: str, side: str, expected: int, found: int) -> None:
        if not self.fault:
            where = f"expected offset {expected}, found {found}"
            self.fault = f"{what} of the {side.lower()} leg do not join: {where}"
