"""Side-band lines (gitprotocol-common(5), gitprotocol-pack(5) "Packfile Data"):
band 1 is the pack or the report, 2 progress and messages, 3 the last error.
"""

from __future__ import annotations

import re
from typing import Final

from protocols.errors import WireError
from protocols.git.pktline import LONGEST, V0, length_of, pkt
from protocols.git.texts import Texts
from protocols.wire import Side

__all__ = ["DATA", "ERROR", "LARGE", "SMALL", "TEXT", "Bands", "Texts", "band_of", "lines"]

DATA: Final = 1
TEXT: Final = 2
ERROR: Final = 3
LARGE: Final = LONGEST
"""Bytes of a line with ``side-band-64k``, digits and band included."""
SMALL: Final = 1000
"""The same with ``side-band``."""

# The head of a line of band 1, the one that is everywhere.
_HEAD: Final = re.compile(rb"([0-9a-fA-F]{4})\x01").match


def lines(band: int, data: bytes, longest: int = LARGE) -> bytes:
    """``data`` on ``band``, in as many lines as it takes; none for none."""
    step = longest - 5
    return b"".join(pkt(b"%c%b" % (band, data[at : at + step])) for at in range(0, len(data), step))


def band_of(line: bytes) -> int:
    """The band of a whole pkt-line of the upstream's (not a flush); its data begins
    at 5. WireError when it has none."""
    band = line[4] if len(line) > 4 else 0
    if band not in (DATA, TEXT, ERROR):
        raise WireError(Side.UPSTREAM, "a side-band line of no band")
    return band


class Bands:
    """Goes through the upstream's side-band lines; those of band 1 are not waited for.

    ``feed`` gives runs in order, each with its band, whose raw bytes tile the stream:
    of band 1 any cut of any number of lines, of band 2 and 3 one whole line,
    of 0 a special line (a flush, what else ``special`` permits).  After the special
    line ``feed`` stops, and ``rest`` is what it did not look at.
    """

    __slots__ = ("_left", "_longest", "_special", "_tail", "rest")

    def __init__(self, longest: int = LARGE, special: tuple[bytes, ...] = V0) -> None:
        self._longest = longest
        self._special = special
        self._left = 0
        """Bytes that the current line of band 1 still has."""
        self._tail = bytearray()
        self.rest = b""

    @property
    def waiting(self) -> int:
        """Bytes of a line that is not whole yet."""
        return len(self._tail)

    def peek(self) -> bytes:
        """The bytes of a line that is not whole: a copy."""
        return bytes(self._tail)

    @property
    def between(self) -> bool:
        """No line is begun: one of ours may stand here."""
        return not self._left and not self._tail

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Runs as above. Raises WireError of the upstream."""
        self.rest = b""
        size = len(data)
        left = self._left
        if left >= size:  # the middle of a long line
            self._left = left - size
            return [(DATA, data)] if data else []
        if self._tail:
            self._tail += data
            if not self._enough():
                return []
            data = bytes(self._tail)
            size = len(data)
            self._tail.clear()
        out: list[tuple[int, bytes]] = []
        start, at = 0, left
        # [start:at] are whole and partial lines of band 1.
        longest = self._longest
        while at < size:
            head = _HEAD(data, at)
            if head is not None:
                length = int(head[1], 16)
                if length > longest or length < 5:
                    raise WireError(Side.UPSTREAM, "a side-band line of a wrong length")
                at += length
                continue
            if size - at < 5 and data[at : at + 4] not in self._special:
                if size - at == 4:
                    length_of(Side.UPSTREAM, data[at:], self._special)
                break
            digits = data[at : at + 4]
            length = length_of(Side.UPSTREAM, digits, self._special)
            if digits in self._special:
                if at > start:
                    out.append((DATA, data[start:at]))
                out.append((0, digits))
                self._left = 0
                self.rest = data[at + 4 :]
                return out
            band = data[at + 4]
            end = at + length
            if length > longest or length < 5:
                raise WireError(Side.UPSTREAM, "a side-band line of a wrong length")
            if band not in (TEXT, ERROR):
                raise WireError(Side.UPSTREAM, "a side-band line of no band")
            if end > size:
                break
            if at > start:
                out.append((DATA, data[start:at]))
            out.append((band, data[at:end]))
            start = at = end
        stop = min(at, size)
        if stop > start:
            out.append((DATA, data if not start and stop == size else data[start:stop]))
        self._left = at - stop
        if at < size:
            self._tail += data[at:]
        return out

    def _enough(self) -> bool:
        """Whether ``_tail`` is worth another look: its line is whole, or of band 1."""
        tail = self._tail
        if len(tail) < 5:
            return len(tail) == 4 and bytes(tail) in self._special
        return tail[4] not in (TEXT, ERROR) or len(tail) >= length_of(
            Side.UPSTREAM, bytes(tail[:4]), self._special
        )
