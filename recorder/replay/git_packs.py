"""The set of objects in a pack, so that two packs of the same objects are equal however they
were packed (gitformat-pack(5)). For packs of strangers: every quantity has a bound.

What a thin pack builds upon is not in it. Such an object goes by its base and its delta.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from typing import Final, NamedTuple

OBJECTS: Final = 500_000
HELD: Final = 1 << 28
"""Bytes of all objects together, as they are unpacked."""
STEPS: Final = 4_000_000
"""Copies and inserts of all deltas together."""
_NAMES: Final = {1: b"commit", 2: b"tree", 3: b"blob", 4: b"tag"}
_OFS, _REF = 6, 7
_WINDOW: Final = 1 << 16


class PackError(Exception):
    """It can't be told what is in the pack, and why."""


class Contents(NamedTuple):
    """``objects`` by id; ``deltas``, of a thin pack, by base and a digest."""

    objects: frozenset[str]
    deltas: frozenset[str] = frozenset()

    @property
    def size(self) -> int:
        return len(self.objects) + len(self.deltas)


class _Entry(NamedTuple):
    kind: int
    raw: bytes
    base: int | bytes


def contents(pack: bytes, algorithm: str) -> Contents:
    """Of ``pack``, whose framing and checksum were looked at. PackError."""
    make: Callable[[bytes], hashlib._Hash] = (
        hashlib.sha256 if algorithm == "sha256" else lambda data: hashlib.sha1(
            data, usedforsecurity=False)
    )  # fmt: skip
    digest = make(b"").digest_size
    entries = _entries(pack, digest)
    return _Resolver(entries, make).all()


def _entries(pack: bytes, digest: int) -> dict[int, _Entry]:
    if pack[:4] != b"PACK" or len(pack) < 12 + digest:
        raise PackError("it is no pack")
    count = int.from_bytes(pack[8:12], "big")
    if count > OBJECTS:
        raise PackError(f"more than {OBJECTS} objects")
    view, at, held = memoryview(pack), 12, 0
    found: dict[int, _Entry] = {}
    try:
        for _ in range(count):
            start, byte = at, pack[at]
            kind, size, shift = byte >> 4 & 7, byte & 15, 4
            at += 1
            while byte & 0x80:
                byte = pack[at]
                size |= (byte & 0x7F) << shift
                shift += 7
                at += 1
                if shift > 70:
                    raise PackError("it is no pack")
            base: int | bytes = 0
            if kind == _REF:
                base = pack[at : at + digest]
                at += digest
            elif kind == _OFS:
                byte = pack[at]
                at += 1
                back = byte & 0x7F
                while byte & 0x80 and back < 1 << 40:
                    byte = pack[at]
                    at += 1
                    back = back + 1 << 7 | byte & 0x7F
                base = start - back
                if base not in found:
                    raise PackError("a delta whose base is not before it")
            elif kind not in _NAMES:
                raise PackError("it is no pack")
            held += size
            if held > HELD:
                raise PackError(f"more than {HELD} bytes unpacked")
            raw, at = _inflated(view, at, size)
            found[start] = _Entry(kind, raw, base)
    except (IndexError, zlib.error) as error:
        raise PackError("it is no pack") from error
    return found


def _inflated(view: memoryview, at: int, size: int) -> tuple[bytes, int]:
    """``size`` bytes of what is packed at ``at``, and where that ends. zlib is given windows:
    it copies what it leaves over."""
    inflater = zlib.decompressobj()
    raw = bytearray()
    window = min(_WINDOW, size + (size >> 7) + 64)
    while not inflater.eof:
        piece = view[at : at + window]
        raw += inflater.decompress(piece, size + 1 - len(raw))
        at += len(piece) - len(inflater.unused_data)
        if len(raw) > size or not piece:
            break
    if len(raw) != size or not inflater.eof:
        raise PackError("an object that does not unpack to what it declares")
    return bytes(raw), at


class _Resolver:
    def __init__(self, entries: dict[int, _Entry], make: Callable[[bytes], hashlib._Hash]) -> None:
        self._entries = entries
        self._make = make
        self._kinds: dict[int, int] = {}
        self._bodies: dict[int, bytes] = {}
        self._by_id: dict[bytes, int] = {}
        self._held = sum(len(entry.raw) for entry in entries.values())
        self._steps = 0

    def all(self) -> Contents:
        waiting: dict[int | bytes, list[int]] = {}
        ready = []
        for place, entry in self._entries.items():
            if entry.kind in _NAMES:
                ready.append(place)
            else:
                waiting.setdefault(entry.base, []).append(place)
        for place in ready:
            self._kinds[place], self._bodies[place] = self._entries[place][:2]
        while ready:
            place = ready.pop()
            body, kind = self._bodies[place], self._kinds[place]
            head = b"%b %d\0" % (_NAMES[kind], len(body))
            oid = self._make(head + body).digest()
            self._by_id[oid] = place
            for each in (*waiting.pop(place, ()), *waiting.pop(oid, ())):
                self._kinds[each] = kind
                self._bodies[each] = self._apply(body, self._entries[each].raw)
                ready.append(each)
            self._bodies[place] = b""
        left = frozenset(self._left(waiting))
        return Contents(frozenset(oid.hex() for oid in self._by_id), left)

    def _left(self, waiting: dict[int | bytes, list[int]]) -> list[str]:
        """The deltas whose base is elsewhere, and those upon them."""
        names: dict[int, bytes] = {}
        todo = [(p, b) for b, places in waiting.items() if isinstance(b, bytes) for p in places]
        while todo:
            place, base = todo.pop()
            names[place] = self._make(base + self._entries[place].raw).digest()
            todo += [(p, names[place]) for p in waiting.get(place, ())]
        return [name.hex() for name in names.values()]

    def _apply(self, base: bytes, delta: bytes) -> bytes:
        """What ``delta`` makes of ``base``."""
        try:
            source, at = _number(delta, 0)
            target, at = _number(delta, at)
            self._held += target
            if self._held > HELD:
                raise PackError(f"more than {HELD} bytes unpacked")
            out = bytearray()
            while at < len(delta):
                self._steps += 1
                code = delta[at]
                at += 1
                if code & 0x80:
                    offset = size = 0
                    for bit in range(4):
                        if code & 1 << bit:
                            offset |= delta[at] << 8 * bit
                            at += 1
                    for bit in range(3):
                        if code & 0x10 << bit:
                            size |= delta[at] << 8 * bit
                            at += 1
                    out += base[offset : offset + (size or 0x10000)]
                else:
                    out += delta[at : at + code]
                    at += code
                if len(out) > target or self._steps > STEPS or not code:
                    raise PackError("a delta that can't be applied, or too many")
        except IndexError as error:
            raise PackError("a delta that is cut short") from error
        if len(out) != target or source != len(base):
            raise PackError("a delta that does not make what it declares")
        return bytes(out)


def _number(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80 or shift > 63:
            return value, at


def differing(then: Contents, now: Contents) -> str:
    """In words; "" when the two hold the same."""
    if then == now:
        return ""
    gone, new = sorted(then.objects - now.objects), sorted(now.objects - then.objects)
    said = [f"{len(ids)} objects only {when}: {' '.join(ids[:2])}"
            for when, ids in (("then", gone), ("now", new)) if ids]  # fmt: skip
    if then.deltas or now.deltas:
        said.append("some build on objects that are not on record (a thin pack), and are only "
                    "compared as they were packed")  # fmt: skip
    return f"its pack: {then.size} objects then, {now.size} now; " + ", ".join(said)
