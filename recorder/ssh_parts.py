"""Takes the frames of one hop of an SSH session apart again (``protocols.ssh.frames``).

For recordings that may be hostile or have holes: it never raises on bytes, and
holds no body, only the start of a header.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from protocols.ssh.frames import HEADER, LONGEST, Kind
from protocols.wire import Mark
from recorder.streams import Piece

_KINDS: Final = {int(kind): kind for kind in Kind}


class Part(NamedTuple):
    """Bytes of a frame's body, in order; a frame without a body is one empty part.
    ``last``: the body ends with it. ``raw`` is None where ``length`` bytes are not on
    record, ``why`` says why; ``kind`` is then None when not even the frame is known
    (``length`` counts headers too). ``over``: nothing that follows can be told apart."""

    at: int
    kind: Kind | None
    raw: bytes | None
    length: int
    last: bool
    mark: Mark
    why: str = ""
    over: bool = False


class FrameParts:
    """Feed it the pieces of one hop."""

    def __init__(self) -> None:
        self._head = b""
        self._kind: Kind | None = None
        self._left = 0
        self._over = False

    def feed(self, piece: Piece) -> Iterator[Part]:
        """What ``piece`` holds, in order."""
        if self._over:
            return
        if piece.raw is None:
            yield from self._hidden(piece)
            return
        raw, at, size = piece.raw, 0, len(piece.raw)
        while at < size:
            if self._kind is not None:
                body = raw[at : at + self._left]
                at += len(body)
                yield self._body(piece, body, len(body))
                continue
            need = HEADER - len(self._head)
            self._head += raw[at : at + need]
            at += need
            if len(self._head) < HEADER:
                return
            kind = _KINDS.get(self._head[0])
            length = int.from_bytes(self._head[1:], "big")
            self._head = b""
            if kind is None or length > LONGEST:
                yield self._lost(piece, "no frame starts here")
                return
            self._kind, self._left = kind, length
            if not length:
                yield self._body(piece, b"", 0)

    def _body(self, piece: Piece, raw: bytes | None, length: int) -> Part:
        kind = self._kind
        self._left -= length
        if not self._left:
            self._kind = None
        return Part(piece.at, kind, raw, length, not self._left, piece.mark, piece.why)

    def _hidden(self, piece: Piece) -> Iterator[Part]:
        length = piece.length
        if piece.offset < 0 or self._head:
            yield self._lost(piece, piece.why)
            return
        if self._kind is not None:
            part = min(length, self._left)
            length -= part
            yield self._body(piece, None, part)
        if length:
            # Whole frames are marked, never a part of a header.
            yield Part(piece.at, None, None, length, True, piece.mark, piece.why)

    def _lost(self, piece: Piece, why: str) -> Part:
        self._over = True
        return Part(piece.at, None, None, 0, True, piece.mark, why, True)
