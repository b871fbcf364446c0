"""How a session is played: at its own speed, and by the keys of whoever watches."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import time
import tty
from types import TracebackType

KEYS = (
    "space pauses, . goes on by one, ] to the next command, Enter ends a wait, "
    "< slower, > faster, q leaves"
)
_POLL = 0.2


class Quit(Exception):
    """Whoever watches has seen enough."""


class Keyboard:
    """Single keys from the terminal, while it is in use as a context manager. Without a
    terminal on stdin there are none."""

    def __init__(self, wanted: bool) -> None:
        self.on = wanted and sys.stdin.isatty()
        self._saved: list[object] = []

    def __enter__(self) -> Keyboard:
        if self.on:
            self._saved = list(termios.tcgetattr(sys.stdin))
            tty.setcbreak(sys.stdin)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if self.on:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._saved)  # type: ignore[arg-type]

    def key(self, seconds: float) -> str:
        """The next key within ``seconds``, "" for none."""
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        if not ready:
            return ""
        raw = os.read(sys.stdin.fileno(), 1)
        if not raw:
            self.on = False  # hung up
            return "q"
        return raw.decode("ascii", "replace")


class Pace:
    """Waits as long as the recording did. ``speed`` 0.0 waits never; ``limit`` is the
    longest wait in recorded seconds; what is before ``begin`` (nanoseconds) goes unseen."""

    def __init__(
        self,
        speed: float,
        limit: float | None,
        keyboard: Keyboard,
        begin: int = 0,
        paused: bool = False,
    ) -> None:
        self._speed = speed
        self._limit = limit
        self._keyboard = keyboard
        self._begin = begin
        self._paused = paused and keyboard.on
        self._jumping = False
        self._last = begin

    def shows(self, at: int) -> bool:
        """Is what happened at ``at`` to be seen?"""
        return at >= self._begin

    def until(self, at: int, command: bool = False) -> None:
        """Wait for what comes at ``at``; ``command``: it is one. Raises Quit."""
        if not self.shows(at):
            return
        if command and self._jumping:
            # There it is; what it was jumped over is not waited for.
            self._jumping, self._last = False, at
        wait = (at - self._last) / 1e9
        self._last = at
        if self._limit is not None:
            wait = min(wait, self._limit)
        if self._jumping or not self._speed:
            wait = 0.0
        if not self._keyboard.on and wait > 0:
            time.sleep(wait / self._speed)
            return
        while wait > 0 or self._paused:
            began = time.monotonic()
            turn = _POLL if self._paused else min(_POLL, wait / self._speed)
            key = self._keyboard.key(turn)
            if not self._paused:
                wait -= (time.monotonic() - began) * self._speed
            if self._does(key):
                return

    def _does(self, key: str) -> bool:
        """Act on ``key``; True: don't wait any longer for what is next."""
        if key == "q":
            raise Quit
        if key == " ":
            self._paused = not self._paused
        elif key in ("<", ">"):
            factor = self._speed * (2 if key == ">" else 0.5)
            self._speed = min(1000.0, max(0.01, factor))
        elif key == "]":
            self._jumping, self._paused = True, False
            return True
        return key in (".", "\n", "\r")
