"""A second reader of Logs, written from FORMAT.md alone: it shares no code
with the recorder, so that the two (and the text) check each other."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import msgpack
import zstandard


def _table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC = _table()


def stored_crc(data: bytes) -> int:
    """CRC-32C as section 1 stores it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF ^ 0xA282EAD8


class TooShort(Exception):
    """The file ends too early."""


class Damaged(Exception):
    """A checksum fails, or something is malformed."""


class Contradiction(Exception):
    """Checksums hold, the whole does not."""


def need(ok: object, error: type[Exception]) -> None:
    if not ok:
        raise error


def take(raw: bytes, at: int, size: int) -> bytes:
    need(at + size <= len(raw), TooShort)
    return raw[at : at + size]


def record_at(raw: bytes, at: int, identity: int) -> tuple[int, bytes, bytes]:
    """Section 3: type, the stored 16 bytes, body."""
    head = take(raw, at, 16)
    magic, kind, _, zero, length, head_crc, body_crc = struct.unpack("<BBBBIII", head)
    bound = struct.pack("<Q", identity) + head[:8] + struct.pack("<Q", at)
    need(magic == 0xD7 and zero == 0 and length <= 1 << 20, Damaged)
    need(stored_crc(bound) == head_crc, Damaged)
    body = take(raw, at + 16, length)
    need(stored_crc(body) == body_crc, Damaged)
    return kind, head, body


def unpack(body: bytes) -> list[Any]:
    try:
        return list(msgpack.unpackb(body, unicode_errors="surrogateescape"))
    except Exception as error:
        raise Damaged from error


def read(*parts: bytes) -> dict[str, Any]:
    """Sections 2 to 6.1: header, the bytes of each hop (None: not stored),
    commands as (number, text, verdict), kinds of events, the END. Of one Log,
    or of all of its parts."""
    told, before, header = Told(), None, {}
    for part, raw in enumerate(parts):
        told.shapes = {}
        before = read_part(raw, part, before, told)
        header = header or before["header"]
    need(before is not None and before["end"][3] != "continued", TooShort)
    return {"header": header, "end": before["end"][3:7] if before else [], **told.found()}


def read_part(raw: bytes, wanted: int, before: dict[str, Any] | None, told: Told) -> dict[str, Any]:
    """One file, after the part ``before``."""
    head = take(raw, 0, 32)
    need(head[:8] == bytes.fromhex("89414752 0d0a1a0a"), Damaged)
    need(stored_crc(head[:28]) == struct.unpack_from("<I", head, 28)[0], Damaged)
    version, part, identity, zero = struct.unpack_from("<IIQI", head, 8)
    need(version == 1 and zero == 0, Damaged)
    kind, frame, body = record_at(raw, 32, identity)
    number, seq, time, _, header = unpack(body)[:5]
    need(kind == 1, Damaged)
    name = b"wirewarden log file\0" + header["session"].encode() + b"\0%d" % part
    need(hashlib.sha256(name).digest()[:8] == struct.pack("<Q", identity), Contradiction)
    link = hashlib.sha256(b"wirewarden log v1\0" + head + frame + body).digest()
    need(part == wanted, Contradiction)
    if before is not None:
        end = before["end"]
        need(end[3] == "continued" and seq == end[1] and time >= end[2], Contradiction)
        need(header["previous"] == before["root"] and header["counts"] == end[5], Contradiction)
        need(header["part"] == part and number == end[0], Contradiction)
        for name in ("session", "wall"):
            need(header[name] == before["header"][name], Contradiction)
    at = 32 + 16 + len(body)
    chunks = count = 0
    seq += 1
    while True:
        kind, frame, body = record_at(raw, at, identity)
        if kind == 3:
            break
        if kind == 5:
            index, codec, size, _, _, _, _, before, data = unpack(body)[:9]
            need(index == chunks and before == link, Contradiction)
            if codec == 1:
                data = zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
            need(len(data) == size, Damaged)
            place = 0
            while place < size:
                length, inner = struct.unpack_from("<IB", data, place)
                item = unpack(data[place + 5 : place + 5 + length])
                place += 5 + length
                need(item[0] == number and item[1] == seq and item[2] >= time, Contradiction)
                seq, time, count = item[1] + 1, item[2], count + 1
                if inner == 2:
                    told.entries(item[3:])
                elif inner == 6:
                    seq = item[3]
            chunks += 1
        link = hashlib.sha256(link + frame + body).digest()
        at += 16 + len(body)
    end = unpack(body)
    need(end[0] == number and end[1] == seq, Contradiction)
    need(end[7:10] == [count, chunks, link], Contradiction)
    need(end[5] == told.counts, Contradiction)
    tail = take(raw, at + 16 + len(body), 16)
    need(tail[:12] == struct.pack("<Q", at) + b"AGRE", Damaged)
    need(struct.unpack("<I", tail[12:])[0] == stored_crc(tail[:12]), Damaged)
    need(len(raw) == at + 16 + len(body) + 16, Contradiction)
    root = hashlib.sha256(link + frame + body).digest()
    return {"header": header, "end": end, "root": root}


class Told:
    """Section 5."""

    def __init__(self) -> None:
        self.counts = [0, 0, 0, 0]
        self.hops: list[list[bytes | None]] = [[], [], [], []]
        self.taken: list[dict[int, bytes | None]] = [{}, {}]
        self.shapes: dict[int, list[Any]] = {}
        self.commands: list[tuple[int, str, int]] = []
        self.events: list[str] = []

    def found(self) -> dict[str, Any]:
        names = ("client-in", "upstream-in", "client-out", "upstream-out")
        hops = dict(zip(names, self.hops, strict=True))
        return {"hops": hops, "commands": self.commands, "events": self.events}

    def entries(self, items: list[Any]) -> None:
        for item in items:
            if item[0] < 32:
                self.span(item)
            elif item[0] == 32:
                self.events.append(item[1])
            elif item[0] == 33:
                self.shapes[item[1]] = item
            elif item[0] == 34:
                shape = self.shapes[item[2]]
                self.commands.append((item[1], shape[3], shape[4]))

    def span(self, item: list[Any]) -> None:
        move, side, mark = item[0] & 3, item[0] >> 2 & 1, item[0] >> 3
        rest = item[1:]
        arrival = None if move == 2 else rest.pop(0)
        departure = None if move == 1 else rest.pop(0)
        raw = rest[0] if isinstance(rest[0], bytes) else None
        length = rest[0] if raw is None else len(raw)
        need(mark != 3 or raw is None, Damaged)
        if move in (0, 1):
            self.put(side, arrival, length, raw)
            for offset in range(length):
                byte = None if raw is None else raw[offset : offset + 1]
                self.taken[side][arrival + offset] = byte
        if move == 3:
            parts = [self.taken[side][arrival + offset] for offset in range(length)]
            raw = None if None in parts else b"".join(part for part in parts if part)
        if move != 1:
            out = 2 + (side if move == 2 else 1 - side)
            self.put(out, departure, length, raw)

    def put(self, hop: int, offset: int, length: int, raw: bytes | None) -> None:
        need(self.counts[hop] == offset, Contradiction)
        self.counts[hop] += length
        self.hops[hop].append(raw)
