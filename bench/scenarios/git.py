"""git over SSH: clone, push and fetch of much, many small clones, connecting."""

from __future__ import annotations

import shutil
import signal
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.figures import BenchFault, Measured, Metric
from bench.git_bulk import fill
from bench.git_contenders import GitContender, url
from bench.git_contest import COSTS, Costs, GitContest
from bench.lab import Lab
from bench.latency import METRICS as PERCENTILES
from bench.latency import Latency
from bench.settings import Settings

WARM = "warm-up"
WARM_MB = 2
SMALL_MB = 0.1
LONGEST = 1200.0
PRODUCT = ("direct", "proxyjump", "gateway os", "gateway disk")
"""Without the gateway of the bench that records nothing."""

BULK_METRICS = (
    Metric("speed", "MB/s", "more"),
    Metric("cpu", "ms/MB", "less"),
    Metric("cpu after", "ms/MB", "less"),
    *COSTS,
)


class Bulk(GitContest):
    """One transfer of each of ``--git-sizes`` MB at a time."""

    metrics = BULK_METRICS

    def cases(self, settings: Settings) -> Sequence[str]:
        return [f"{size} MB" for size in settings.git_sizes]

    def guess(self, settings: Settings) -> tuple[float, float]:
        most = max(settings.git_sizes)
        return 4 + most / 20, (0.8 + most / 20) / len(settings.git_sizes)

    def prepare(self, lab: Lab) -> None:
        self.size: dict[str, int] = {}
        self.tips: dict[str, str] = {}
        sizes = dict(zip(self.cases(lab.settings), lab.settings.git_sizes, strict=True))
        warm = {} if lab.settings.smoke else {WARM: WARM_MB}
        for seed, (case, size) in enumerate({**warm, **sizes}.items(), 1):
            self.size[case] = self.bulk(self.source(case), size, seed=seed)
            self.tips[case] = self.tip(self.source(case))

    @staticmethod
    def source(case: str) -> str:
        """The repository of a case."""
        return f"bench/of-{case.partition(' ')[0]}"

    def told(self, costs: Costs, size: int) -> Mapping[str, float]:
        megabytes = size / 1e6
        return {"speed": megabytes / costs.seconds} | costs.told(megabytes)


class Clone(Bulk):
    """``git clone --bare``: git checks every object that comes."""

    name = "git-clone"
    briefly = ()
    about = "git clone --bare of one large repository"

    def turn(self, lab: Lab, contender: GitContender, case: str, warm: bool) -> Mapping[str, float]:
        case = WARM if warm else case
        copy = self.folder / "clone"
        costs = Costs(contender)
        contender.client.git(
            "clone", "-q", "--bare", url(contender, self.source(case)), copy, timeout=LONGEST
        )
        costs.stop()
        got = contender.client.git("rev-parse", "main", cwd=copy)
        if got != self.tips[case]:
            raise BenchFault(f"{contender.name}: cloned {got}")
        shutil.rmtree(copy)
        return self.told(costs, self.size[case])


class Push(Bulk):
    """A push into an empty repository: everything in one pack."""

    name = "git-push"
    contenders = PRODUCT
    about = "git push of one large repository into an empty one"

    def prepare(self, lab: Lab) -> None:
        super().prepare(lab)
        self._count = 0

    def turn(self, lab: Lab, contender: GitContender, case: str, warm: bool) -> Mapping[str, float]:
        case = WARM if warm else case
        self._count += 1
        name = f"bench/push-{self._count}"
        there = self.server.create(name)
        # From the server's own copy: git sends the same pack every time.
        source = self.server.root / f"{self.source(case)}.git"
        costs = Costs(contender)
        contender.client.git(
            "push", "-q", url(contender, name), "main", cwd=source, timeout=LONGEST
        )
        costs.stop()
        if self.tip(name) != self.tips[case]:
            raise BenchFault(f"{contender.name}: the server has {self.tip(name)}")
        shutil.rmtree(there)
        return self.told(costs, self.size[case])


class Fetch(Bulk):
    """A clone that has the first half gets the second."""

    name = "git-fetch"
    contenders = PRODUCT
    about = "git fetch of the second half into a clone of the first"

    def prepare(self, lab: Lab) -> None:
        super().prepare(lab)
        self._halves: dict[str, Path] = {}
        for number, case in enumerate(self.size):
            name, there = self.source(case), self.server.root / f"{self.source(case)}.git"
            commits = self.server.git(name, "rev-list", "--first-parent", "main").split()
            self.server.git(name, "branch", "half", commits[len(commits) // 2])
            half = self._halves[case] = self.folder / f"half-{number}.git"
            self.server.git(
                None, "clone", "-q", "--bare", "--single-branch", "--branch", "half",
                "--no-local", f"file://{there}", str(half),
            )  # fmt: skip
            have = sum(f.stat().st_size for f in half.glob("objects/pack/*.pack"))
            self.size[case] -= have
            if self.size[case] <= 0:
                raise BenchFault(f"the second half of {name} is nothing")

    def turn(self, lab: Lab, contender: GitContender, case: str, warm: bool) -> Mapping[str, float]:
        case = WARM if warm else case
        copy = self.folder / "half"
        shutil.copytree(self._halves[case], copy)
        costs = Costs(contender)
        contender.client.git(
            "fetch", "-q", url(contender, self.source(case)), "main:refs/heads/main",
            cwd=copy, timeout=LONGEST,
        )  # fmt: skip
        costs.stop()
        got = contender.client.git("rev-parse", "main", cwd=copy)
        if got != self.tips[case]:
            raise BenchFault(f"{contender.name}: fetched {got}")
        shutil.rmtree(copy)
        return self.told(costs, self.size[case])


class Small(GitContest):
    """Many clients at once, each with a clone of its own."""

    name = "git-small"
    about = "clones of a small repository, all started at once"
    contenders = PRODUCT
    metrics = (
        Metric("time", "s", "less"),
        *PERCENTILES,
        Metric("cpu", "ms/clone", "less"),
        Metric("cpu after", "ms/clone", "less"),
        *COSTS,
    )

    def cases(self, settings: Settings) -> Sequence[str]:
        return [f"{settings.clones} at once"]

    def prepare(self, lab: Lab) -> None:
        self.bulk("bench/small", SMALL_MB)
        self._tip = self.tip("bench/small")

    def turn(self, lab: Lab, contender: GitContender, case: str, warm: bool) -> Mapping[str, float]:
        count = 4 if warm else lab.settings.clones
        copies = [self.folder / f"small-{number}" for number in range(count)]
        source = url(contender, "bench/small")
        costs = Costs(contender)
        began = time.perf_counter()
        running = {
            contender.client.start("clone", "-q", "--bare", source, copy): copy for copy in copies
        }
        took, failed = [], []
        left = set(running)
        while left and time.perf_counter() - began < LONGEST:
            for process in [each for each in left if each.poll() is not None]:
                took.append(time.perf_counter() - began)
                left.discard(process)
            time.sleep(0.002)
        for process in running:
            if process in left:
                process.kill()
            out, _ = process.communicate()
            if process.returncode:
                failed.append(out.strip())
        costs.stop()
        if failed:
            raise BenchFault(
                f"{contender.name}: {len(failed)} of {count} clones failed: {failed[0][-300:]}"
            )
        for copy in copies:
            got = contender.client.git("rev-parse", "main", cwd=copy)
            if got != self._tip:
                raise BenchFault(f"{contender.name}: cloned {got}")
            shutil.rmtree(copy)
        told = Measured({"time": costs.seconds} | costs.told(count))
        told.latency = Latency.of(each * 1e6 for each in took)
        told.update(told.latency.metrics())
        return told


class FirstByte(GitContest):
    """ssh starts, connects, logs in, and git's first byte is there."""

    name = "git-connect"
    about = "connect, log in, first byte of git's advertisement"
    contenders = PRODUCT
    metrics = (
        Metric("latency", "ms", "less"),
        *PERCENTILES,
        Metric("cpu", "ms/connection", "less"),
        *COSTS,
    )

    def cases(self, settings: Settings) -> Sequence[str]:
        return ["one at a time"]

    def prepare(self, lab: Lab) -> None:
        fill(self.server.root / "bench/small.git", SMALL_MB)

    def turn(self, lab: Lab, contender: GitContender, case: str, warm: bool) -> Mapping[str, float]:
        line = f"git-upload-pack '{contender.path('bench/small')}'"
        took: list[float] = []
        costs = Costs(contender)
        # A connection takes a third of a second where nobody is in between.
        short = warm or lab.settings.smoke
        end = time.monotonic() + (0.3 if short else 3 * lab.settings.seconds)
        while time.monotonic() < end or not took:
            took.append(self._connect(contender, line))
        costs.stop()
        told = costs.told(len(took))
        told.pop("cpu after", None)
        measured = Measured({"latency": statistics.median(took) * 1e3} | told)
        measured.latency = Latency.of(each * 1e6 for each in took)
        measured.update(measured.latency.metrics())
        return measured

    @staticmethod
    def _connect(contender: GitContender, line: str) -> float:
        client = contender.client
        start = time.perf_counter()
        with subprocess.Popen(
            ["ssh", "-F", client.ssh_config, client.host, line],
            env=client.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            first = process.stdout.read(1)
            took = time.perf_counter() - start
            if not first:
                _, said = process.communicate(timeout=30)
                raise BenchFault(f"{contender.name}: {said.decode(errors='replace')[-300:]}")
            process.communicate(b"0000", timeout=30)
            if process.returncode not in (0, -signal.SIGPIPE):
                raise BenchFault(f"{contender.name}: ssh ended with {process.returncode}")
        return took


SCENARIOS = (Clone(), Push(), Fetch(), Small(), FirstByte())
