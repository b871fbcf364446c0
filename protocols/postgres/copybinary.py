"""Masks the rows of COPY in the format binary.

https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from protocols.postgres import tupleloop
from protocols.postgres.copylines import broken, too_long
from protocols.postgres.copytext import payloads
from protocols.postgres.rows import RowMasker
from protocols.postgres.runs import native
from protocols.postgres.tupleloop import OVER, TOO_LONG

_Tuples: TypeAlias = Callable[
    ["bytes | bytearray", int, int, int, int], "tuple[bytes, int, int, int, int]"
]
tuples: _Tuples = native.tuples if native else tupleloop.tuples
as_copy: Callable[[bytes], bytes] = native.as_copy if native else tupleloop.as_copy

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
        if not self._begun:
            self._head()
        shown = b""
        if self._begun:
            try:
                shown = self._tuples()
            except ValueError as error:
                raise broken(str(error)) from None
        if len(self._held) > self._limit:
            raise too_long()
        return shown if framed or not shown else payloads(shown)

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

    def _tuples(self) -> bytes:
        """The tuples that are whole now, masked, each a CopyData frame."""
        if self._over:
            if self._held:
                raise broken("COPY goes on after its trailer")
            return b""
        rows, used, self._at, self._left, state = tuples(
            self._held, self._at, self._left, self._count, self._limit
        )
        if state == TOO_LONG:
            raise too_long()
        del self._held[:used]
        shown = as_copy(self._masker.rows(rows)) if rows else b""
        if state == OVER:
            self._over = True
            if self._held:
                raise broken("COPY goes on after its trailer")
            shown += _frame(b"\xff\xff")
        if self._lead and shown:
            # The server sends the header with what comes first.
            end = 1 + int.from_bytes(shown[1:5], "big")
            shown = _frame(self._lead + shown[5:end]) + shown[end:]
            self._lead = b""
        return shown


def _frame(payload: bytes) -> bytes:
    return b"d" + (len(payload) + 4).to_bytes(4, "big") + payload
