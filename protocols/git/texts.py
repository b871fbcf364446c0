"""Text on its way to a client, line by line, without what must not be shown.

A line ends with LF or CR (progress) and leaves as soon as it is finished, so a
secret that is split over any number of reads or side-band lines is found; git
itself shows no unfinished line either.  A screen sees one line at a time.  Of
secrets that go over several lines, key blocks (PEM, PuTTY's, base64 of PEM) are
masked from their first line to their last, or for ``BLOCK`` lines when no last one
comes.  Other secrets of several lines are found by the lines that are secrets
themselves.  A line over ``LONGEST`` bytes is left out whole.  What is masked errs
towards more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from protocols.contract import Mask, Plan, Screen

MASKED: Final = b"[masked]"
LEFT_OUT: Final = b"[a line that was too long is left out]"
LONGEST: Final = 32768
"""Bytes that a line which is shown may have, its end included."""
BLOCK: Final = 400
"""Lines of one key block."""

_LINE: Final = re.compile(rb"[^\r\n]*[\r\n]")
_END: Final = re.compile(rb"[\r\n]")
_MARKS: Final = re.compile(rb"-----BEGIN |PuTTY-User-Key-File-|LS0tLS1CRUdJTi")
_PEM: Final = re.compile(rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY")
_LAST: Final = re.compile(rb"-----END [A-Z0-9 ]{0,40}PRIVATE KEY|Private-MAC:")
_BASE64: Final = re.compile(rb"[ \t]*[A-Za-z0-9+/_-]{4,}={0,2}")


class Texts:
    """One stream of text. ``screens`` may grow while it runs (a plan comes in)."""

    __slots__ = ("_block", "_first", "_held", "_long", "_run", "mask", "screens")

    def __init__(self, screens: Iterable[Screen | None] = (), mask: Mask | None = None) -> None:
        self._first = tuple(screen for screen in screens if screen is not None)
        self.screens = list(self._first)
        self.mask = mask
        """Applied to each line as a whole, without its end."""
        self._held = bytearray()
        self._long = False
        self._block = 0
        self._run = 0

    def adopt(self, plan: Plan) -> None:
        """Show what ``plan``, the answer to a Result of one column, lets be seen, from now
        on; the screens that were there from the start stay."""
        self.mask = plan.columns[0] if plan.columns else None
        detect = () if plan.detect is None else (plan.detect,)
        self.screens = [*self._first, *detect]

    @property
    def held(self) -> int:
        """Bytes of a line that is not finished yet."""
        return len(self._held)

    def feed(self, data: bytes) -> bytes:
        """Take in ``data``; what may be shown now."""
        cut = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if not cut:
            self._hold(data)
            return b""
        if self._held or self._long:
            first = _LINE.match(data)
            assert first is not None
            self._hold(data[: first.end()])
            out = self._finish()
            if first.end() < cut:
                out += self._shown(data[first.end() : cut])
        else:
            out = self._shown(data if cut == len(data) else data[:cut])
        if cut < len(data):
            self._hold(data[cut:])
        return out

    def finish(self) -> bytes:
        """The stream is over, or something else follows: the unfinished line."""
        return self._finish() if self._held or self._long else b""

    def whole(self, data: bytes) -> bytes:
        """``data`` as a text of its own, in one piece (an ERR line, band 3). What was
        held of an earlier one stays held."""
        held, long = self._held, self._long
        self._held, self._long = bytearray(), False
        out = self.feed(data) + self.finish()
        self._held, self._long = held, long
        return out

    def _hold(self, data: bytes) -> None:
        if self._long or len(self._held) + len(data) > LONGEST:
            # Only the end of the line matters any more.
            self._long = True
            self._held = bytearray(data[-1:] if data[-1:] in (b"\r", b"\n") else b"")
        else:
            self._held += data

    def _finish(self) -> bytes:
        line = bytes(self._held)
        self._held.clear()
        if self._long:
            self._long = False
            return LEFT_OUT + line[-1:]
        return self._shown(line)

    def _shown(self, text: bytes) -> bytes:
        """Whole lines (the last one perhaps without an end), masked."""
        plain = not self._block and not self._run and self.mask is None
        if plain and _MARKS.search(text) is None and not _overlong(text):
            # One look at all lines; only those in which something is get their own.
            found = [span for screen in self.screens for span in screen.spans(text)]
            return self._shown_around(text, sorted(found)) if found else text
        return self._each(text, 0, len(text))

    def _shown_around(self, text: bytes, found: list[tuple[int, int]]) -> bytes:
        out: list[bytes] = []
        at = 0
        for low, high in found:
            if high <= at:
                continue
            start = max(at, _line_start(text, at, low))
            end = _line_end(text, max(high, start + 1))
            out += (text[at:start], self._each(text, start, end))
            at = end
        return b"".join((*out, text[at:]))

    def _each(self, text: bytes, at: int, stop: int) -> bytes:
        """The lines of ``text`` from ``at`` to ``stop``, one by one."""
        out: list[bytes] = []
        while at < stop:
            found = _LINE.match(text, at)
            end = found.end() if found is not None else len(text)
            last = end - 1 if found is not None else end
            out.append(self._line(text[at:last]) + text[last:end])
            at = end
        return b"".join(out)

    def _line(self, line: bytes) -> bytes:
        if not line:
            return line
        if len(line) >= LONGEST:
            return LEFT_OUT
        if self._block:
            self._block = 0 if _LAST.search(line) else self._block - 1
            return MASKED
        if self._run:
            self._run = self._run - 1 if _BASE64.fullmatch(line) else 0
            if self._run:
                return MASKED
        mark = _MARKS.search(line)
        if mark is not None:
            found = mark.group()
            if found.startswith(b"L"):
                self._run = BLOCK
                return MASKED
            if found.startswith(b"P") or _PEM.search(line):
                self._block = 0 if _LAST.search(line, mark.end()) else BLOCK
                return MASKED
        if self.mask is not None:
            line = self.mask.apply(line) or b""
        for screen in self.screens:
            # With an end, as in the scan of many lines at once: what is open at
            # the end of a text would be masked there, and not here.
            line = _without(line, screen.spans(line + b"\n"))
        return line


def _overlong(text: bytes) -> bool:
    return len(text) >= LONGEST and max(map(len, _END.split(text))) >= LONGEST


def _line_start(text: bytes, least: int, at: int) -> int:
    """Where the line begins that byte ``at`` is in."""
    return max(text.rfind(b"\n", least, at), text.rfind(b"\r", least, at), least - 1) + 1


def _line_end(text: bytes, at: int) -> int:
    """Where the line ends that the byte before ``at`` is in."""
    found = _LINE.match(text, at - 1)
    return found.end() if found is not None else len(text)


def _without(line: bytes, spans: list[tuple[int, int]]) -> bytes:
    out: list[bytes] = []
    at = 0
    for start, end in spans:
        out += (line[at:start], MASKED)
        at = end
    return b"".join((*out, line[at:])) if spans else line
