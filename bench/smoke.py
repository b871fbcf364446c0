"""``bench smoke``: did every scenario do its work, and was that looked at?

A run is bad when something that it checked was wrong. A smoke test is bad, too,
when something was not checked at all: a scenario, case or contender that is missing
from the results, a gateway whose recordings nobody verified, a masked result that
nobody compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.contenders import PEERS
from bench.scenario import Scenario
from bench.settings import Settings

Found = Mapping[str, Any]


def shortfalls(chosen: Sequence[Scenario], settings: Settings, document: Found) -> list[str]:
    """Sentences on what should have been done or looked at, and was not."""
    found = {told["name"]: told for told in document["scenarios"]}
    said = []
    for scenario in chosen:
        told = found.get(scenario.name)
        missing = ["it did not run"] if told is None else _missing(scenario, settings, told)
        said += [f"{scenario.name}: {each}" for each in missing]
    return said


def _missing(scenario: Scenario, settings: Settings, told: Found) -> Iterator[str]:
    wanted = set(scenario.entrants(settings)) - (set(told["skipped"]) & set(PEERS))
    ran = {case["name"]: case["entrants"] for case in told["cases"]}
    for case in scenario.cases(settings):
        entrants = ran.get(case, {})
        for name in sorted(wanted):
            if not entrants.get(name, {}).get("metrics"):
                yield f"{case}: nothing was measured of {name}"
    good = {check["name"] for check in told["checks"] if check["good"]}
    for name in scenario.owed(sorted(wanted)):
        if name not in good:
            yield f"nobody found that {name}"


def summary(document: Found) -> str:
    """One line for people: how much was looked at, and what could not be."""
    scenarios = document["scenarios"]
    checks = [check["name"] for told in scenarios for check in told["checks"]]
    verified = sum(name.endswith("recordings verify") for name in checks)
    skipped = sorted({name for told in scenarios for name in told["skipped"]})
    said = (
        f"{len(scenarios)} scenarios did their work; {len(checks)} checks are good, "
        f"{verified} of them of all that a gateway recorded"
    )
    return said + (f"; NOT INSTALLED, and not run: {', '.join(skipped)}" if skipped else "")


def judged(chosen: Sequence[Scenario], settings: Settings, document: Found) -> bool:
    """Whether the smoke test found everything done, and done right; says it."""
    said = shortfalls(chosen, settings, document)
    for each in said:
        print(f"  BAD {each}")
    good = bool(document["good"]) and not said
    print(f"smoke: {summary(document) if good else 'BAD, see above'}", flush=True)
    return good
