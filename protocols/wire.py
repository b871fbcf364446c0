"""The words of the byte stream: sides, marks, moves and spans.

A conversation takes in bytes from two sides and tells, in one ordered list of
spans, what became of every one of them.  The same list drives the recorder
(what to write down) and the relay (what to send), so the two cannot disagree.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Side(IntEnum):
    """One end of a session."""

    CLIENT = 0
    UPSTREAM = 1

    @property
    def other(self) -> Side:
        return Side.UPSTREAM if self is Side.CLIENT else Side.CLIENT


class Mark(IntEnum):
    """What may be done with the bytes of a span on record."""

    PLAIN = 0
    """Bytes as a peer sent them; stored as they are."""
    EDITED = 1
    """Bytes that differ between the legs (a mask). On arrival: the original,
    which only an auditor's key opens; on leaving: what the receiver saw."""
    OURS = 2
    """Bytes that the gateway made up (a refusal, a notice, a greeting)."""
    SECRET = 3
    """Bytes that carry a credential. Never stored, only their length is."""


class Move(IntEnum):
    """What became of a span of bytes."""

    PASS = 0
    """Arrived on ``side`` and leaves on the other side now, untouched."""
    TAKE = 1
    """Arrived on ``side`` and stays here: consumed, parked or replaced."""
    SEND = 2
    """Leaves on ``side``; not the bytes that arrived (EDITED, OURS, SECRET)."""
    FORWARD = 3
    """Arrived earlier on ``side`` (a TAKE told of it), leaves on the other
    side now, untouched; ``offset`` says which bytes of the arrivals."""


class Span(NamedTuple):
    """A run of consecutive bytes with one fate.

    ``offset`` counts bytes from the start of the arrivals of ``side``; it is
    -1 for SEND, whose bytes never arrived.
    """

    move: Move
    side: Side
    mark: Mark
    raw: bytes
    offset: int
