"""The straight gear without sockets: µs per stage of a transaction."""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.alone import Alone, per_call
from bench.contenders import ROOT
from bench.figures import BenchFault, Check, Metric
from bench.lab import Lab
from bench.settings import Settings
from bench.straight import ASKED, STAGES, Track, drive, watched
from bench.wirewarden import write_config

WARM = 200
BATCHES = 10
ANSWERED = b"x" * 71
"""As long as the answer to ``ASKED``."""


class Straight(Alone):
    """A prepared -S transaction through a real session between dry legs."""

    name = "straight"
    about = "straight gear without its inner loop, no sockets: a prepared -S transaction, by stage"
    metrics = (
        Metric("total", "µs/tx", "less"),
        *(Metric(stage, "µs/tx", "less") for stage in STAGES),
    )
    variants = ("gateway os", "no mask rules", "system calls")

    def cases(self, settings: Settings) -> Sequence[str]:
        several = "32 sessions per round"
        return [several] if settings.smoke else ["1 session per round", several]

    def prepare(self, lab: Lab) -> None:
        lab.accounts()
        self._verified = 0

    def turn(self, lab: Lab, entrant: str, case: str, seconds: float) -> Mapping[str, float]:
        sessions = int(case.split(maxsplit=1)[0])
        if entrant == "system calls":
            return {"total": system_calls(sessions, seconds) * 1e6}
        folder = Path(tempfile.mkdtemp(prefix="straight-", dir=lab.folder))
        door = write_config(folder, lab.server, "os", masks=entrant != "no mask rules")
        measured: dict[str, float] = {}

        def work(track: Track) -> None:
            warm = track.batch(max(1, WARM // sessions)) / max(1, WARM // sessions)
            # The best of several batches: what disturbs a batch only makes it longer.
            rounds = max(1, int(seconds / 2 / BATCHES / warm))
            count = rounds * sessions
            measured["total"] = min(track.batch(rounds) for _ in range(BATCHES)) / count * 1e6
            best = float("inf")
            with watched(track) as watch:
                for _ in range(BATCHES):
                    watch.own.update(dict.fromkeys(STAGES, 0))
                    took = track.batch(rounds)
                    if took < best:
                        best = took
                        stages = {stage: own / count / 1e3 for stage, own in watch.own.items()}
                        measured.update(stages)

        try:
            drive(folder / "gateway.toml", door.password, sessions, work)
            self._verify(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return measured

    def _verify(self, folder: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "recorder.cli", "verify", "--all"],
            env=os.environ | {"WIREWARDEN_STATE": str(folder / "state")},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BenchFault(f"recordings don't verify: {done.stdout[-300:]}{done.stderr[-300:]}")
        self._verified += 1

    def checks(self) -> list[Check]:
        return [Check("recordings verify", self._verified > 0, f"of {self._verified} turns")]


def system_calls(sessions: int, seconds: float) -> float:
    """Seconds per transaction of what the kernel does for the legs of as many
    sessions: wait, receive and send, twice. This process does both ends of
    TCP over loopback, so the peers' sends are in it, and what it gives is an
    upper bound."""
    server = socket.create_server(("127.0.0.1", 0), backlog=sessions)
    epoll = select.epoll()
    pairs = []
    by_fd = {}
    for _ in range(sessions):
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
        for sock in (near, far):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
        epoll.register(far.fileno(), select.EPOLLIN)
        pairs.append((near, far))
        by_fd[far.fileno()] = far

    def once() -> None:
        for data in (ASKED, ANSWERED):
            for near, _ in pairs:
                near.send(data)
            left = sessions
            while left:
                for fd, _ in epoll.poll(0, 256):
                    by_fd[fd].recv(16384)
                    left -= 1

    try:
        return per_call(once, seconds) / sessions
    finally:
        epoll.close()
        server.close()
        for near, far in pairs:
            near.close()
            far.close()


SCENARIOS = (Straight(),)
