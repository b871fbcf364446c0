"""A smoke test is wrong, too, when something was not looked at."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import pytest

from bench import smoke
from bench.scenario import Contest, Scenario
from bench.scenarios import ALL
from bench.settings import Settings

SETTINGS = Settings.of_smoke()
CHOSEN = [scenario for scenario in ALL if scenario.name in ("connect", "rows", "rules", "git-push")]


class Alike(Contest):
    """With all the contenders that there are."""

    name = "alike"
    briefly = ()
    contenders = (*Contest.contenders, "gateway unrecorded")

    def cases(self, settings: Settings) -> Sequence[str]:
        return ["one", "two"]


def whole(chosen: Sequence[Scenario]) -> dict[str, Any]:
    """A document in which everything that is owed was done."""
    told = []
    for scenario in chosen:
        names = scenario.entrants(SETTINGS)
        done = {name: {"metrics": {"tps": {"median": 1.0}}} for name in names}
        cases = [{"name": case, "entrants": deepcopy(done)} for case in scenario.cases(SETTINGS)]
        checks = [{"name": name, "good": True} for name in scenario.owed(names)]
        told.append({"name": scenario.name, "cases": cases, "checks": checks, "skipped": {}})
    return {"scenarios": told, "good": True}


def said(document: dict[str, Any], chosen: Sequence[Scenario] = CHOSEN) -> list[str]:
    return smoke.shortfalls(chosen, SETTINGS, document)


def test_what_was_done_and_looked_at_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    document = whole(ALL)
    assert said(document, ALL) == []
    assert smoke.judged(ALL, SETTINGS, document)
    shown = capsys.readouterr().out
    assert shown.startswith(f"smoke: {len(ALL)} scenarios did their work")
    assert "NOT INSTALLED" not in shown


def test_each_thing_that_is_owed_is_missed() -> None:
    """One at a time, whatever it is: a check, a contender, a case, a scenario."""
    chosen = [*CHOSEN, Alike()]
    made = whole(chosen)
    owed = {
        name: len(told["checks"]) for name, told in zip("abcde", made["scenarios"], strict=True)
    }
    assert min(owed.values()) >= 4
    for at, told in enumerate(made["scenarios"]):
        for number, check in enumerate(told["checks"]):
            document = deepcopy(made)
            document["scenarios"][at]["checks"][number]["good"] = False
            assert said(document, chosen) == [f"{told['name']}: nobody found that {check['name']}"]
        for number, case in enumerate(told["cases"]):
            for name in case["entrants"]:
                document = deepcopy(made)
                del document["scenarios"][at]["cases"][number]["entrants"][name]
                (sentence,) = said(document, chosen)
                assert sentence == f"{told['name']}: {case['name']}: nothing was measured of {name}"
            document = deepcopy(made)
            del document["scenarios"][at]["cases"][number]
            assert len(said(document, chosen)) == len(case["entrants"])
        document = deepcopy(made)
        del document["scenarios"][at]
        assert said(document, chosen) == [f"{told['name']}: it did not run"]


def test_every_gateway_owes_its_recordings() -> None:
    owed = Alike().owed(Alike().contenders)
    assert owed == [
        "gateway os ended well", "gateway os: recordings verify",
        "gateway disk ended well", "gateway disk: recordings verify",
        "gateway unrecorded ended well", "gateway unrecorded: nothing is on record",
    ]  # fmt: skip
    for scenario in ALL:
        names = scenario.entrants(SETTINGS)
        if "gateway os" in names and scenario.name != "straight":
            assert "gateway os: recordings verify" in scenario.owed(names), scenario.name
    rows = next(scenario for scenario in ALL if scenario.name == "rows")
    masked = [name for name in rows.owed(rows.entrants(SETTINGS)) if "rows masked" in name]
    assert len(masked) == 2 * len({"gateway os", "gateway disk"})


def test_what_others_wrote_may_be_missing_and_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    chosen, made = [Alike()], whole([Alike()])
    for name, fine in (("haproxy", True), ("gateway os", False), ("bare relay", False)):
        document = deepcopy(made)
        document["scenarios"][0]["skipped"] = {name: "it is not here"}
        for case in document["scenarios"][0]["cases"]:
            del case["entrants"][name]
        assert (said(document, chosen) == []) is fine
        assert smoke.judged(chosen, SETTINGS, document) is fine
        assert ("NOT INSTALLED, and not run: haproxy" in capsys.readouterr().out) is fine


def test_work_done_wrong_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert not smoke.judged(CHOSEN, SETTINGS, whole(CHOSEN) | {"good": False})
    assert "smoke: BAD" in capsys.readouterr().out
