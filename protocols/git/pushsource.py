"""The client's side of a push: its request in memory, its pack on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from protocols.contract import Spool
from protocols.errors import LimitError, WireError
from protocols.git.advertisement import Advertisement
from protocols.git.commands import PushRequest, RequestLines
from protocols.git.packspool import PackSpool
from protocols.git.packstream import PackLimits, PackStream
from protocols.git.pktline import Pkts
from protocols.wire import Side

DRAIN: Final = 64 << 20
"""Bytes that are read and dropped behind a refusal: git reads the report when its
pack is out, and a client that is cut off before may show a broken pipe instead."""


class NoPack(Exception):
    """What comes is no pack, or more of one than there may be. ``message`` is fit for
    the client, which is told in a report and not by the end of the session."""

    def __init__(self, error: WireError) -> None:
        super().__init__(error.message)
        self.message = error.message


class PushSource:
    """Takes the client's stream in order: ``read`` up to the end of the request, then
    ``spool`` up to the end of the pack; after a refusal ``drop``.

    ``raw`` is the request as it came, from the first byte of the stream on.  ``limit``
    bounds it; ``max_pack`` bounds the pack, both in bytes.
    """

    def __init__(self, limit: int, max_pack: int, options: tuple[str, ...]) -> None:
        self._limit = limit
        self._max_pack = max_pack
        self._options = options
        self._pkts = Pkts(Side.CLIENT)
        self._lines: RequestLines | None = None
        self._stream: PackStream | None = None
        self._dropped = 0
        self.raw = bytearray()
        self.pack: PackSpool | None = None

    @property
    def request(self) -> PushRequest:
        return self._lines.request if self._lines is not None else PushRequest()

    def read(self, data: bytes, greeting: Advertisement) -> bool:
        """True once the request is whole. Nothing is read before the greeting is: it
        says what may be said. Raises WireError and LimitError of the client."""
        self.raw += data
        if not greeting.done:
            if len(self.raw) > self._limit:
                raise LimitError(Side.CLIENT, "speaks at length before it was spoken to")
            return False
        if greeting.error:
            return False
        if self._lines is None:
            tips = greeting.tips if greeting.whole else None
            self._lines = RequestLines(greeting.offered, tips, self._options)
            data = bytes(self.raw)
        self._pkts.feed(data)
        while not self._lines.done:
            line = self._pkts.next()
            if line is None:
                break
            self._lines.line(line)
        whole = self._lines.done
        if len(self.raw) - (self._pkts.waiting if whole else 0) > self._limit:
            raise LimitError(Side.CLIENT, "a request longer than there may be")
        return whole

    def rest(self) -> bytes:
        """What came behind the request: once, when it is whole."""
        rest = self._pkts.rest()
        del self.raw[len(self.raw) - len(rest) :]
        if rest and not self.request.has_pack:
            raise self.behind()
        return rest

    def expect_pack(self, algorithm: str) -> None:
        self._stream = PackStream(algorithm, PackLimits(size=self._max_pack))

    def open(self, spool: Callable[[int], Spool]) -> None:
        """Raises SpoolFull."""
        assert self._stream is not None
        self.pack = PackSpool(spool(self._max_pack), self._stream, len(self.raw))

    def spool(self, data: bytes) -> bool:
        """True once the pack is whole. Raises SpoolFull, NoPack, and WireError for what
        is behind a pack."""
        assert self.pack is not None
        try:
            used = self.pack.take(data)
        except WireError as error:
            self._stream = None  # its end can't be found any more
            raise NoPack(error) from error
        if used < len(data):
            raise self.behind()
        return self.pack.done

    def drop(self, data: bytes) -> bool:
        """True once there is no more to come, or so much that it isn't waited for."""
        self._dropped += len(data)
        if self._stream is not None:
            try:
                self._stream.feed(data)
            except WireError:
                self._stream = None
        whole = self._stream is not None and self._stream.done
        return whole or self._dropped > DRAIN

    @staticmethod
    def behind() -> WireError:
        return WireError(Side.CLIENT, "speaks on behind its push")

    def close(self) -> None:
        if self.pack is not None:
            self.pack.spool.close()
