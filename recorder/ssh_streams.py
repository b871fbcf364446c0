"""Standard input, output and error of a recorded SSH channel, without the frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from protocols.ssh.frames import Kind
from protocols.wire import Mark, Side
from recorder.ssh_parts import FrameParts
from recorder.streams import Hop, Piece, Streams

PROTOCOLS: Final = frozenset({"git-ssh"})
"""Protocols whose legs are such frames."""
NAMES: Final = ("stdin", "stdout", "stderr")


def hop_of(name: str, leg: Side) -> Hop:
    """Which way the stream ``name`` goes on ``leg``: ``stdin`` comes from the client
    and goes to the upstream, the others go back."""
    return Hop(leg, (leg is Side.CLIENT) is (name == "stdin"))


def stream(streams: Streams, name: str, leg: Side) -> Iterator[Piece]:
    """The bytes of one stream, in order; ``offset`` is their place in it, -1 for what
    can't be told any more. ``FormatError`` where the recording breaks."""
    kind = Kind.STDERR if name == "stderr" else Kind.DATA
    hop = hop_of(name, leg)
    frames = FrameParts()
    at = 0
    for piece in streams.pieces(hop):
        for part in frames.feed(piece):
            if part.over:
                yield Piece(part.at, -1, 0, None, f"what follows can't be told apart: {part.why}")
            elif part.kind is kind:
                yield Piece(part.at, at, part.length, part.raw, part.why, part.mark, hop)
                at += part.length
            elif part.kind is None and part.mark is not Mark.SECRET:
                # Frames that are sealed or withheld whole: they may be of this stream.
                why = f"{part.length} bytes of frames: {part.why}"
                yield Piece(part.at, -1, part.length, None, why, part.mark, hop)
