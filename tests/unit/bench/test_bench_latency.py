"""Percentiles of latencies, and reading what pgbench logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.latency import HIGHEST, Latency, carries, of_pgbench, percentiles_of


def test_percentiles_are_of_the_values_to_three_digits() -> None:
    found = Latency.of(range(1, 100_001))
    assert found.count == 100_000
    assert found.at(50) == pytest.approx(50.0, rel=0.002)
    assert found.at(99) == pytest.approx(99.0, rel=0.002)
    assert found.at(99.9) == pytest.approx(99.9, rel=0.002)


def test_one_slow_among_many_shows_at_the_end_alone() -> None:
    found = Latency.of([100] * 9999 + [5_000_000])
    assert found.at(99.9) == pytest.approx(0.1, rel=0.01)
    assert found.at(100) == pytest.approx(5000, rel=0.01)


def test_rounds_add_up_and_survive_encoding() -> None:
    found = Latency.of([100, 200])
    found.add(Latency.of([300]))
    told = found.as_json()
    again = Latency.decoded(str(told["hdr"]))
    assert again.count == told["count"] == 3
    assert again.at(100) == found.at(100)
    assert told["unit"] == "ms"


def test_what_is_out_of_range_counts_as_the_end_of_it() -> None:
    found = Latency.of([0, HIGHEST * 10])
    assert found.count == 2
    assert found.at(100) == pytest.approx(HIGHEST / 1e3, rel=0.01)


def test_points_to_draw_rise_to_the_last_sample() -> None:
    points = percentiles_of(Latency.of(range(1, 1001)).as_json())
    assert [p for p, _ in points] == sorted(p for p, _ in points)
    assert [ms for _, ms in points] == sorted(ms for _, ms in points)
    assert points[-1][0] > 99.8


def test_pgbench_logs_are_read_whole(tmp_path: Path) -> None:
    (tmp_path / "log.1").write_text("0 1 2000 0 1700000000 1\n1 1 4000 0 1700000000 2\n")
    (tmp_path / "log.1.1").write_text("0 2 6000 0 1700000000 3\n0 3 99")  # cut off within a line
    found = of_pgbench(tmp_path)
    assert found.count == 3
    assert found.at(50) == pytest.approx(4.0, rel=0.01)


def test_a_percentile_needs_that_many_latencies() -> None:
    told = {name: [carries(name, count) for count in (1, 2, 99, 100, 999, 1000)]
            for name in ("p50", "p99", "p99.9", "peak", "latency")}  # fmt: skip
    assert told == {
        "p50": [False, True, True, True, True, True],
        "p99": [False, False, False, True, True, True],
        "p99.9": [False, False, False, False, False, True],
        "peak": [True] * 6,
        "latency": [True] * 6,
    }
