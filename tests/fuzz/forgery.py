"""Logs and segments whose checksums, chain and counts are right, whatever is in them: what a
fuzzer writes comes past the first look."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from recorder import framing, records
from recorder.framing import FILE_HEADER
from recorder.log_writer import RAW, first_link, log_identity, next_link, trailer
from recorder.scan import Damage, OpenSegment

Item = tuple[int, bytes]
_ITEM = struct.Struct("<IB")
IDENTITY = 0x1234567890ABCDEF


def log(session: str, header: bytes, items: Sequence[Item], end: bytes | None, codec: int = RAW,
        chunk: bytes | None = None) -> bytes:  # fmt: skip
    """A Log with one chunk. ``end`` None: an END that fits. ``chunk``: its data, as it is."""
    identity = log_identity(session, 0)
    seed = framing.seed_of(identity)
    out = framing.file_header(framing.LOG_MAGIC, 0, identity)
    out += framing.frame(framing.HEADER, header, seed, len(out))
    link = first_link(out)
    pack = records.packer().pack
    raw = b"".join(_ITEM.pack(len(body), kind) + body for kind, body in items)
    places = [records.prefix(body)[1:] for _, body in items]
    if items:
        data = raw if chunk is None else chunk
        body = pack([0, codec, len(raw), *places[0], *places[-1], link, data])
        stored = framing.frame(framing.CHUNK, body, seed, len(out))
        link = next_link(link, stored)
        out += stored
    number, seq, at = records.prefix(header)
    if places:
        seq, at = places[-1]
    said = [number, seq + 1, at, "closed", "done", [0, 0, 0, 0], {}]
    if end is not None:
        fields = records.unpack(end)
        said = [number, seq + 1, at, *fields[3:7]]
    ending = pack([*said, len(items), int(bool(items)), link])
    place = len(out)
    out += framing.frame(framing.END, ending, seed, place)
    return out + trailer(place)


def segment(number: int, items: Sequence[Item], rest: bytes = b"") -> bytes:
    """A journal's segment; ``rest`` follows what is valid."""
    seed = framing.seed_of(IDENTITY)
    out = framing.file_header(framing.SEGMENT_MAGIC, number, IDENTITY)
    for kind, body in items:
        out += framing.frame(kind, body, seed, len(out))
    return out + rest


def items_of_segment(path: Path) -> list[Item]:
    """The records of a segment."""
    with OpenSegment(path) as opened:
        return [(r.kind, r.body) for r in opened.records() if not isinstance(r, Damage)]


__all__ = ["FILE_HEADER", "IDENTITY", "Item", "items_of_segment", "log", "segment"]
