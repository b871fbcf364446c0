"""What moved between two runs, beyond the noise."""

from __future__ import annotations

import json
import math
import random
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from bench_documents import document, outcome

from bench.cli import main
from bench.compare import compared
from bench.movement import judge, rank_test, shift

STILL = [0.50, 0.51, 0.49]


def told(old: list[float], new: list[float], least: float = 0.05) -> dict[tuple[str, str], str]:
    rows, _, _ = compared(document(outcome(old)), document(outcome(new)), least=least)
    return {(row.key.metric, row.key.to): row.move.verdict for row in rows}


def saved(folder: Path, name: str, found: dict[str, Any]) -> str:
    path = folder / name
    path.write_text(json.dumps(found))
    return str(path)


def test_the_rank_test_is_what_all_orders_say() -> None:
    low, high = [1.0, 4.0, 5.0], [2.0, 6.0, 7.0]
    orders = [order[3:] for order in permutations(range(1, 7))]
    as_high = sum(sum(order) >= 2 + 5 + 6 - 0 for order in orders) / len(orders)
    assert rank_test(low, high) == pytest.approx(as_high)
    assert rank_test([1, 2, 3], [4, 5, 6]) == pytest.approx(1 / 20)
    assert rank_test([1, 1, 1], [1, 1, 1]) == 1.0


def test_many_rounds_use_the_normal_approximation() -> None:
    rng = random.Random(1)
    low = [rng.random() for _ in range(40)]
    assert rank_test(low, [x + 0.6 for x in low]) < 1e-4
    by_chance = [
        rank_test([rng.random() for _ in range(15)], [rng.random() for _ in range(15)]) <= 0.05
        for _ in range(400)
    ]
    assert 0.02 < sum(by_chance) / 400 < 0.09


def test_the_shift_is_not_moved_by_one_bad_round() -> None:
    assert shift([0.0, 0.0, 0.0], [0.1, 0.1, 9.0]) == pytest.approx(0.1)


def test_a_fall_of_a_ratio_is_worse_and_a_rise_is_better() -> None:
    assert told(STILL, [0.40, 0.41, 0.39])["tps", "direct"] == "worse"
    assert told(STILL, [0.60, 0.61, 0.59])["tps", "direct"] == "better"


def test_what_lies_within_the_noise_did_not_move() -> None:
    assert told(STILL, [0.50, 0.52, 0.48])["tps", "direct"] == "same"
    # Separate, and by more than 5 %, but the rounds differ by more than that.
    assert told([0.5, 0.6, 0.7], [0.71, 0.80, 0.85])["tps", "direct"] == "same"


def test_a_small_move_matters_only_where_it_is_asked_for() -> None:
    old, new = [0.500, 0.501, 0.499], [0.489, 0.490, 0.488]
    assert told(old, new)["tps", "direct"] == "same"
    assert told(old, new, least=0.01)["tps", "direct"] == "worse"


def test_too_few_rounds_are_not_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told([0.5, 0.5], [0.1, 0.1])["tps", "direct"] == "unknown"
    old, new = (saved(tmp_path, f"{r}", document(outcome([r, r]))) for r in (0.5, 0.1))
    assert main(["compare", old, new]) == 0
    assert "BEWARE nothing was judged" in capsys.readouterr().out
    assert (
        main(["compare", saved(tmp_path, "o", document(outcome(STILL))), str(tmp_path / "o")]) == 0
    )
    shown = capsys.readouterr().out
    assert "nothing was judged" not in shown
    assert "only a move above ×1.05 could be told" in shown


def test_less_is_better_where_the_metric_says_so() -> None:
    assert judge([1, 1.01, 0.99], [2, 2.01, 1.99], "less", usual=0, least=0.05).verdict == "worse"
    assert judge([2, 2.01, 1.99], [1, 1.01, 0.99], "less", usual=0, least=0.05).verdict == "better"


def test_noise_alone_is_hardly_ever_a_move() -> None:
    """Of 1,000 comparisons of the same with itself, at 10 % noise."""
    rng = random.Random(7)

    def rounds() -> list[float]:
        return [math.exp(rng.gauss(0, 0.1)) for _ in range(3)]

    usual = 0.1**2
    moved = sum(
        judge(rounds(), rounds(), "more", usual=usual, least=0.05).verdict != "same"
        for _ in range(1000)
    )
    assert moved <= 10


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = saved(tmp_path, "old", document(outcome(STILL)))
    worse = saved(tmp_path, "worse", document(outcome([0.40, 0.41, 0.39])))
    assert main(["compare", old, old]) == 0
    assert main(["compare", worse, old]) == 0
    assert main(["compare", old, worse]) == 1
    shown = capsys.readouterr().out
    assert "## regressions" in shown
    assert "select -c 1, gateway os: tps ×direct" in shown
    assert main(["compare", old, str(tmp_path / "nothing")]) == 2
    assert main(["compare", old, saved(tmp_path, "other", {"schema": "else/1"})]) == 2


def test_cpu_that_grew_is_a_regression(tmp_path: Path) -> None:
    old = document(outcome(STILL, cpu=[10, 10.1, 9.9]))
    new = document(outcome(STILL, cpu=[14, 14.1, 13.9]))
    rows, _, _ = compared(old, new, least=0.05)
    assert [(r.key.metric, r.key.to) for r in rows if r.regression] == [("cpu", "pgbouncer")]


def test_work_done_wrong_is_worse_than_slow(tmp_path: Path) -> None:
    broken = outcome(STILL)
    broken.fault = "it broke"
    old = saved(tmp_path, "old", document(outcome(STILL)))
    assert main(["compare", old, saved(tmp_path, "new", document(broken))]) == 1


def test_json_names_the_test_and_what_is_in_one_run_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = saved(tmp_path, "old", document(outcome(STILL), outcome(STILL, name="gone")))
    other = document(outcome(STILL)) | {"warnings": ["load 9"]}
    other["machine"] = {**other["machine"], "cores": 64}
    assert main(["compare", "--json", old, saved(tmp_path, "new", other)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "wirewarden-bench-compare/1"
    assert "Mann-Whitney" in found["test"]
    assert {key["scenario"] for key in found["only_old"]} == {"gone"}
    assert any("cores was 2, is 64" in said for said in found["warnings"])
    assert any("NEW was noisy: load 9" in said for said in found["warnings"])
