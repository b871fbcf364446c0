"""Cuts git's streams into packets and text lines, tolerantly (gitprotocol-common(5)).

What a gateway lets through is parsed strictly elsewhere; here it is only shown.
So nothing raises: what is no packet ends the reading of that stream. At most one
packet (65,520 bytes) and the start of one text line are held.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Final, NamedTuple

from protocols.git.pktline import LONGEST
from protocols.wire import Mark

_LENGTH: Final = re.compile(rb"[0-9A-Fa-f]{4}")

_TEXT_MAX: Final = 1000


class Cut(Enum):
    """What was cut off."""

    LINE = "line"
    FLUSH = "flush"
    RULER = "ruler"
    """``0001`` (delimiter) or ``0002`` (end of response)."""
    PACK = "pack"
    """Bytes of a pack that stands without packets around it."""
    LOST = "lost"
    """No packet starts here. Last."""


class Packet(NamedTuple):
    """``raw`` is a LINE's payload, else b""; ``size`` counts its bytes. ``mark`` is
    that of the bytes with which it became whole."""

    cut: Cut
    raw: bytes
    size: int
    mark: Mark


class PacketReader:
    """Feed it a stream."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._plain = False
        self._over = False

    def feed(self, raw: bytes | None, length: int, mark: Mark) -> Iterator[Packet]:
        """The packets that are whole now. ``raw`` None: ``length`` bytes are not known."""
        if self._over:
            return
        if self._plain:
            yield Packet(Cut.PACK, b"", length, mark)
            return
        if raw is None:
            # Inside a packet only its bytes are unknown; elsewhere its length, too.
            need = self._need()
            if need is None or length > need - len(self._buffer):
                yield self._lost(mark)
                return
            raw = b"?" * length
        buffer = self._buffer
        buffer += raw
        at, size = 0, len(buffer)
        while size - at >= 4:
            head = bytes(buffer[at : at + 4])
            if head == b"PACK":
                self._plain = True
                yield Packet(Cut.PACK, b"", size - at, mark)
                at = size
                break
            if not _LENGTH.fullmatch(head):
                yield self._lost(mark)
                return
            number = int(head, 16)
            if number < 4:
                at += 4
                yield Packet(Cut.FLUSH if number == 0 else Cut.RULER, b"", 0, mark)
                continue
            if number > LONGEST:
                yield self._lost(mark)
                return
            if size - at < number:
                break
            yield Packet(Cut.LINE, bytes(buffer[at + 4 : at + number]), number - 4, mark)
            at += number
        del buffer[:at]

    def _need(self) -> int | None:
        head = bytes(self._buffer[:4])
        return int(head, 16) if _LENGTH.fullmatch(head) else None

    def _lost(self, mark: Mark) -> Packet:
        self._over = True
        self._buffer.clear()
        return Packet(Cut.LOST, b"", 0, mark)


class Said(NamedTuple):
    """A line of text. ``passing``: it ended in a carriage return, so that the next
    one was written over it. ``ours``: the gateway's own words."""

    text: str
    passing: bool
    ours: bool


class TextReader:
    """Cuts progress text and standard error into lines."""

    _ENDS: Final = re.compile(rb"[\r\n]")

    def __init__(self) -> None:
        self._rest = bytearray()
        self._ours = False

    def feed(self, raw: bytes, mark: Mark) -> Iterator[Said]:
        """The lines that are whole now."""
        ours = mark is Mark.OURS
        if ours is not self._ours:
            yield from self.finish()
            self._ours = ours
        at = 0
        for found in self._ENDS.finditer(raw):
            self._keep(raw[at : found.start()])
            at = found.end()
            passing = found[0] == b"\r" and raw[at : at + 1] != b"\n"
            yield from self._end(passing)
        self._keep(raw[at:])

    def finish(self) -> Iterator[Said]:
        """Nothing more comes."""
        yield from self._end(False)

    def _keep(self, raw: bytes) -> None:
        self._rest += raw[: max(0, _TEXT_MAX + 1 - len(self._rest))]

    def _end(self, passing: bool) -> Iterator[Said]:
        if self._rest:
            text = self._rest[:_TEXT_MAX].decode("utf-8", "surrogateescape")
            if len(self._rest) > _TEXT_MAX:
                text += "…"
            self._rest.clear()
            yield Said(text, passing, self._ours)
