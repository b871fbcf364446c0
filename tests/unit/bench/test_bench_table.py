"""A run as Markdown: ratios, figures, the machine, and what to beware of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench_documents import document, outcome

from bench.cli import main
from bench.document import as_json
from bench.figures import Case, Metric, Outcome
from bench.settings import Settings
from bench.table import BEGIN, END, put, tables


def rows(lines: list[str]) -> list[list[str]]:
    return [[c.strip() for c in line.split(" | ")] for line in lines if line.startswith("| ")]


def test_ratios_stand_before_figures_and_cpu_is_there() -> None:
    found = document(outcome([0.5, 0.6, 0.4], cpu=[5, 6, 7]))
    head, row = rows(tables(found))
    assert [word.strip("| ") for word in head] == [
        "", "os ×direct", "os ×pgbouncer", "direct", "pgbouncer", "gateway os", "CPU of os",
    ]  # fmt: skip
    assert [word.strip("| ") for word in row] == [
        "`select` -c 1, tps /s", "**0.50**", "**0.50**", "2,000", "2,000", "1,200", "6.00 µs/tx",
    ]  # fmt: skip


def test_the_machine_and_its_noise_are_told() -> None:
    said = "\n".join(tables(document(outcome([0.5]), warnings=["load 9 on 2 cores"])))
    assert "**2026-01-02 03:04 UTC**, 2 cores; processor one." in said
    assert "**Noisy**" in said
    assert "load 9 on 2 cores" in said
    assert "**Noisy**" not in "\n".join(tables(document(outcome([0.5]))))
    bad = outcome([0.5])
    bad.fault = "it broke"
    said = "\n".join(tables(document(bad, interrupted=True)))
    assert "**Work was done wrong** in: select" in said
    assert "**Interrupted**" in said


def test_parts_without_contenders_are_told_apart_and_bars_do_not_break_rows() -> None:
    case = Case("a case", samples={"users|orders": {"time": [2.0, 4.0, 3.0]}})
    part = Outcome("index", "", (Metric("time", "ms", "less"),), [case], bases=())
    lines = tables(document(outcome([0.5]), part))
    assert "<details><summary>1 scenarios without these contenders</summary>" in lines
    assert "| `index` a case | users\\|orders | time 3.00 ms |" in lines


def test_it_goes_between_the_marks_of_a_file_and_nowhere_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, page = tmp_path / "r.json", tmp_path / "README.md"
    results.write_text(json.dumps(document(outcome([0.5]))))
    page.write_text(f"# head\n\n{BEGIN}\nold\n{END}\n\ntail\n")
    assert main(["table", str(results), "--into", str(page)]) == 0
    once = page.read_text()
    assert "old" not in once
    assert once.startswith(f"# head\n\n{BEGIN}\n")
    assert once.endswith(f"{END}\n\ntail\n")
    assert "`select` -c 1" in once
    assert main(["table", str(results), "--into", str(page)]) == 0
    assert page.read_text() == once
    page.write_text("no marks")
    assert main(["table", str(results), "--into", str(page)]) == 2
    assert page.read_text() == "no marks"
    assert main(["table", str(tmp_path / "nothing")]) == 2
    assert main(["table", str(results)]) == 0
    assert "`select` -c 1" in capsys.readouterr().out


def test_a_smoke_test_is_no_table(tmp_path: Path) -> None:
    results = tmp_path / "r.json"
    results.write_text(json.dumps(as_json([outcome([0.5])], Settings.of_smoke(), {}, [])))
    assert main(["table", str(results)]) == 2


def test_the_readme_has_the_marks() -> None:
    readme = (Path(__file__).resolve().parents[3] / "bench" / "README.md").read_text()
    assert put(["x"], readme).count("x\n" + END) == 1
