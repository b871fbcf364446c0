"""What arrived on an SSH connection and was not taken yet.

Stands in for the ``bytes`` that the SSH library cuts its packets from.  That one is
copied whole at each packet and at each read, which costs a bulk transfer a part of its
speed, and lets a peer that sends single bytes cost quadratic time.
"""

from __future__ import annotations

from typing import Final

_MOST_SPENT: Final = 1 << 16


class Inbox:
    """Of a byte string just what is used: ``+=``, ``find``, ``len``, ``[a:b]`` (bytes),
    and ``[n:]``, which takes the first n away and is the inbox itself."""

    __slots__ = ("_at", "_bytes")

    def __init__(self) -> None:
        self._bytes: bytes | bytearray = b""
        self._at = 0

    def __len__(self) -> int:
        return len(self._bytes) - self._at

    def __iadd__(self, data: bytes) -> Inbox:
        if self._at == len(self._bytes):
            self._bytes, self._at = data, 0
            return self
        if isinstance(self._bytes, bytes):
            self._bytes, self._at = bytearray(memoryview(self._bytes)[self._at :]), 0
        elif self._at > _MOST_SPENT:
            del self._bytes[: self._at]
            self._at = 0
        self._bytes += data
        return self

    def find(self, what: bytes, start: int, stop: int) -> int:
        """As ``bytes.find``, over what was not taken yet."""
        found = self._bytes.find(what, self._at + start, self._at + stop)
        return found - self._at if found >= 0 else -1

    def __getitem__(self, key: slice) -> bytes | Inbox:
        """ValueError for places before the start: a packet that is shorter than its
        own header says so, and must not turn the inbox back."""
        start = key.start or 0
        if start < 0 or (key.stop is not None and key.stop < start):
            raise ValueError("a packet shorter than its header")
        if key.stop is None:
            self._at = min(self._at + start, len(self._bytes))
            return self
        return bytes(memoryview(self._bytes)[self._at + start : self._at + key.stop])
