"""N workers on inherited sockets: started, watched, drained.

Each worker is a process of its own with one trio.run. The supervisor binds the
sockets, so that a worker that dies takes no listener with it, and starts a new
one in its place, ever more slowly when it keeps dying.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from gateway.config import Config

POLL_SECONDS = 0.1
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
PATIENCE_SECONDS = 60.0
"""From SIGTERM until a worker that still runs is killed: longer than a drain."""
SOUND_SECONDS = 60.0
"""A worker that lived this long starts with a clean slate."""


@dataclass(slots=True)
class Staff:
    """One place for a worker."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    since: float = 0.0
    pause: float = FIRST_PAUSE
    due: float = 0.0


class Supervisor:
    """Runs until SIGTERM or SIGINT; ``run`` returns the exit code."""

    def __init__(
        self, config: Config, sockets: list[socket.socket], workers: int, *, debug: bool
    ) -> None:
        self._config = config
        self._sockets = sockets
        self._debug = debug
        self._staff = [Staff(number) for number in range(workers)]
        self._stopping = False
        self._patience = 0.0
        self._signals: list[int] = []

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda got, _frame: self._signals.append(got))
        while True:
            for got in self._signals[:]:
                self._signals.remove(got)
                self._pass_on(got)
            alive = self._look_after()
            if self._stopping and time.monotonic() > self._patience:
                self._kill()
            if self._stopping and not alive:
                return 0
            time.sleep(POLL_SECONDS)

    def _pass_on(self, number: int) -> None:
        if number != signal.SIGHUP:
            if not self._stopping:
                self._patience = time.monotonic() + PATIENCE_SECONDS
            self._stopping = True
            number = signal.SIGTERM
            # The workers close theirs. Were ours left open, newcomers would wait in
            # the backlog for as long as the drain takes.
            for sock in self._sockets:
                sock.close()
        for place in self._staff:
            if place.process is not None and place.process.poll() is None:
                place.process.send_signal(number)

    def _kill(self) -> None:
        """A worker that does not come to its end hangs; its journal is
        recovered at the next start."""
        for place in self._staff:
            if place.process is not None and place.process.poll() is None:
                place.process.kill()

    def _look_after(self) -> int:
        """Reap, restart; the number of workers that run."""
        now = time.monotonic()
        alive = 0
        for place in self._staff:
            process = place.process
            if process is not None:
                code = process.poll()
                if code is None:
                    alive += 1
                    continue
                place.process = None
                if not self._stopping:
                    lived = now - place.since
                    sound = lived >= SOUND_SECONDS
                    place.pause = FIRST_PAUSE if sound else min(place.pause * 2, LONGEST_PAUSE)
                    place.due = now + place.pause
                    print(
                        f"gateway: worker {place.number} ended with {code} after {lived:.0f} s; "
                        f"a new one starts in {place.pause:g} s",
                        file=sys.stderr,
                        flush=True,
                    )
            if not self._stopping and place.process is None and now >= place.due:
                self._start(place)
                alive += place.process is not None
        return alive

    def _start(self, place: Staff) -> None:
        fds = [sock.fileno() for sock in self._sockets]
        argv = [sys.executable, "-m", "gateway.cli", "worker", "--config", str(self._config.path)]
        argv += ["--number", str(place.number), "--sockets", ",".join(map(str, fds))]
        if self._debug:
            argv.append("--debug")
        place.since = time.monotonic()
        try:
            place.process = subprocess.Popen(
                argv, pass_fds=fds, env=os.environ, cwd=Path.cwd(), start_new_session=True
            )
        except OSError as error:
            place.pause = min(place.pause * 2, LONGEST_PAUSE)
            place.due = place.since + place.pause
            why = f"can't be started: {error.strerror}; again in {place.pause:g} s"
            print(f"gateway: worker {place.number} {why}", file=sys.stderr, flush=True)
