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
    "→ and ← (or l and h) ten seconds on and back, 0 to the beginning, < slower, > faster, q leaves"
)
_POLL = 0.2
LEAP = 10 * 10**9
"""Nanoseconds to go on or back by one key."""
_ARROWS = {b"\x1b[C": "l", b"\x1b[D": "h", b"\x1bOC": "l", b"\x1bOD": "h"}


class Quit(Exception):
    """Whoever watches has seen enough."""


class Back(Exception):
    """Whoever watches wants to see it again from ``to``, nanoseconds after the start."""

    def __init__(self, to: int) -> None:
        super().__init__(to)
        self.to = to


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
        while raw[:1] == b"\x1b" and len(raw) < 3 and select.select([sys.stdin], [], [], 0.02)[0]:
            raw += os.read(sys.stdin.fileno(), 1)
        return _ARROWS.get(raw) or raw.decode("ascii", "replace")


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
        self._leap = 0
        """Nothing is waited for before this."""

    def restart(self, begin: int) -> None:
        """The session is played again, seen from ``begin``."""
        self._begin = self._last = begin
        self._jumping, self._leap = False, 0

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
        wait = (at - max(self._last, self._leap)) / 1e9
        before, self._last = self._last, at
        if self._limit is not None:
            wait = min(wait, self._limit)
        if self._jumping or not self._speed:
            wait = 0.0
        if not self._keyboard.on and wait > 0:
            time.sleep(wait / self._speed)
            return
        while wait > 0 or (self._paused and at >= self._leap):
            began = time.monotonic()
            turn = _POLL if self._paused else min(_POLL, wait / self._speed)
            key = self._keyboard.key(turn)
            if not self._paused:
                wait -= (time.monotonic() - began) * self._speed
            # Where it is now: on the way from what was before to what is next.
            now = max(before, at - int(max(0.0, wait) * 1e9))
            if self._does(key, now):
                return
            if key == "l":
                wait = min(wait, (at - self._leap) / 1e9)

    def _does(self, key: str, now: int) -> bool:
        """Act on ``key``, pressed ``now`` in the session; True: don't wait any longer for
        what is next."""
        if key == "q":
            raise Quit
        if key == "0":
            raise Back(0)
        if key == "h":
            raise Back(max(0, now - LEAP))
        if key == "l":
            self._leap = now + LEAP
        if key == " ":
            self._paused = not self._paused
        elif key in ("<", ">"):
            factor = self._speed * (2 if key == ">" else 0.5)
            self._speed = min(1000.0, max(0.01, factor))
        elif key == "]":
            self._jumping, self._paused = True, False
            return True
        return key in (".", "\n", "\r")
