"""Masks the rows of COPY in the format binary.

https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format".
"""

from __future__ import annotations

from typing import Final

from protocols.postgres.copylines import broken, too_long
from protocols.postgres.rows import RowMasker

SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0"


class CopyBinary:
    """A header, tuples (each is the body of a DataRow), and a trailer."""

    def __init__(self, masker: RowMasker, limit: int) -> None:
        self._masker = masker
        self._count = len(masker.masked)
        self._limit = limit
        self._held = bytearray()
        self._at = 0  # how far the tuple at the start of ``_held`` is read
        self._left = -1  # columns of it that are not read yet; -1: none begun
        self._begun = False
        self._lead = b""  # the header, until the first row is whole
        self._over = False

    def feed(self, payload: bytes, framed: bool) -> bytes:
        self._held += payload
        out: list[bytes] = []
        if not self._begun:
            self._head()
        if self._begun:
            bodies = self._tuples()
            if bodies:
                # The server sends the header with what comes first.
                bodies[0] = self._lead + bodies[0]
                self._lead = b""
            if framed:
                out = [b"d" + (len(body) + 4).to_bytes(4, "big") + body for body in bodies]
            else:
                out = bodies
        if len(self._held) > self._limit:
            raise too_long()
        return b"".join(out)

    def end(self) -> None:
        if self._held or not self._over:
            raise broken("COPY ended within a row")

    def _head(self) -> None:
        held = self._held
        if not SIGNATURE.startswith(held[:11]):
            raise broken("binary COPY has another signature")
        if len(held) < 19:
            return
        if int.from_bytes(held[11:15], "big") & 0xFFFF0000:
            raise broken("binary COPY has unknown critical flags")
        size = 19 + int.from_bytes(held[15:19], "big")
        if size > self._limit:
            raise too_long()
        if len(held) < size:
            return
        self._begun = True
        self._lead = bytes(held[:size])
        del held[:size]

    def _tuples(self) -> list[bytes]:
        held = self._held
        size = len(held)
        start, at, left = 0, self._at, self._left
        frames: list[bytes] = []
        trailer: list[bytes] = []
        while not self._over:
            if left < 0:
                if size - at < 2:
                    break
                count = int.from_bytes(held[at : at + 2], "big", signed=True)
                at += 2
                if count == -1:
                    self._over = True
                    trailer, start = [b"\xff\xff"], at
                    break
                if count != self._count:
                    raise broken("a row of COPY has another number of columns than announced")
                left = count
            while left:
                if size - at < 4:
                    break
                length = int.from_bytes(held[at : at + 4], "big", signed=True)
                if length < -1:
                    raise broken("a column's length is wrong")
                if length > self._limit:
                    raise too_long()
                if size - at - 4 < max(length, 0):
                    break
                at += 4 + max(length, 0)
                left -= 1
            if left:
                break
            frames.append(b"D" + (at - start + 4).to_bytes(4, "big") + held[start:at])
            start, left = at, -1
        del held[:start]
        self._at, self._left = at - start, left
        if self._over and held:
            raise broken("COPY goes on after its trailer")
        if not frames:
            return trailer
        return _bodies(self._masker.rows(b"".join(frames))) + trailer


def _bodies(frames: bytes) -> list[bytes]:
    at = 0
    out: list[bytes] = []
    while at < len(frames):
        end = at + 1 + int.from_bytes(frames[at + 1 : at + 5], "big")
        out.append(frames[at + 5 : end])
        at = end
    return out
