"""Ratios, spreads and the JSON document of the bench."""

from __future__ import annotations

import json
import time

import pytest

from bench.alone import per_call
from bench.document import as_json
from bench.figures import BenchFault, Case, Check, Metric, Outcome
from bench.report import noisy, of_outcome
from bench.settings import Settings
from bench.stream import rows

TPS = Metric("tps", "/s", "more")


def outcome() -> Outcome:
    """Three rounds on a machine that slows down by half each round."""
    case = Case("-c 1")
    for speed in (1000.0, 500.0, 250.0):
        case.add("direct", {"tps": speed})
        case.add("pgbouncer", {"tps": speed * 0.8})
        case.add("gateway os", {"tps": speed * 0.6})
    return Outcome("select", "about", (TPS,), [case])


def test_ratios_compare_within_a_round() -> None:
    case = outcome().cases[0]
    case.samples["gateway os"]["tps"][2] = 250 * 0.1
    assert case.ratio("gateway os", "direct", TPS) == pytest.approx(0.6)
    assert case.ratio("gateway os", "pgbouncer", TPS) == pytest.approx(0.75)
    assert case.ratio("direct", "direct", TPS) == 1.0


def test_a_ratio_needs_the_same_rounds_of_both() -> None:
    case = outcome().cases[0]
    # Broken off within the third round: that one is left out.
    case.samples["gateway os"]["tps"].pop()
    found = case.ratios("gateway os", "direct", "tps")
    assert found is not None
    assert len(found.samples) == 2
    case.samples["gateway os"]["tps"].pop()
    assert case.ratio("gateway os", "direct", TPS) is None
    assert case.ratio("gateway os", "nobody", TPS) is None


def test_spread_is_median_and_extremes() -> None:
    found = outcome().cases[0].spread("direct", "tps")
    assert found is not None
    assert (found.median, found.low, found.high) == (500.0, 250.0, 1000.0)
    assert found.noise == pytest.approx(1.5)


def test_rounds_that_differ_are_called_noisy() -> None:
    assert "select -c 1" in noisy([outcome()])[0]


def test_the_table_has_ratios_first_and_says_what_is_bad() -> None:
    found = outcome()
    found.checks.append(Check("recordings verify", False, "one is CORRUPT"))
    lines = of_outcome(found)
    assert not found.good
    assert lines[1].split()[2:4] == ["tps", "×direct"]
    gateway = next(line for line in lines if "gateway os" in line)
    assert gateway.split()[2:4] == ["0.60", "0.75"]
    assert any("BAD recordings verify: one is CORRUPT" in line for line in lines)


def test_json_has_every_sample_and_survives_a_round_trip() -> None:
    document = json.loads(json.dumps(as_json([outcome()], Settings(), {"cores": 2}, ["noisy"])))
    assert document["schema"] == "wirewarden-bench/1"
    assert document["good"] is True
    gateway = document["scenarios"][0]["cases"][0]["entrants"]["gateway os"]
    assert gateway["metrics"]["tps"]["samples"] == [600.0, 300.0, 150.0]
    assert gateway["ratios"]["direct"] == pytest.approx(0.6)
    assert document["settings"]["clients"] == [1, 32]


def test_a_fault_makes_the_run_bad() -> None:
    found = outcome()
    found.fault = "it broke"
    assert as_json([found], Settings(), {}, [])["good"] is False


def test_rows_reads_data_rows_and_stops_at_an_error() -> None:
    row = b"\0\2\0\0\0\1a\xff\xff\xff\xff"
    raw = b"D" + (len(row) + 4).to_bytes(4, "big") + row + b"Z\0\0\0\5I"
    assert rows(raw) == [(b"a", None)]
    with pytest.raises(BenchFault):
        rows(raw + b"E\0\0\0\x05\0")


def test_per_call_measures_long_enough() -> None:
    took = per_call(lambda: time.sleep(0.001), 0.01)
    assert 0.001 <= took < 0.1
