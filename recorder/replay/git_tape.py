"""The two sides of a recorded git session, in files, and the places that are not on record.

What the client said and what it got: of the client leg, without SSH's frames. Answers are given
from the file, so that a pack of any size takes no memory.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from protocols.ssh import exec as line_of
from protocols.ssh.frames import Kind
from protocols.wire import Mark, Side
from recorder.reader import Recording
from recorder.replay.messages import UnreadableError
from recorder.ssh_parts import FrameParts, Part
from recorder.streams import Hop, Piece, Streams

_PIECE: Final = 1 << 16
_TEXT_MAX: Final = 1 << 16
_IN: Final = Hop(Side.CLIENT, True)
_OUT: Final = Hop(Side.CLIENT, False)


class Track:
    """One side: a file, and ``holes`` in it, (start, stop, why). Where not even their
    length is known a hole is empty, and nobody can tell what is behind it."""

    def __init__(self) -> None:
        self.file: BinaryIO = tempfile.TemporaryFile(prefix="recorder-")  # noqa: SIM115
        self.size = 0
        self.holes: list[tuple[int, int, str]] = []
        self.ours = 0
        """Bytes that the gateway put there: masks, its own words, what it took out."""

    def add(self, part: Part) -> None:
        if part.raw is None:
            known = part.kind is not None
            stop = self.size + part.length * known
            self.holes.append((self.size, stop, part.why or "they were not kept"))
        elif part.mark in (Mark.EDITED, Mark.OURS):
            self.ours += part.length
        if part.kind is not None:
            self.file.write(bytes(part.length) if part.raw is None else part.raw)
            self.size += part.length

    def withheld(self, start: int, stop: int, to_end: bool = False) -> str:
        """Why not all of ``start`` to ``stop`` is on record; "" when it is. ``to_end``: it
        ends only because nothing more is here."""
        for a, b, why in self.holes:
            if (a < stop and b > start) or (a == b and a < stop + to_end):
                return why
        return ""

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """These bytes; several may read at once."""
        while start < stop:
            piece = os.pread(self.file.fileno(), min(_PIECE, stop - start), start)
            if not piece:
                raise OSError("the copy of the recording was cut short")
            start += len(piece)
            yield piece


@dataclass(slots=True)
class Tape:
    """``service`` is ``fetch``, ``push`` or ``archive``; ``path`` as the client gave it;
    ``asked_version`` its GIT_PROTOCOL. ``ended``: what the exit was, "" when none came."""

    service: str = ""
    path: bytes = b""
    asked_version: bytes = b""
    said: Track = field(default_factory=Track)
    got: Track = field(default_factory=Track)
    errors: bytearray = field(default_factory=bytearray)
    """Standard error, the beginning of it."""
    ended: str = ""


def taped(recording: Recording) -> Tape:
    """Read all of it. UnreadableError when it is no git session that got as far as a service,
    or when records are missing; FormatError where it breaks."""
    tape = Tape()
    frames = {_IN: FrameParts(), _OUT: FrameParts()}
    bodies: dict[Kind, bytearray] = {}
    for item in Streams(recording).story(_IN, _OUT):
        if not isinstance(item, Piece) or item.hop is None:
            continue
        for part in frames[item.hop].feed(item):
            if part.over:
                raise UnreadableError(f"what follows can't be told apart: {part.why}")
            track = tape.said if item.hop == _IN else tape.got
            login = part.mark is Mark.SECRET and Kind.EXEC not in bodies
            if part.kind is Kind.DATA or (part.kind is None and not login):
                track.add(part)
            elif part.kind is Kind.STDERR:
                raw = b"?" * part.length if part.raw is None else part.raw
                tape.errors += raw[: _TEXT_MAX - len(tape.errors)]
            elif part.kind in (Kind.EXEC, Kind.ENV, Kind.EXIT, Kind.SIGNAL):
                body = bodies.setdefault(part.kind, bytearray())
                body += (part.raw or b"")[: _TEXT_MAX - len(body)]
    if Kind.EXEC not in bodies:
        raise UnreadableError("its client never asked for a service")
    try:
        tape.service, tape.path = line_of.parse(bytes(bodies[Kind.EXEC]))
    except line_of.NotRun as error:
        raise UnreadableError(str(error)) from error
    tape.asked_version = bytes(bodies.get(Kind.ENV, b""))
    if Kind.EXIT in bodies:
        tape.ended = f"exit status {int.from_bytes(bodies[Kind.EXIT], 'big')}"
    elif Kind.SIGNAL in bodies:
        tape.ended = f"signal {bodies[Kind.SIGNAL].decode('utf-8', 'backslashreplace')}"
    for track in (tape.said, tape.got):
        track.file.flush()
    return tape
