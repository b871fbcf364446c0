"""Where a packfile ends, found by its framing alone.

A push has no length and nothing behind it: the pack ends where its last object
ends (gitformat-pack(5)), and only inflating tells where an object does.  Nothing
of what is inflated is kept.  What the objects hold, whether deltas resolve and
whether bases exist is for whoever examines the pack; a pack that passes here has
whole framing, objects of the sizes that they declare, and the right checksum.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from protocols.errors import LimitError, WireError
from protocols.wire import Side

_HEADER: Final = struct.Struct(">4sII")
_OFS_DELTA: Final = 6
_REF_DELTA: Final = 7
_TYPES: Final = frozenset((1, 2, 3, 4, _OFS_DELTA, _REF_DELTA))
_SIZE_BYTES: Final = 10
"""Enough for 64 bits: 4 in the first byte, 7 in each other."""
_WINDOW: Final = 1 << 16
"""Compressed bytes given to zlib at once: it copies what it leaves over."""
_BUFFER: Final = 1 << 18
"""Inflated bytes in memory at once."""
_LIES: Final = "a packed object that does not inflate to what it declares"
"""One word for all: which of them is met first depends on how the pack is cut."""
_ALGORITHMS: Final[dict[str, Callable[[], hashlib._Hash]]] = {
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
}


@dataclass(frozen=True, slots=True)
class PackLimits:
    """The most that a pack may ask for. ``size`` bytes as sent; ``objects``, as
    declared; ``object`` and ``inflated`` bytes after inflating, of one and of all (deltas
    count as deltas).  Past ``free`` inflated bytes, no more than ``ratio`` times what
    was sent: honest packs stay far below, and a bomb costs CPU here and there."""

    size: int = 1 << 30
    objects: int = 20_000_000
    object: int = 4 << 30
    inflated: int = 16 << 30
    free: int = 256 << 20
    ratio: int = 50


class PackStream:
    """Takes a pack in pieces of any length; all cuts give the same.

    ``count`` objects are declared (0 until the header is in), ``size`` bytes
    belong to the pack so far, ``inflated`` is what came out of them.  Raises
    WireError (CLIENT) for what is no pack, LimitError for what is too much; it
    is of no use afterwards.
    """

    __slots__ = (
        "_hash",
        "_head",
        "_inflater",
        "_left",
        "_limits",
        "_missing",
        "_trailer",
        "count",
        "done",
        "inflated",
        "size",
    )

    def __init__(self, algorithm: str, limits: PackLimits) -> None:
        """``algorithm`` is ``sha1`` or ``sha256``: of object names and the trailer."""
        self._hash = _ALGORITHMS[algorithm]()
        self._limits = limits
        self._head = b""
        self._trailer = bytearray()
        self._inflater: zlib._Decompress | None = None
        self._missing = 0  # bytes that the object declares and zlib has not given yet
        self._left = -1  # objects to come, -1 until the header is in
        self.count = 0
        self.size = 0
        self.inflated = 0
        self.done = False

    @property
    def trailer(self) -> str:
        """The checksum in hex, whole once ``done``."""
        return self._trailer.hex()

    def feed(self, data: bytes) -> int:
        """How many bytes of ``data`` belong to the pack: all, unless it ends in them."""
        room = self._limits.size - self.size
        used = self._body(data[:room] if room < len(data) else data) if self._left else 0
        if not self._left and not self.done:
            need = self._hash.digest_size - len(self._trailer)
            rest = data[used : min(used + need, room)]
            self._trailer += rest
            used += len(rest)
            if len(rest) == need:
                if self._trailer != self._hash.digest():
                    raise WireError(Side.CLIENT, "the pack's checksum is wrong")
                self.done = True
        self.size += used
        if not self.done and used < len(data):
            raise LimitError(Side.CLIENT, f"a pack of more than {self._limits.size} bytes")
        return used

    def _body(self, data: bytes) -> int:
        """Up to the trailer or the end of ``data``."""
        view, at, end = memoryview(data), 0, len(data)
        while self._left and at < end:
            if self._inflater is not None:
                at = self._inflate(self._inflater, view, at)
                continue
            kept = len(self._head)
            buffer = self._head + data[at : at + 64] if kept else data[at : at + 64]
            parse = self._begin if self._left < 0 else self._object
            length = parse(buffer, self.size + at - kept)
            if length:
                self._head = b""
                at += length - kept
            else:  # less than 64 bytes came: the rest is in the next piece
                self._head = buffer
                at = end
        self._hash.update(view[:at])
        return at

    def _begin(self, buffer: bytes, _offset: int) -> int:
        if len(buffer) < _HEADER.size:
            if not b"PACK".startswith(buffer[:4]):
                raise WireError(Side.CLIENT, "no pack where one must begin")
            return 0
        magic, version, count = _HEADER.unpack_from(buffer)
        if magic != b"PACK":
            raise WireError(Side.CLIENT, "no pack where one must begin")
        if version not in (2, 3):
            raise WireError(Side.CLIENT, f"a pack of version {version}")
        if count > self._limits.objects:
            raise LimitError(Side.CLIENT, f"a pack of more than {self._limits.objects} objects")
        self.count = self._left = count
        return _HEADER.size

    def _object(self, buffer: bytes, offset: int) -> int:
        """Parse the header of the object at ``offset``; its length, 0 if there is
        more of it to come."""
        byte = buffer[0]
        kind, size, at, shift = byte >> 4 & 7, byte & 15, 1, 4
        if kind not in _TYPES:
            raise WireError(Side.CLIENT, f"a packed object of type {kind}")
        while byte & 0x80:
            if at == _SIZE_BYTES:
                raise WireError(Side.CLIENT, "a packed object's size has too many digits")
            if at == len(buffer):
                return 0
            byte = buffer[at]
            size |= (byte & 0x7F) << shift
            shift += 7
            at += 1
        if size > self._limits.object:
            raise LimitError(Side.CLIENT, f"an object of more than {self._limits.object} bytes")
        if self.inflated + size > self._limits.inflated:
            most = self._limits.inflated
            raise LimitError(Side.CLIENT, f"a pack of more than {most} inflated bytes")
        if kind == _REF_DELTA:
            at += self._hash.digest_size
            if at > len(buffer):
                return 0
        elif kind == _OFS_DELTA:
            at = self._base(buffer, at, offset)
            if not at:
                return 0
        self._missing = size
        self._inflater = zlib.decompressobj()
        return at

    @staticmethod
    def _base(buffer: bytes, at: int, offset: int) -> int:
        """Parse how far before ``offset`` a delta's base is."""
        last = at + _SIZE_BYTES
        back = -1
        while True:
            if at == last:
                raise WireError(Side.CLIENT, "a delta's base has too many digits")
            if at == len(buffer):
                return 0
            byte = buffer[at]
            at += 1
            back = back + 1 << 7 | byte & 0x7F
            if byte < 0x80:
                break
        if not 0 < back <= offset - _HEADER.size:
            raise WireError(Side.CLIENT, "a delta whose base is not before it in the pack")
        return at

    def _inflate(self, inflater: zlib._Decompress, view: memoryview, at: int) -> int:
        """Up to the end of the object, of ``view``, or of a window."""
        missing = self._missing
        # Windows end at the same places of the pack however it is cut.
        window = _WINDOW - (self.size + at) % _WINDOW
        piece = view[at : at + min(window, missing + (missing >> 7) + 64)]
        while True:
            # One byte more than is missing: an object that is longer than it says
            # shows at once, and zlib never stops for want of room at an honest end.
            most = min(_BUFFER, missing + 1)
            try:
                out = len(inflater.decompress(piece, most))
            except zlib.error as error:
                raise WireError(Side.CLIENT, _LIES) from error
            missing -= out
            if missing < 0:
                raise WireError(Side.CLIENT, _LIES)
            self.inflated += out
            if inflater.eof:
                break
            rest = inflater.unconsumed_tail
            at += len(piece) - len(rest)
            if not rest and out < most:
                self._missing = missing
                if not (self.size + at) % _WINDOW:
                    self._compare(at)
                return at
            piece = memoryview(rest)
        if missing:
            raise WireError(Side.CLIENT, _LIES)
        at += len(piece) - len(inflater.unused_data)
        self._compare(at)
        self._inflater = None
        self._left -= 1
        return at

    def _compare(self, at: int) -> None:
        limits, inflated = self._limits, self.inflated
        if inflated > limits.free and inflated > limits.ratio * (self.size + at):
            raise LimitError(Side.CLIENT, f"a pack that inflates to over {limits.ratio} times it")
