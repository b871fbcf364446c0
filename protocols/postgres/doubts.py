"""Calls whose meaning is in doubt make a command incomplete (``shadows``)."""

from __future__ import annotations

from protocols.contract import Answer, Done, Errand, Part, Refuse
from protocols.postgres.flight import Flight
from protocols.postgres.intent import Intent
from protocols.postgres.portals import Runs, Statement
from protocols.postgres.shadows import KEY, TOKEN, UNKNOWN, Shadows, ShadowsErrand, known
from protocols.sql.adjust import doubt


class Doubts:
    """Those of one session; what it learns is all sessions' of its target.
    ``asking``: the errand is under way."""

    __slots__ = ("_flight", "_token", "asking")

    def __init__(self, flight: Flight) -> None:
        self._flight = flight
        self._token: object = None
        self.asking = False

    def shaded(
        self, intent: Intent, runs: Runs, parts: tuple[Part, ...]
    ) -> tuple[Part, ...] | None:
        """``parts`` of ``intent`` and what it runs by name, incomplete where a
        function may be another than it seems. None: ask first."""
        used = intent.unqualified
        for one in runs:
            if one is not None:
                used |= (one.intent if isinstance(one, Statement) else one).unqualified
        if not used or not any(part.complete for part in parts):
            # Nothing is left to doubt; this saves the errand too.
            return parts
        shadows = self._shadows(intent)
        if shadows is None:
            return None
        near = shadows.anywhere if self._flight.displaced else shadows.near
        taken = used if near is None else used & near
        if not taken:
            return parts
        if parts is not intent.parts:
            return doubt(parts, taken)
        # The same parts each time, so that decisions on them are found again.
        undone = intent.undone.get(taken)
        if undone is None:
            undone = intent.undone[taken] = doubt(parts, taken)
        return undone

    def _shadows(self, intent: Intent) -> Shadows | None:
        if self._flight.conjured or (intent.conjures and len(intent.statements) > 1):
            return UNKNOWN
        return known(self._flight.destined.memory)

    def errand(self, number: int) -> Errand:
        """The question to ask, numbered ``number``."""
        flight = self._flight
        self.asking = True
        self._token = flight.destined.memory.setdefault(TOKEN, object())
        return Errand(number, ShadowsErrand(flight.opening, flight.destined), "functions")

    def learn(self, answer: Answer) -> None:
        """What the errand brought home. Where it failed, or DDL has passed
        since, all names are in doubt until the memory is dropped."""
        if not isinstance(answer, Done | Refuse):
            raise TypeError(f"an Errand can't be answered with {type(answer).__name__}")
        self.asking = False
        memory = self._flight.destined.memory
        found = answer.result if isinstance(answer, Done) and not answer.error else None
        fresh = memory.get(TOKEN) is self._token
        memory[KEY] = found if fresh and isinstance(found, Shadows) else UNKNOWN
