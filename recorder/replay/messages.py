"""PostgreSQL messages of a recorded hop, also where bytes of them are not on record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

WITHHELD = 0
"""The kind of a run of bytes of which not even the kinds are on record."""
MESSAGE_MAX = 1 << 28
"""The longest message that is held for a comparison; PostgreSQL's own limit is 1 GiB."""
REQUESTS = {80877102: "cancel", 80877103: "tls", 80877104: "gss"}


class UnreadableError(Exception):
    """What was recorded (or arrived) is no PostgreSQL conversation; says why."""


class Message(NamedTuple):
    """One message with its header. ``kind`` is its first byte, or WITHHELD for ``length``
    bytes of one or more messages that are not on record. ``holes``: ranges of ``raw``
    that are not on record either (zeros stand there)."""

    kind: int
    raw: bytes
    length: int
    holes: tuple[tuple[int, int], ...] = ()
    edited: bool = False
    """Some of it the gateway put there in place of what came: a mask."""

    @property
    def body(self) -> bytes:
        return self.raw[5:]

    @property
    def known(self) -> bool:
        """All of its bytes are on record."""
        return self.kind != WITHHELD and not self.holes


class Framer:
    """Cuts bytes into messages. ``packets``: a message without a kind may come (the
    startup phase, in the client's direction); it gets the kind ``-1``."""

    def __init__(self, packets: bool = False) -> None:
        self._packets = packets
        self._buffer = bytearray()
        self._holes: list[tuple[int, int]] = []
        self._edits: list[tuple[int, int]] = []
        self.answers = 0
        """One-byte answers to requests for encryption that are due."""

    @property
    def partial(self) -> bool:
        """It holds the beginning of a message."""
        return bool(self._buffer)

    def feed(self, raw: bytes | None, length: int, edited: bool = False) -> Iterator[Message]:
        """``raw`` None: ``length`` bytes that are not on record. ``edited``: they are not what
        the other side said. Raises UnreadableError."""
        if edited:
            self._edits.append((len(self._buffer), len(self._buffer) + length))
        if raw is None:
            start = len(self._buffer)
            self._buffer += bytes(length)
            if self._holes and self._holes[-1][1] == start:
                start = self._holes.pop()[0]
            self._holes.append((start, len(self._buffer)))
        else:
            self._buffer += raw
        at = 0
        try:
            while at < len(self._buffer):
                found, at = self._one(at)
                if found is None:
                    break
                yield found
        finally:
            del self._buffer[:at]
            self._holes = [(max(0, a - at), b - at) for a, b in self._holes if b > at]
            self._edits = [(max(0, a - at), b - at) for a, b in self._edits if b > at]

    def _one(self, at: int) -> tuple[Message | None, int]:
        buffer = self._buffer
        hole = next(((a, b) for a, b in self._holes if b > at), None)
        if hole is not None and hole[0] < at + 5 and hole[0] <= at:
            # Not even the header is known: what is withheld is whole messages.
            return Message(WITHHELD, b"", hole[1] - at), hole[1]
        if self.answers and buffer[at] in b"SNG":
            self.answers -= 1
            return Message(-1, bytes(buffer[at : at + 1]), 1), at + 1
        bare = self._packets and buffer[at] == 0
        head = 4 if bare else 5
        if len(buffer) - at < head:
            return None, at
        if hole is not None and hole[0] < at + head:
            raise UnreadableError("the length of a message is not on record")
        size = int.from_bytes(buffer[at + head - 4 : at + head], "big") + head - 4
        if size < head or size > MESSAGE_MAX:
            raise UnreadableError(f"a message of {size} bytes")
        if len(buffer) - at < size:
            return None, at
        end = at + size
        holes = tuple(
            (max(a, at) - at, min(b, end) - at) for a, b in self._holes if a < end and b > at
        )
        if not bare and self._packets and buffer[at] not in b"BCDEFHPQSXcdfp":
            raise UnreadableError("a message of a kind that no client sends")
        edited = any(a < end and b > at for a, b in self._edits)
        return Message(-1 if bare else buffer[at], bytes(buffer[at:end]), size, holes, edited), end
