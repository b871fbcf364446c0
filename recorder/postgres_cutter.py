"""Cuts what one side of a PostgreSQL connection said into messages, for showing it.

Never raises on any bytes, and holds one message of at most 1 MiB: of a longer one only
the beginning is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

LONGEST: Final = 1 << 20
"""Bytes of a message that is given whole."""
_ANSWERS: Final = b"SNG"
"""One byte each: what a server says to a request for encryption."""
_ENCRYPTION: Final = (80877103, 80877104)


class Said(NamedTuple):
    """A message: its kind, its body, and the body's length, which is more than there is of
    the body when the message is long. The kind of a startup packet is ""."""

    kind: str
    body: bytes
    length: int


class Cutter:
    """``client``: what the client says, which begins with a packet that has no kind."""

    def __init__(self, client: bool) -> None:
        self._client = client
        self._buffer = bytearray()
        self._skip = 0
        self._greeted = False
        self.lost = False
        """What came is no PostgreSQL: no more will be given."""

    @property
    def within(self) -> bool:
        """What comes next is the rest of a message."""
        return bool(self._skip or self._buffer)

    def feed(self, raw: bytes) -> Iterator[Said]:
        """More bytes."""
        if self.lost:
            return
        if self._skip:
            gone = min(self._skip, len(raw))
            self._skip -= gone
            raw = raw[gone:]
        buffer, at = self._buffer, 0
        buffer += raw
        while True:
            bare = self._client and not self._greeted
            if not self._client and not self._greeted and at < len(buffer):
                if buffer[at] in _ANSWERS:
                    at += 1
                    continue
                self._greeted = True
            head = 4 if bare else 5
            if len(buffer) - at < head:
                break
            length = int.from_bytes(buffer[at + head - 4 : at + head], "big") - 4
            kind = "" if bare else chr(buffer[at])
            if length < 0 or (kind and not (kind.isascii() and kind.isalnum())):
                self.lost = True
                buffer.clear()
                return
            have = len(buffer) - at - head
            if have < min(length, LONGEST):
                break
            if bare:
                code = int.from_bytes(buffer[at + 4 : at + 8], "big")
                self._greeted = code not in _ENCRYPTION
            taken = min(have, length)
            yield Said(kind, bytes(buffer[at + head : at + head + min(taken, LONGEST)]), length)
            self._skip = length - taken
            at += head + taken
        del buffer[:at]

    def hidden(self, length: int) -> Iterator[Said]:
        """Bytes that are not on record: the rest of a message that has begun, or whole ones,
        which are passed over."""
        if self.within:
            for start in range(0, length, LONGEST):
                yield from self.feed(b"?" * min(LONGEST, length - start))
        elif self._client:
            self._greeted = True
