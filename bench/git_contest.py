"""What the scenarios of git share: the server, and taking turns on it."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.figures import BenchFault, Check, Metric
from bench.git_bulk import fill
from bench.git_contenders import MAKERS, GitContender
from bench.lab import Lab
from bench.process import Meter
from bench.scenario import BASES, BRIEFLY, Measure
from bench.settings import Settings
from bench.starting import started
from bench.wirewarden import owed_by
from gateway.demo.git_client import GitFailed
from gateway.demo.postgres import NoServer
from gateway.demo.ssh_server import SshServer


class GitContest:
    """A scenario between contenders for git; ``turn`` measures one of them."""

    name = ""
    about = ""
    metrics: tuple[Metric, ...] = ()
    bases: tuple[str, ...] = BASES
    contenders: tuple[str, ...] = tuple(MAKERS)
    most_rounds = 0
    warm_up = True
    briefly: tuple[str, ...] = BRIEFLY
    in_quick = True

    server: SshServer
    folder: Path

    def entrants(self, settings: Settings) -> Sequence[str]:
        return settings.among(self.contenders, self.briefly)

    def cases(self, settings: Settings) -> Sequence[str]:
        raise NotImplementedError

    def owed(self, entrants: Sequence[str]) -> Sequence[str]:
        return owed_by(entrants)

    def guess(self, settings: Settings) -> tuple[float, float]:
        return 2.0, 1.0

    def prepare(self, lab: Lab) -> None:
        """The data, on ``self.server`` and in ``self.folder``."""

    def turn(self, lab: Lab, contender: GitContender, case: str, warm: bool) -> Mapping[str, float]:
        raise NotImplementedError

    @contextlib.contextmanager
    def stage(
        self, lab: Lab, names: Sequence[str], checks: list[Check], skipped: dict[str, str]
    ) -> Iterator[Measure]:
        with contextlib.ExitStack() as stack:
            try:
                self.server = stack.enter_context(SshServer())
            except NoServer as missing:
                skipped.update(dict.fromkeys(names, str(missing)))
                yield lambda case, entrant, warm: {}
                return
            self.folder = Path(tempfile.mkdtemp(prefix="bench-git-"))
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            lab.say(f"preparing {self.name}")
            self.prepare(lab)
            contenders = [MAKERS[name](self.server, self.folder) for name in names]
            with started(contenders, checks, skipped) as running:

                def measure(case: str, entrant: str, warm: bool) -> Mapping[str, float]:
                    try:
                        return self.turn(lab, running[entrant], case, warm)
                    except GitFailed as error:
                        raise BenchFault(f"{entrant}: {error}") from error

                before = lab.server_meter
                lab.running, lab.server_meter = running, Meter(self.server.pid, ended=True)
                try:
                    yield measure
                finally:
                    lab.running, lab.server_meter = {}, before
                lab.say("verifying what was recorded")

    def bulk(self, name: str, megabytes: float, *, seed: int = 1) -> int:
        """A repository of this size on the server; the bytes of its pack."""
        return fill(self.server.root / f"{name}.git", megabytes, seed=seed)

    def tip(self, name: str, ref: str = "refs/heads/main") -> str:
        """What the server has."""
        return self.server.git(name, "rev-parse", "--verify", ref)


class Costs:
    """Time, CPU and memory of one piece of work of a contender."""

    def __init__(self, contender: GitContender) -> None:
        self._meter = contender.meter
        if self._meter is not None:
            self._meter.forget_peak()
        self._cpu = self._meter.cpu() if self._meter else 0.0
        self._held = self._meter.rss() if self._meter else 0
        self._start = time.perf_counter()

    def stop(self) -> float:
        """Seconds since the start; what it cost is settled from now on."""
        self.seconds = time.perf_counter() - self._start
        if self._meter is not None:
            self._spent = self._meter.cpu() - self._cpu
            self._peak = self._meter.peak()
        return self.seconds

    def told(self, work: float) -> dict[str, float]:
        """``cpu`` and ``cpu after`` in ms per unit of ``work``, ``peak`` and
        ``growth`` in MB; nothing for one without a process."""
        if self._meter is None:
            return {}
        self._meter.settle(60)
        after = self._meter.cpu() - self._cpu - self._spent
        return {
            "cpu": self._spent / work * 1e3,
            "cpu after": after / work * 1e3,
            "peak": self._peak / 1e6,
            "growth": max(0, self._peak - self._held) / 1e6,
        }


COSTS = (
    Metric("peak", "MB", "less"),
    Metric("growth", "MB", "less"),
)
"""What every scenario tells of the contender's process."""
