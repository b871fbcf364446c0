"""pgbench: short transactions, by protocol and number of clients."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.contenders import Contender
from bench.figures import BenchFault, Measured, Metric
from bench.lab import MAKERS, Lab
from bench.latency import METRICS as PERCENTILES
from bench.latency import of_pgbench
from bench.scenario import BRIEFLY, POSTGRES, Contest
from bench.settings import Settings

CONNECT_SECONDS = 60.0
WARM_SECONDS = 0.5
LEAST = ("direct", "pgbouncer", "gateway os")
AFTER_CONNECT = 0.02
"""From the last client's socket to the first transaction, roughly."""
LONGER = "600"
"""pgbench's -T counts connecting too, so that nothing is left of a short one with
many clients. It is told to go on, and when its time has come it gets the signal of
its own timer, after which it ends transactions and reports as always."""
_TPS = re.compile(r"tps = ([\d.]+) \(without")
_LATENCY = re.compile(r"latency average = ([\d.]+) ms")
_COUNT = re.compile(r"transactions actually processed: (\d+)")
_FAILED = re.compile(r"failed transactions: (\d+)")


class Pgbench(Contest):
    """``pgbench`` with ``options`` in protocol ``mode``."""

    metrics = (
        Metric("tps", "/s", "more"),
        Metric("latency", "ms", "less"),
        *PERCENTILES,
        Metric("cpu", "µs/tx", "less"),
        Metric("cpu after", "µs/tx", "less"),
        Metric("peak", "MB", "less"),
    )

    def __init__(
        self,
        name: str,
        about: str,
        mode: str,
        options: Sequence[str],
        *,
        contenders: Sequence[str] = POSTGRES,
        briefly: Sequence[str] = LEAST,
        quick: Sequence[int] = (8,),
        in_quick: bool = True,
    ) -> None:
        """``quick``: the numbers of clients where time is short, and ``briefly`` who
        runs then; none: the settings', and every contender."""
        self.name = name
        self.about = about
        self.contenders = tuple(contenders)
        self._mode = mode
        self._options = tuple(options)
        self._quick = tuple(quick)
        self.briefly = tuple(briefly) if quick else ()
        self.in_quick = in_quick

    def cases(self, settings: Settings) -> Sequence[str]:
        usual = settings.clients == Settings().clients
        return [f"-c {n}" for n in (self._quick if usual and self._quick else settings.clients)]

    def prepare(self, lab: Lab) -> None:
        lab.accounts()

    def turn(self, lab: Lab, contender: Contender, case: str, warm: bool) -> Mapping[str, float]:
        clients = int(case.split()[1])
        smoke = lab.settings.smoke
        seconds = WARM_SECONDS if warm else lab.settings.seconds
        length = ("-t", "20") if smoke else ("-T", LONGER)
        logs = Path(tempfile.mkdtemp(prefix="pgbench-", dir=lab.folder))
        meter = contender.meter
        if meter is not None:
            meter.forget_peak()
        process = subprocess.Popen(
            [
                lab.tool("pgbench"), *self._options, "-n", "-M", self._mode,
                "-c", str(clients), "-j", "1", "--log", "--log-prefix", str(logs / "log"), *length,
            ],
            start_new_session=True,
            env=contender.door.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        try:
            # CPU is counted while transactions run, not while clients connect.
            _await_clients(process, clients)
            start, before = time.monotonic(), meter.cpu() if meter else 0.0
            time.sleep(0.01 if smoke else seconds)
            window, spent = time.monotonic() - start, (meter.cpu() if meter else 0.0) - before
            if not smoke:
                process.send_signal(signal.SIGALRM)
            out, err = process.communicate(timeout=CONNECT_SECONDS)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        found = [pattern.search(out) for pattern in (_TPS, _LATENCY, _COUNT)]
        failed = _FAILED.search(out)
        if process.returncode or not all(found) or (failed and int(failed[1])):
            raise BenchFault(f"pgbench {contender.name} {case}: {(err or out).strip()[-500:]}")
        tps, latency, count = (float(match[1]) for match in found if match)
        measured = Measured({"tps": tps, "latency": latency})
        measured.latency = of_pgbench(logs)
        shutil.rmtree(logs)
        if measured.latency.count != count:
            raise BenchFault(f"{contender.name}: {measured.latency.count} of {count} were timed")
        measured.update(measured.latency.metrics())
        if meter is not None and tps and count:
            ended = meter.cpu()
            meter.settle()
            measured["cpu"] = spent / window / tps * 1e6
            measured["cpu after"] = (meter.cpu() - ended) / count * 1e6
            measured["peak"] = meter.peak() / 1e6
        return measured


def _await_clients(process: subprocess.Popen[str], clients: int) -> None:
    """Until pgbench has opened all its connections. With one client its
    connection for looking around counts as that one."""
    end = time.monotonic() + CONNECT_SECONDS
    while process.poll() is None and time.monotonic() < end:
        if _sockets(process.pid) >= clients:
            break
        time.sleep(0.002)
    time.sleep(AFTER_CONNECT)


def _sockets(pid: int) -> int:
    count = 0
    try:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            count += str(link.readlink()).startswith("socket:")
    except OSError:
        pass  # it ended, or a descriptor closed meanwhile
    return count


SELECT = "one row by its key (pgbench -S)"
TPCB = "pgbench's TPC-B-like transaction of 7 commands"
SCENARIOS = (
    Pgbench(
        "select-prepared",
        f"{SELECT}, prepared statements",
        "prepared",
        ("-S",),
        contenders=tuple(MAKERS),
        quick=(),
    ),
    Pgbench("select-simple", f"{SELECT}, simple protocol", "simple", ("-S",)),
    Pgbench("select-extended", f"{SELECT}, extended protocol", "extended", ("-S",)),
    Pgbench("tpcb", f"{TPCB}, prepared", "prepared", (), briefly=BRIEFLY),
    Pgbench("tpcb-simple", f"{TPCB}, simple protocol", "simple", (), in_quick=False),
    Pgbench("tpcb-extended", f"{TPCB}, extended protocol", "extended", (), in_quick=False),
)
