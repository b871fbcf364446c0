"""A lane's spans, told as spans of the frames that carry them.

A lane of git thinks in two plain byte streams; on the legs each piece of them
stands in a DATA frame.  A frame that a lane lets through whole passes as it is.
Anything else is taken, and what leaves does so in new frames, whose headers are
ours and whose bodies are the bytes that arrived, by their place on record.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import Final

from protocols.errors import LimitError
from protocols.outbox import Outbox
from protocols.ssh.frames import HEADER, LONGEST, Kind, frame
from protocols.wire import Mark, Move, Side, Span

_MOST_PLACES: Final = 1 << 20
"""Frames of one stream that were not passed on at once: 16 MB of places. A client
that cuts its stream finer than a real one does is refused."""


class Places:
    """Where the bytes of a lane's stream stand in the leg's stream."""

    __slots__ = ("_inner", "_outer", "_side")

    def __init__(self, side: Side) -> None:
        self._side = side
        self._inner = array("Q")
        self._outer = array("Q")

    def note(self, inner: int, outer: int) -> None:
        """From ``inner`` on the bytes stand at ``outer`` on, until the next note."""
        if len(self._inner) >= _MOST_PLACES:
            raise LimitError(self._side, "a stream cut into too many small pieces")
        self._inner.append(inner)
        self._outer.append(outer)

    def runs(self, inner: int, length: int) -> list[tuple[int, int]]:
        """``length`` bytes from ``inner``, as (outer place, length) in order."""
        out: list[tuple[int, int]] = []
        at = bisect_right(self._inner, inner) - 1
        while length:
            start = self._inner[at]
            stop = self._inner[at + 1] if at + 1 < len(self._inner) else inner + length
            count = min(length, stop - inner)
            out.append((self._outer[at] + inner - start, count))
            inner, length, at = inner + count, length - count, at + 1
        return out


class Channel:
    """Translates for one session. ``sent[side]`` is True once something was
    sent to that side that is not the end of it."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._places = (Places(Side.CLIENT), Places(Side.UPSTREAM))

    def passes(self, side: Side, body: bytes, spans: list[Span]) -> bool:
        """True when ``spans``, what a lane made of ``body``, let all of it through
        untouched and say nothing else: the frame may pass as it is."""
        length = 0
        for span in spans:
            if span.move is not Move.PASS or span.side is not side:
                return False
            length += len(span.raw)
        return length == len(body)

    def arrived(self, side: Side, raw: bytes, spans: list[Span]) -> None:
        """The frame ``raw`` arrived, and a lane made ``spans`` of its body; what they
        don't tell of (the lane met an error) is taken."""
        outbox = self._outbox
        told = 0
        for span in spans:
            if span.side is side and span.move in (Move.PASS, Move.TAKE):
                if not told:
                    outbox.take(side, raw[:HEADER])
                    told = HEADER
                told += len(span.raw)
                place = outbox.take(side, span.raw, span.mark)
                self._places[side].note(span.offset, place)
                if span.move is Move.PASS:
                    self._forward(span)
            else:
                self._leave(span)
        outbox.take(side, raw[told:])

    def left(self, spans: list[Span]) -> None:
        """Spans of a lane with which no frame arrived."""
        for span in spans:
            self._leave(span)

    def _leave(self, span: Span) -> None:
        if span.move is Move.FORWARD:
            self._forward(span)
        elif span.move is Move.SEND:
            for at in range(0, len(span.raw), LONGEST):
                piece = frame(Kind.DATA, span.raw[at : at + LONGEST])
                self._outbox.send(span.side, piece, span.mark)
        else:
            raise AssertionError("a lane tells of bytes that did not arrive now")

    def _forward(self, span: Span) -> None:
        """In a frame of its own: its header is ours, the body is what arrived."""
        outbox, side = self._outbox, span.side
        at, raw, room = 0, span.raw, 0
        for start, length in self._places[side].runs(span.offset, len(raw)):
            done = 0
            while done < length:
                if not room:
                    room = min(LONGEST, len(raw) - at)
                    header = b"%c%b" % (Kind.DATA, room.to_bytes(4, "big"))
                    outbox.send(side.other, header, Mark.OURS)
                piece = min(length - done, room)
                outbox.forward(side, raw[at : at + piece], start + done)
                at, done, room = at + piece, done + piece, room - piece
