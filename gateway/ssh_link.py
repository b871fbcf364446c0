"""The island's end of a leg: frames over a socketpair, with a loop's callbacks.

The loop is asyncio's, but it is only called here, so that this file knows nothing of it.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import Any, Final
from typing import Protocol as Interface

from protocols.errors import WireError
from protocols.ssh.frames import LONGEST, Frames, Kind, frame
from protocols.wire import Side

READ: Final = 1 << 18
HIGH: Final = 1 << 18
LOW: Final = 1 << 16
_ATTENTION: Final = 1.0
"""Seconds until a link that may not be read is looked at, whether it still is there."""


class Loop(Interface):
    """What is used of an event loop."""

    def add_reader(self, fd: Any, callback: Callable[[], object], /) -> None: ...
    def remove_reader(self, fd: Any, /) -> bool: ...
    def add_writer(self, fd: Any, callback: Callable[[], None], /) -> None: ...
    def remove_writer(self, fd: Any, /) -> bool: ...
    def call_soon(self, callback: Callable[[], object], /) -> Any: ...
    def call_later(self, delay: float, callback: Callable[[], object], /) -> Any: ...


class Speaker(Interface):
    """Whoever stands on the SSH side of a link."""

    def frame_received(self, kind: Kind, body: bytes) -> None:
        """Raises WireError for a frame out of turn: the link is given up."""

    def link_lost(self, why: str) -> None:
        """The gateway's end is closed; ``why`` is "" unless it broke the protocol."""

    def link_flows(self, flows: bool) -> None:
        """False: what was sent piles up. True: it has gone out."""


class Link:
    """Sends are never refused: ``link_flows`` says when to stop asking peers for more.
    Bodies of DATA that pile up are joined, so that single bytes do not cost a frame each."""

    def __init__(self, loop: Loop, sock: socket.socket, side: Side, speaker: Speaker) -> None:
        self._loop = loop
        self._sock = sock
        self._frames = Frames(side)
        self._speaker = speaker
        self._out = bytearray()
        self._tail_kind = Kind.DATA
        self._tail = bytearray()
        self._holds: set[str] = set()
        self._flush_soon = False
        self._writing = False
        self._full = False
        self._finishing = False
        self._watch: Any = None
        self.open = True
        self.spent = False
        """The gateway's end is closed, and everything that it sent was read."""
        loop.add_reader(sock, self._readable)

    # -- towards the gateway ------------------------------------------------

    def send(self, kind: Kind, body: bytes = b"") -> None:
        """A frame; DATA and STDERR of any length."""
        if not self.open or self._finishing:
            return
        if kind is Kind.DATA or kind is Kind.STDERR:
            if kind is not self._tail_kind:
                self._seal()
                self._tail_kind = kind
            self._tail += body
            if len(self._tail) >= LONGEST:
                self._seal()
        else:
            self._seal()
            self._out += frame(kind, body)
        pending = len(self._out) + len(self._tail)
        if pending > HIGH and not self._full:
            self._flush()
            if self.open and len(self._out) > HIGH:
                self._full = True
                self._speaker.link_flows(False)
        elif not self._flush_soon and not self._writing:
            self._flush_soon = True
            self._loop.call_soon(self._flush)

    def finish(self) -> None:
        """Close when everything has been sent."""
        if self.open and not self._finishing:
            self._finishing = True
            self._flush()

    def abort(self) -> None:
        """Close now."""
        if not self.open:
            return
        self.open = False
        if self._watch is not None:
            self._watch.cancel()
        if not self.spent and not self._holds:
            self._loop.remove_reader(self._sock)
        if self._writing:
            self._loop.remove_writer(self._sock)
        self._sock.close()

    def _seal(self) -> None:
        tail = self._tail
        if tail:
            out = self._out
            for at in range(0, len(tail), LONGEST):
                length = min(LONGEST, len(tail) - at)
                out += b"%c%b" % (self._tail_kind, length.to_bytes(4, "big"))
                out += tail if length == len(tail) else tail[at : at + length]
            tail.clear()

    def _flush(self) -> None:
        self._flush_soon = False
        if not self.open:
            return
        self._seal()
        out = self._out
        try:
            while out:
                sent = self._sock.send(out)
                if sent == len(out):
                    out.clear()
                else:
                    del out[:sent]
        except BlockingIOError:
            if not self._writing:
                self._writing = True
                self._loop.add_writer(self._sock, self._flush)
        except OSError:
            # The gateway's side is closed. What it said before that is still to be heard.
            out.clear()
            self._last_words()
            if self._finishing:
                self.abort()
            return
        if self._full and len(out) <= LOW:
            self._full = False
            self._speaker.link_flows(True)
        if not out and not self._tail:
            if self._writing:
                self._writing = False
                self._loop.remove_writer(self._sock)
            if self._finishing:
                self.abort()

    # -- from the gateway ---------------------------------------------------

    def hold(self, why: str) -> None:
        """Read no more until ``release(why)``: nowhere to put it."""
        if self.open and not self.spent and not self._holds:
            self._loop.remove_reader(self._sock)
            self._watch = self._loop.call_later(_ATTENTION, self._look)
        self._holds.add(why)

    def release(self, why: str) -> None:
        """The inverse of ``hold``."""
        if why not in self._holds:
            return
        self._holds.discard(why)
        if self.open and not self.spent and not self._holds:
            self._watch.cancel()
            self._loop.add_reader(self._sock, self._readable)

    def _look(self) -> None:
        """Held: the end of the gateway's side would not be seen. What is left then is
        what the kernel holds, and is taken in."""
        if not self.open or self.spent or not self._holds:
            return
        poll = select.poll()
        poll.register(self._sock, 0)
        if not poll.poll(0):
            self._watch = self._loop.call_later(_ATTENTION, self._look)
            return
        self._last_words()

    def _last_words(self) -> None:
        """Take in what the kernel still holds of a gateway's side that is closed."""
        while self.open and not self.spent:
            if not self._readable():
                self._lost("")

    def _readable(self) -> bool:
        """False: there was nothing."""
        try:
            raw = self._sock.recv(READ)
        except BlockingIOError:
            return False
        except OSError:
            raw = b""
        if not raw:
            self._lost("")
            return True
        try:
            for kind, body in self._frames.feed(raw):
                self._speaker.frame_received(kind, body)
                if not self.open:
                    break
        except WireError as error:
            self._lost(str(error))
        return True

    def _lost(self, why: str) -> None:
        if not self.spent:
            if not self._holds:
                self._loop.remove_reader(self._sock)
            self.spent = True
            self._speaker.link_lost(why)
