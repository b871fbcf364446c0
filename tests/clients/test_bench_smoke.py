"""Every scenario of the bench does its work; nothing is said about time. ``make
smoke`` runs the same in CI, and its exit code is what counts there; here its results
are looked at as well."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GATEWAYS = {"gateway os", "gateway disk"}


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def test_bench_lists_its_scenarios() -> None:
    done = bench("list")
    assert done.returncode == 0, done.stderr
    for name in ("connect", "select-prepared", "rows", "copy-out", "idle", "straight"):
        assert any(line.startswith(name) for line in done.stdout.splitlines()), name


def test_bench_refuses_what_it_does_not_have() -> None:
    assert bench("run", "nonesuch").returncode == 2
    assert bench("run", "--rounds", "0").returncode == 2


@pytest.mark.deep
@pytest.mark.clients
@pytest.mark.timeout(420)
def test_every_scenario_does_its_work(tool: Callable[[str], str], tmp_path: Path) -> None:
    tool("pgbench"), tool("psql")
    results = tmp_path / "results.json"
    done = bench("smoke", "--json", str(results))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "scenarios did their work" in done.stdout.splitlines()[-1]
    document = json.loads(results.read_text())
    assert document["schema"] == "wirewarden-bench/1"
    assert document["good"] is True
    scenarios = {scenario["name"]: scenario for scenario in document["scenarios"]}
    listed = {line.split()[0] for line in bench("list").stdout.splitlines() if line[0] != " "}
    assert scenarios.keys() == listed
    for scenario in scenarios.values():
        assert scenario["cases"], scenario["name"]
        for case in scenario["cases"]:
            for entrant, found in case["entrants"].items():
                assert found["metrics"], (scenario["name"], case["name"], entrant)
    for name in ("connect", "select-simple", "select-extended", "select-prepared", "tpcb", "rows"):
        verified = [c for c in scenarios[name]["checks"] if "recordings verify" in c["name"]]
        assert len(verified) == len(GATEWAYS), name
    masked = [c for c in scenarios["rows"]["checks"] if "rows masked" in c["name"]]
    assert len(masked) == 2 * len(GATEWAYS)
