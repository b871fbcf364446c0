"""The sockets under a replay: sends what it wants sent, tells it what arrived."""

from __future__ import annotations

import os
import select
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass

from recorder.commands.target import Place, binding, cancel
from recorder.replay.engine import Replay
from recorder.replay.login import Entry

READ = 1 << 16
STALL = 0.2
"""Seconds of silence after which a server that owes no answer is taken to wait for us."""
IDLE = 0.5
"""Seconds to which ``jump`` cuts a pause."""
CANCEL_WAITS = (0.05, 2.0)
"""Seconds between a request and its cancelling, at least and at most, where no clock is kept."""


@dataclass(slots=True)
class Pace:
    """``factor``: how many times faster than recorded, 0.0 for as fast as it goes."""

    factor: float
    jump: bool
    _due: float = 0.0
    _last: int = -1

    def due(self, at: int) -> float:
        """Seconds after the start at which what was said at ``at`` is to be said now."""
        if not self.factor:
            return 0.0
        wait = 0.0 if self._last < 0 else max(0, at - self._last) / 1e9
        self._last = at
        self._due += (min(wait, IDLE) if self.jump else wait) / self.factor
        return self._due


@dataclass(slots=True)
class Line:
    """A connection to ``to`` that is logged in."""

    sock: socket.socket
    to: Place
    tls: ssl.SSLContext | None
    entry: Entry


def log_in(to: Place, entry: Entry, make: Callable[[], ssl.SSLContext]) -> Line:
    """Connect and log in. OSError, and what Entry raises."""
    sock = to.connect()
    tls: ssl.SSLContext | None = None
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while not entry.done:
            sock.sendall(entry.outgoing())
            if entry.receive(sock.recv(READ)):
                tls = make()
                sock = secured = tls.wrap_socket(sock, server_hostname=to.host)
                entry.upgraded(binding(secured))
    except BaseException:
        sock.close()
        raise
    return Line(sock, to, tls, entry)


def drive(line: Line, replay: Replay, pace: Pace, timeout: float, tell: Callable[[], None]) -> None:
    """Until the replay is over. ``tell`` is called whenever there may be findings.
    UnreadableError when the server makes no sense, FormatError when the recording does not."""
    sock = line.sock
    sock.setblocking(False)
    start = heard = time.monotonic()
    said, said_at = -1, start
    owed = bytearray()
    due: float | None = None
    parted = 0.0
    hear(replay, line.entry.rest, owed)
    while not replay.over:
        now = time.monotonic()
        wait: float | None = None
        while len(owed) < READ and (send := replay.next_out()) is not None:
            if due is None:
                due = start + pace.due(send.due)
                if not send.raw and not pace.factor:
                    behind = max(0, send.due - said) / 1e9 if said >= 0 else 0.0
                    due = said_at + min(max(behind, CANCEL_WAITS[0]), CANCEL_WAITS[1])
            if due > now:
                wait = due - now
                break
            if pace.factor:
                replay.tally.lag = max(replay.tally.lag, now - due)
            if not send.raw:
                cancel(line.to, line.entry.key, line.tls)
            owed += send.raw
            said, said_at, due = send.due, now, None
            replay.sent()
        if replay.over and not owed:
            break
        ready = hold(sock, bool(owed), STALL if wait is None else min(wait, STALL))
        if owed and ready[1]:
            try:
                del owed[: sock.send(owed)]
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                pass
            except OSError:
                owed.clear()  # what it still says comes first, then its end of stream
                heard = min(heard, now)
        if ready[0]:
            try:
                data = sock.recv(READ)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                continue
            except OSError:
                data = b""
            heard = time.monotonic()
            if not data:
                replay.closed()
            hear(replay, data, owed)
        elif not owed and wait is None and replay.next_out() is None:
            silent = time.monotonic() - max(heard, said_at)
            if silent >= timeout:
                replay.timeout()
            elif silent >= STALL:
                replay.quiet()
        if not replay.waits:
            parted = 0.0
        elif not parted:
            parted = time.monotonic()
        elif time.monotonic() - parted >= timeout:
            replay.timeout()  # it says ever more that was not said then
        tell()
    replay.finish()
    tell()


def hear(replay: Replay, data: bytes, owed: bytearray) -> None:
    """Give it bytes, and queue what it must say to them."""
    if data:
        owed += replay.receive(data)


def hold(sock: socket.socket, writing: bool, seconds: float) -> tuple[bool, bool]:
    """Until it can be read (or written), for ``seconds`` at most."""
    if isinstance(sock, ssl.SSLSocket) and sock.pending():
        return True, writing
    # Not select(), which knows no descriptor above 1023.
    waiting = select.poll()
    waiting.register(sock, select.POLLIN | (select.POLLOUT if writing else 0))
    found = sum(event for _, event in waiting.poll(max(0.0, seconds) * 1000))
    ended = select.POLLHUP | select.POLLERR
    return bool(found & (select.POLLIN | ended)), bool(found & (select.POLLOUT | ended))


def chance(size: int) -> bytes:
    """Random bytes."""
    return os.urandom(size)
