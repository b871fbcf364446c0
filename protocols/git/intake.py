"""The upstream's stream, accounted for read by read.

A lane must tell of every byte in the read that brought it.  A line that spans
reads is therefore taken in pieces, and forwarded when it is whole; a line (or
a run of band 1) that begins and ends in one read passes untouched.
"""

from __future__ import annotations

from protocols.git.pktline import pkt
from protocols.git.texts import Texts
from protocols.outbox import Outbox
from protocols.wire import Mark, Side

UPSTREAM, CLIENT = Side.UPSTREAM, Side.CLIENT


class Intake:
    """Told of the upstream's stream piece by piece, in order."""

    __slots__ = ("_before", "_carried", "_offset", "_outbox", "_plain", "_run")

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._run: list[bytes] = []
        self._before = 0
        # Of the next piece, what earlier reads brought and a TAKE told of.
        self._carried = 0
        self._offset = 0
        self._plain = True

    @property
    def carried(self) -> int:
        """Bytes that arrived and went nowhere yet."""
        return self._carried

    def begin(self) -> None:
        """A read begins."""
        self._before = self._outbox.arrived[UPSTREAM]

    def spill(self, data: bytes) -> None:
        """The read ``data`` can't be gone through to its end: the rest stays here."""
        self.flush()
        told = self._outbox.arrived[UPSTREAM] - self._before
        self._outbox.take(UPSTREAM, data[told:], Mark.EDITED)

    def pass_on(self, raw: bytes) -> None:
        """The next piece leaves as it is."""
        carried = self._carried
        if not carried:
            self._run.append(raw)
            return
        if self._plain:
            self._outbox.forward(UPSTREAM, raw[:carried], self._offset)
        else:
            self._outbox.send(CLIENT, raw[:carried], Mark.EDITED)
        self._carried, self._plain = 0, True
        if carried < len(raw):
            self._run.append(raw[carried:])

    def replace(self, raw: bytes, shown: bytes, mark: Mark = Mark.EDITED) -> None:
        """The next piece stays here, and ``shown`` (may be nothing) leaves instead.
        ``mark`` PLAIN says that the piece hides nothing."""
        self.flush()
        self._outbox.take(UPSTREAM, raw[self._carried :], mark)
        self._carried, self._plain = 0, True
        self._outbox.send(CLIENT, shown, Mark.EDITED)

    def pass_or_replace(self, raw: bytes, shown: bytes, mark: Mark = Mark.EDITED) -> None:
        if shown is raw or shown == raw:
            self.pass_on(raw)
        else:
            self.replace(raw, shown, mark)

    def error_line(self, line: bytes, texts: Texts) -> None:
        """The next piece is an ERR line: its text goes through ``texts``."""
        text = line[8:]
        shown = texts.whole(text)
        self.pass_or_replace(line, line if shown == text else pkt(b"ERR " + shown))

    def send(self, raw: bytes) -> None:
        """Bytes of our own leave, in place."""
        self.flush()
        self._outbox.send(CLIENT, raw, Mark.OURS)

    def settle(self, waiting: bytes, edited: bool) -> None:
        """The read is over: ``waiting`` is all of the piece that is not whole.
        ``edited``: it may be replaced, so its bytes are not for every eye (the four
        digits of a line's length are)."""
        self.flush()
        new = waiting[self._carried :]
        if not new:
            return
        if not self._carried:
            self._offset = self._outbox.arrived[UPSTREAM]
        self._carried = len(waiting)
        if edited and self._carried > 4:
            self._plain = False
            self._outbox.take(UPSTREAM, new, Mark.EDITED)
        else:
            self._outbox.take(UPSTREAM, new)

    def flush(self) -> None:
        run = self._run
        if run:
            self._outbox.pass_on(UPSTREAM, run[0] if len(run) == 1 else b"".join(run))
            self._run = []
