"""What is kept of a session apart from what everybody may see: originals behind masks,
and credentials."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from protocols.wire import Mark, Move, Side
from recorder.errors import MissingKeyError
from recorder.originals import Opener
from recorder.reader import Recording, decoded
from recorder.records import SEALED, StoredSpan


class Kept(NamedTuple):
    """``at`` in nanoseconds since the session's start. ``offset`` counts from the start of
    the hop ``leg``, ``way`` ("in": it came from there). ``raw`` is None where it does not
    open, ``why`` says why."""

    at: int
    leg: str
    way: str
    offset: int
    length: int
    what: str
    kept: str
    raw: bytes | None
    why: str
    span: StoredSpan


def kept_of(recording: Recording, opener: Opener | None) -> Iterator[Kept]:
    """All of it, in order. Raises ``FormatError`` where the recording breaks."""
    for record in decoded(recording):
        for span in record.entries:
            if not isinstance(span, StoredSpan) or span.kept < 0:
                continue
            sent = span.move is Move.SEND
            raw, why = None, "give the auditor's key"
            if opener is not None:
                try:
                    raw, why = opener.open(span), ""
                except MissingKeyError as error:
                    why = str(error)
            yield Kept(
                record.at,
                "upstream" if span.side is Side.UPSTREAM else "client",
                "out" if sent else "in",
                span.departure if sent else span.arrival,
                span.length,
                "credential" if span.mark is Mark.SECRET else "original",
                "sealed" if span.kept == SEALED else "withheld",
                raw,
                why,
                span,
            )


def matches(opener: Opener, kept: Kept, candidate: bytes) -> bool | None:
    """Whether ``candidate`` is what ``kept`` is a commitment to, or has it in its place: then
    it is the bytes of the whole hop. None where it is too short to say."""
    if len(candidate) == kept.length:
        return opener.matches(kept.span, candidate)
    piece = candidate[kept.offset : kept.offset + kept.length]
    return opener.matches(kept.span, piece) if len(piece) == kept.length else None
