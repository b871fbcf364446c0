"""Turns, failures, Ctrl-C, time left, and what is written."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from bench import cli, targets
from bench.alone import Alone
from bench.contenders import Missing, fresh_port
from bench.figures import BenchFault, Check, Metric
from bench.lab import MAKERS, Lab
from bench.process import Meter
from bench.progress import Progress
from bench.run import Places, run
from bench.scenario import plan_of, play
from bench.scenarios import ALL
from bench.settings import Settings
from bench.starting import started
from bench.unrecorded import Nowhere

ROOT = Path(__file__).resolve().parents[3]


class Turns(Alone):
    """Notes who had a turn; ``fault`` is raised when it says so."""

    name = "turns"
    about = "turns"
    metrics = (Metric("time", "s", "less"),)
    variants = ("a", "b", "c")
    bases = ("a",)

    def __init__(self, fault: Callable[[int, str], None] = lambda number, who: None) -> None:
        self.seen: list[str] = []
        self._fault = fault

    def cases(self, settings: Settings) -> Sequence[str]:
        return ["one"]

    def turn(self, lab: Lab, entrant: str, case: str, seconds: float) -> Mapping[str, float]:
        self.seen.append(entrant)
        self._fault(len(self.seen), entrant)
        return {"time": len(self.seen)}

    def checks(self) -> list[Check]:
        return [Check("done", True)]


def quiet(settings: Settings | None = None) -> Lab:
    return Lab(settings or Settings(), lambda text: None)


def test_contenders_take_turns_and_the_first_round_is_dropped() -> None:
    scenario = Turns()
    found = play(scenario, quiet(), 3)
    assert "".join(scenario.seen) == "abc" * 4
    assert found.cases[0].samples["a"]["time"] == [4, 7, 10]
    assert found.good


def test_one_that_fails_leaves_the_others_measured() -> None:
    def fault(number: int, who: str) -> None:
        if who == "b" and number > 3:
            raise BenchFault("b is broken")

    found = play(Turns(fault), quiet(), 3)
    assert found.cases[0].failed == {"b": "b is broken"}
    assert len(found.cases[0].samples["c"]["time"]) == 3
    assert not found.good
    assert found.failures == ["one: b: b is broken"]


def test_what_nobody_foresaw_is_not_hidden() -> None:
    def fault(number: int, who: str) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        play(Turns(fault), quiet(), 1)


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fault(number: int, who: str) -> None:
        if number == 8:  # in the second round, after a had its turn
            raise KeyboardInterrupt

    never = Turns()
    code = run([Turns(fault), never], Settings(), Places(tmp_path))
    assert code == 130
    assert not never.seen
    found = json.loads((tmp_path / "latest.json").read_text())
    assert found["interrupted"] is True
    times = found["scenarios"][0]["cases"][0]["entrants"]
    assert times["a"]["metrics"]["time"]["samples"] == [4, 7]
    assert times["b"]["metrics"]["time"]["samples"] == [5]
    # Only rounds that both had are compared.
    assert times["b"]["metrics"]["time"]["ratios"]["a"]["samples"] == [5 / 4]
    assert "interrupted" in (tmp_path / "latest.html").read_text()


def test_exit_code_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([Turns()], Settings(), Places(tmp_path, tmp_path / "copy.json")) == 0
    assert json.loads((tmp_path / "copy.json").read_text())["good"] is True
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 5  # a page and JSON with the time in its name, latest of both, the copy
    said = capsys.readouterr()
    assert "turns, one: round 3 of 3" in said.err
    assert re.search(r"about \d+ s left", said.err)

    def fault(number: int, who: str) -> None:
        raise BenchFault("no")

    assert run([Turns(fault)], Settings(), Places()) == 1


def test_missing_programs_are_named_and_do_not_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    class Absent:
        name = "haproxy"
        meter = None

        def start(self) -> None:
            raise Missing("apt-get install haproxy")

    checks: list[Check] = []
    skipped: dict[str, str] = {}
    with quiet().started([Absent()], checks, skipped) as running:  # type: ignore[list-item]
        assert not running
    assert skipped == {"haproxy": "apt-get install haproxy"}
    assert not checks


def test_rounds_are_dropped_to_end_in_time() -> None:
    now = 0.0
    progress = Progress([(10, 10)] * 4, 5, limit=210, clock=lambda: now, out=io.StringIO())
    assert progress.begin() == 4
    assert progress.left == pytest.approx(200)
    now = 100.0  # twice as long as was guessed
    assert progress.begin() == 2  # one warms up, and one counts
    now = 1000.0
    assert progress.begin() == 2


def test_time_left_follows_what_was_seen() -> None:
    now = 0.0
    progress = Progress([(0, 100)] * 2, 1, clock=lambda: now, out=io.StringIO())
    progress.begin()
    assert progress.left == pytest.approx(200)
    now = 50.0
    assert progress.left == pytest.approx(150)
    now = 200.0
    progress.begin()
    assert progress.left == pytest.approx(100 * 220 / 120)


def test_targets_tell_the_worst_case() -> None:
    def case(name: str, median: float) -> dict[str, object]:
        figures = {"median": median}
        return {"name": name, "entrants": {"gateway os": {"metrics": {"memory": figures}}}}

    cases = [case("1,000 sessions", 40.0), case("5,000 sessions", 70.0)]
    (found,) = targets.judged({"scenarios": [{"name": "idle", "cases": cases}]})
    assert (found["case"], found["value"], found["met"]) == ("5,000 sessions", 70.0, False)
    assert targets.judged({"scenarios": []}) == []


def test_every_target_names_what_there_is() -> None:
    """A scenario or metric that was renamed would silence its target."""
    text = (ROOT / "bench" / "targets.py").read_text()
    metrics = {metric.name for scenario in ALL for metric in scenario.metrics}
    names = {scenario.name for scenario in ALL}
    used = re.findall(r'_of\(\s*"([^"]+)",\s*"([^"]+)"', text)
    assert len(used) >= 9
    for scenario, metric in used:
        assert scenario in names
        assert metric in metrics


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["run", "nothing"], ["run", "--rounds", "0"], ["run", "--only", "me"], ["what"]):
        with pytest.raises(SystemExit) as left:
            cli.main(words)
        assert left.value.code == 2
    with pytest.raises(SystemExit) as left:
        cli.main(["--help"])
    assert left.value.code == 0
    assert "exit codes:" in capsys.readouterr().out
    assert cli.main(["profile", "nothing"]) == 2


def test_scenarios_are_listed_and_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "--all"]) == 0
    said = capsys.readouterr().out
    readme = (ROOT / "bench" / "README.md").read_text()
    names = [scenario.name for scenario in ALL]
    assert len(set(names)) == len(names)
    for settings in (Settings(), Settings.of_all(), Settings.of_smoke()):
        for scenario in ALL:
            assert scenario.cases(settings)
            assert scenario.entrants(settings)
            assert all(seconds >= 0 for seconds in scenario.guess(settings))
    for name in names:
        assert name in said
        assert f"`{name}`" in readme
    assert all(f"| {name} |" in readme for name in MAKERS)
    assert "-c 128" in said


def test_quick_leaves_out_what_only_takes_time() -> None:
    quick = [scenario for scenario in ALL if scenario.in_quick]
    assert len(ALL) - len(quick) <= 2
    for scenario in ALL:
        assert set(scenario.entrants(Settings())) <= set(scenario.entrants(Settings.of_all()))
    guess = sum(plan_of(scenario, Settings())[0] for scenario in quick)
    turns = sum(plan_of(scenario, Settings())[1] for scenario in quick)
    assert guess + 4 * turns < 660


def test_only_those_asked_for_run() -> None:
    only = replace(Settings(), only=("gateway disk",))
    found = {scenario.name: list(scenario.entrants(only)) for scenario in ALL}
    assert found["tpcb"] == ["gateway disk"]
    assert found["idle"] == []


def test_a_smoke_test_runs_every_contender_somewhere() -> None:
    seen = {name for scenario in ALL for name in scenario.entrants(Settings.of_smoke())}
    assert seen >= {*MAKERS, "proxyjump"}


def test_a_smoke_test_runs_both_durabilities_wherever_contenders_meet() -> None:
    """It once ran ``os`` alone, and its figures looked as good as ever."""
    for scenario in ALL:
        if {"direct", "gateway disk"} <= set(scenario.entrants(Settings.of_all())):
            assert {"direct", "gateway os", "gateway disk"} <= set(
                scenario.entrants(Settings.of_smoke())
            ), scenario.name


class Started:
    """A contender that notes what is done to it."""

    meter = None

    def __init__(self, name: str, fault: BaseException | None = None) -> None:
        self.name = name
        self.ended = 0
        self._fault = fault

    def start(self) -> None:
        if self._fault is not None:
            raise self._fault

    def stop(self) -> list[Check]:
        self.ended += 1
        return [Check(f"{self.name} ended", True)]


def test_all_that_was_started_is_ended_in_turn() -> None:
    names = [Started("a"), Started("b", BenchFault("it fell")), Started("c")]
    checks: list[Check] = []
    skipped: dict[str, str] = {}
    with pytest.raises(KeyboardInterrupt), started(names, checks, skipped) as running:
        assert list(running) == ["a", "c"]
        raise KeyboardInterrupt
    assert [each.ended for each in names] == [1, 0, 1]
    assert [check.name for check in checks] == ["b starts", "a ended", "c ended"]
    assert skipped == {"b": "it did not start"}


def test_one_that_nobody_foresaw_does_not_leave_the_others_running() -> None:
    names = [Started("a"), Started("b", ZeroDivisionError())]
    with pytest.raises(ZeroDivisionError), started(names, [], {}):
        pass
    assert names[0].ended == 1


def test_ctrl_c_while_they_start_leaves_nobody_behind() -> None:
    class Slow(Started):
        def start(self) -> None:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            time.sleep(0.2)

    names = [Started("a"), Slow("b")]
    with pytest.raises(KeyboardInterrupt), started(names, [], {}):
        raise AssertionError("it went on")
    assert [each.ended for each in names] == [1, 1]


def test_no_two_contenders_are_given_one_port() -> None:
    with ThreadPoolExecutor(8) as pool:
        ports = list(pool.map(lambda _: fresh_port(), range(200)))
    assert len(set(ports)) == 200


def test_the_recorder_of_the_bench_takes_every_call_of_the_gateway() -> None:
    """It stands in for a journal: what the gateway asks of one it must have."""
    asked = set()
    for path in (ROOT / "gateway").glob("*.py"):
        asked |= set(re.findall(r"\bjournal\.([a-z_]+)\b", path.read_text()))
    # Words in imports and in prose.
    asked -= {"py", "import", "journal"}
    assert {"flush", "open", "close", "state", "faults"} <= asked
    assert [name for name in sorted(asked) if not hasattr(Nowhere(), name)] == []


@pytest.mark.deep
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_real_run_that_is_interrupted_ends_in_order(
    number: int, code: int, tmp_path: Path
) -> None:
    """It takes down what it started, and keeps what it measured."""
    words = ["run", "select-prepared", "--only", "direct,gateway os", "--rounds", "50"]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", *words, "--minutes", "0", "--out", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "there is no" in line or "no PostgreSQL" in line:
                pytest.skip(line)
            if "round 2 of 50" in line:
                break
        started = Meter(process.pid).children()
        process.send_signal(number)
        out, err = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == code, err
    assert started
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]
    assert "recordings verify" in out
    found = json.loads((tmp_path / "latest.json").read_text())
    assert found["interrupted"] is True
    direct = found["scenarios"][0]["cases"][0]["entrants"]["direct"]
    assert len(direct["metrics"]["tps"]["samples"]) >= 2
