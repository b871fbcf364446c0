"""The page of a run: well-formed, self-contained, with everything on it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from bench_documents import document, outcome

from bench.cli import main
from bench.figures import Case, Check
from bench.page import page
from bench.page.svg import Log


def parsed(text: str) -> ElementTree.Element:
    head, _, rest = text.partition("\n")
    assert head == "<!DOCTYPE html>"
    return ElementTree.fromstring(rest)


def words(text: str) -> str:
    return " ".join("".join(parsed(text).itertext()).split())


def test_it_is_well_formed_and_takes_nothing_from_elsewhere() -> None:
    text = page(document(outcome([0.5, 0.6, 0.4]), warnings=["load <9> & more"]))
    root = parsed(text)
    assert not root.findall(".//script")
    assert not re.search(r"(?:src|href|url)\s*[=(]\s*[\"']?(?:https?:|//)", text)
    assert "@import" not in text
    assert "prefers-color-scheme:dark" in text


def test_every_scenario_case_and_contender_is_on_it() -> None:
    found = document(outcome([0.5, 0.6, 0.4], cpu=[5, 6, 7]), outcome([1.0], name="rows"))
    said = words(page(found))
    for scenario in found["scenarios"]:
        assert scenario["name"] in said
        for case in scenario["cases"]:
            assert case["name"] in said
            for name in case["entrants"]:
                assert name in said
    # Ratios with their spread, then numbers.
    assert "gateway os: 0.50 (0.40 to 0.60 in 3 rounds)" in said
    assert "latency that so many percent did not exceed" in said


def test_failures_skips_noise_and_interruption_are_said_at_once() -> None:
    bad = outcome([0.5])
    bad.checks.append(Check("recordings verify", False, "one is <CORRUPT>"))
    bad.cases[0].failed["haproxy"] = "it fell over"
    bad.skipped["pgbouncer"] = "apt-get install pgbouncer"
    said = words(page(document(bad, warnings=["the host took 9 %"], interrupted=True)))
    head = said.partition("At a glance")[0]
    assert "2 things went wrong" in head
    assert "recordings verify: one is <CORRUPT>" in head
    assert "haproxy: it fell over" in head
    assert "noisy machine" in head
    assert "the host took 9 %" in head
    assert "interrupted" in head
    assert "not run: pgbouncer" in head


def test_nothing_wrong_says_so() -> None:
    assert "all work verified (1 checks)" in words(page(document(outcome([0.5]))))


def test_odd_documents_draw() -> None:
    empty = outcome([])
    empty.cases[0].samples.clear()
    zeros = outcome([0.0, 0.0])
    for found in (document(), document(empty), document(zeros)):
        parsed(page(found))
    lone = outcome([0.5])
    lone.cases.append(Case("-c 8", samples={"gateway os": {"tps": [1e9]}}))
    parsed(page(document(lone)))


def test_a_page_is_drawn_anew_from_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "r.json"
    file.write_text(json.dumps(document(outcome([0.5]))))
    assert main(["page", str(file)]) == 0
    parsed((tmp_path / "r.html").read_text())
    assert main(["page", str(tmp_path / "none.json")]) == 2


def test_scales_have_few_round_ticks_within_them() -> None:
    for values in ([0.9, 1.1], [0.001, 5e6], [3.0], [1.0, 1.0], [2.0, 9.0]):
        scale = Log(values, 0, 100)
        ticks = scale.ticks()
        assert 1 <= len(ticks) <= 7
        assert all(scale.low <= tick <= scale.high for tick in ticks)
        assert all(0 <= scale(value) <= 100 for value in values)
