"""``bench profile SCENARIO``: a flame graph of the gateway under that load."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from bench import flame
from bench.alone import Alone
from bench.figures import BenchFault, Check
from bench.lab import Lab
from bench.sampler import Sampler
from bench.scenario import FAULTS, Scenario
from bench.settings import Settings
from bench.wirewarden import Gateway

RATE = 250
"""Samples a second."""
PATIENCE = 60.0
DESCRIPTION = """\
Runs one case of a scenario against one contender, again and again, and samples
its stacks with py-spy (with the frames of compiled modules), or where py-spy
can't attach (it needs ptrace: root, or kernel.yama.ptrace_scope=0) with a thread
within the process. Writes an SVG: a click looks closer. Scenarios of one part
alone are sampled in this process."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "profile",
        help="a flame graph of the gateway under the load of a scenario",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", metavar="SCENARIO", help="see list")
    parser.add_argument("--case", help="default: the last one")
    parser.add_argument(
        "--contender",
        default="gateway os",
        help="or a variant (default: %(default)s, or the first)",
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="of load (default %(default)g)")
    parser.add_argument(
        "--rate", type=int, default=RATE, help="samples a second (default %(default)s)"
    )
    parser.add_argument("--all", action="store_true", help="sizes as in run --all")
    parser.add_argument(
        "--sampler", choices=("py-spy", "thread"), help="default: py-spy, where it can attach"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE",
        help="default: build/bench/profile-SCENARIO.svg; stacks go beside it (.folded)",
    )  # fmt: skip
    parser.set_defaults(do=run)


def run(args: argparse.Namespace) -> int:
    """The exit code."""
    from bench.scenarios import ALL

    chosen = {scenario.name: scenario for scenario in ALL}.get(args.scenario)
    if chosen is None:
        print(f"bench: no scenario {args.scenario!r}; see python -m bench list", file=sys.stderr)
        return 2
    settings = Settings.of_all() if args.all else Settings()
    settings = replace(settings, rounds=1, seconds=max(1, round(args.seconds)), minutes=0)
    cases = list(chosen.cases(settings))
    case = args.case or cases[-1]
    entrants = list(chosen.entrants(settings))
    entrant = args.contender if args.contender in entrants else entrants[0]
    if case not in cases or (args.contender not in (entrant, "gateway os")):
        print(f"bench: cases {cases}, contenders {entrants}", file=sys.stderr)
        return 2
    output = args.output or Path("build/bench") / f"profile-{chosen.name}.svg"
    try:
        stacks, how = sampled(chosen, settings, case, entrant, args)
    except FAULTS as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    stacks = flame.at_work(stacks)
    if not stacks:
        print("bench: no stack was seen: was there any load?", file=sys.stderr)
        return 1
    output.parent.mkdir(parents=True, exist_ok=True)
    title = f"{entrant}: {chosen.name}, {case}"
    about = f"{sum(stacks.values()):,} samples of threads at work, {how}; width is time"
    output.write_text(flame.draw(stacks, title, about), "utf-8")
    lines = (f"{stack} {count}" for stack, count in sorted(stacks.items()))
    output.with_suffix(".folded").write_text("\n".join(lines) + "\n")
    print("\n".join(flame.told(stacks)))
    print(f"the flame graph: {output}")
    return 0


def sampled(
    scenario: Scenario, settings: Settings, case: str, entrant: str, args: argparse.Namespace
) -> tuple[Counter[str], str]:
    """Stacks under load, and how they were taken."""

    def say(text: str) -> None:
        print(f"bench: {text}", file=sys.stderr, flush=True)

    checks: list[Check] = []
    skipped: dict[str, str] = {}
    spy = args.sampler or ("py-spy" if _py_spy() else "thread")
    with Lab(settings, say) as lab, contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-profile-")))
        taken = folder / "stacks"
        if spy == "thread":
            stack.enter_context(_within(taken))
        measure = stack.enter_context(scenario.stage(lab, [entrant], checks, skipped))
        if skipped:
            raise BenchFault(f"{entrant} can't run: {skipped[entrant]}")
        running = lab.running.get(entrant)
        meter = running.meter if running is not None else None
        if running is not None and meter is None:
            raise BenchFault(f"{entrant} has no process of its own")

        def load() -> None:
            end = time.monotonic() + args.seconds
            while time.monotonic() < end:
                measure(case, entrant, False)

        measure(case, entrant, True)
        say(f"sampling {entrant} in {scenario.name}, {case}")
        if isinstance(scenario, Alone) or running is None:
            return _own(load), "a thread of the process itself, Python's frames only"
        assert meter is not None
        if spy == "thread":
            return _signalled(
                meter.pid, taken, load
            ), "a thread of the process, Python's frames only"
        native = "native frames too"
        return _spied(meter.pid, taken, args.rate, load), f"py-spy at {args.rate} Hz, {native}"


def _py_spy() -> str:
    """Its path, "" where it is missing or can't attach to other processes."""
    found = shutil.which(
        "py-spy", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    )
    if found is None or os.geteuid() == 0:
        return found or ""
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    return found if scope.exists() and scope.read_text().strip() == "0" else ""


def _spied(pid: int, taken: Path, rate: int, load: Callable[[], None]) -> Counter[str]:
    with subprocess.Popen(
        [_py_spy() or "py-spy", "record", "--pid", str(pid), "--rate", str(rate), "--native",
         "--function", "--format", "raw", "--output", str(taken), "--duration", "unlimited"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            time.sleep(0.5)  # it attaches
            load()
        finally:
            process.send_signal(signal.SIGINT)  # it writes what it saw, and ends
            said, _ = process.communicate(timeout=PATIENCE)
    if not taken.exists():
        raise BenchFault(f"py-spy saw nothing: {said.strip()[-300:]}")
    return flame.folded(taken.read_text(errors="backslashreplace"))


@contextlib.contextmanager
def _within(taken: Path) -> Iterator[None]:
    """Gateways that start meanwhile can sample themselves."""
    before = Gateway.through
    Gateway.through = ("bench.sampler", str(taken))
    try:
        yield
    finally:
        Gateway.through = before


def _signalled(pid: int, taken: Path, load: Callable[[], None]) -> Counter[str]:
    os.kill(pid, signal.SIGUSR1)
    load()
    os.kill(pid, signal.SIGUSR2)
    end = time.monotonic() + PATIENCE
    while not taken.exists():
        if time.monotonic() > end:
            raise BenchFault("the gateway did not write its stacks")
        time.sleep(0.05)
    return flame.folded(taken.read_text())


def _own(load: Callable[[], None]) -> Counter[str]:
    sampler = Sampler(threading.main_thread().ident or 0)
    sampler.start()
    load()
    return sampler.stop()
