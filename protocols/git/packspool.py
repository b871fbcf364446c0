"""A pack on its way to disk, while its end is looked for and its digest is made."""

from __future__ import annotations

import hashlib

from protocols.contract import Spool
from protocols.git.packstream import PackStream


class PackSpool:
    """What is in ``spool`` is what arrived, byte for byte, and nothing behind the end.
    ``start`` is the place of its first byte in the client's arrivals."""

    __slots__ = ("_digest", "_sent", "_stream", "spool", "start")

    def __init__(self, spool: Spool, stream: PackStream, start: int) -> None:
        self.spool = spool
        self._stream = stream
        self._digest = hashlib.sha256()
        self._sent = 0
        self.start = start

    @property
    def done(self) -> bool:
        return self._stream.done

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._stream.size

    @property
    def count(self) -> int:
        """Objects that the pack declares."""
        return self._stream.count

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def take(self, data: bytes) -> int:
        """How many bytes of ``data`` are the pack's. Raises WireError, LimitError
        (no such pack) and SpoolFull (no room)."""
        used = self._stream.feed(data)
        kept = data if used == len(data) else data[:used]
        self.spool.write(kept)
        self._digest.update(kept)
        return used

    @property
    def left(self) -> int:
        """Bytes that were not given back yet."""
        return self._stream.size - self._sent

    def piece(self, most: int) -> tuple[int, bytes]:
        """The next bytes, in order, and their place in the client's arrivals."""
        at = self._sent
        raw = self.spool.read(at, min(most, self.left))
        if len(raw) != min(most, self.left):
            raise RuntimeError("a spool gave back less than it took")
        self._sent += len(raw)
        return self.start + at, raw
