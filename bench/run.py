"""Running scenarios, and leaving what they gave: tables, JSON, a page."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import machine, report, smoke
from bench.document import as_json
from bench.figures import Outcome
from bench.lab import Lab
from bench.page import page
from bench.progress import Progress
from bench.scenario import Scenario, plan_of, play
from bench.settings import Settings

DONE, BAD, INTERRUPTED = 0, 1, 130


@dataclass(frozen=True, slots=True)
class Places:
    """Where results go: ``folder`` takes a JSON file and a page of each run, named
    by the time, and ``latest.json`` and ``latest.html``; None: nowhere. ``json`` takes
    a copy."""

    folder: Path | None = None
    json: Path | None = None
    stamp: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y%m%d-%H%M%S"))

    def write(self, document: Mapping[str, Any]) -> Path | None:
        """Write all of it anew; the page, where there is one."""
        text = json.dumps(document, indent=1) + "\n"
        if self.json is not None:
            _put(self.json, text)
        if self.folder is None:
            return None
        self.folder.mkdir(parents=True, exist_ok=True)
        drawn = page(document)
        for name in (f"results-{self.stamp}", "latest"):
            _put(self.folder / f"{name}.json", text)
            _put(self.folder / f"{name}.html", drawn)
        return self.folder / "latest.html"


def _put(path: Path, text: str) -> None:
    """Whole or not at all: a run may be killed at any time."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(text, "utf-8")
    fresh.replace(path)


def run(chosen: Sequence[Scenario], settings: Settings, places: Places) -> int:
    """Run, print each scenario as it ends, write after each what there is so far.
    Returns the exit code. Ctrl-C ends it in order; what was measured is kept."""
    rounds = settings.rounds + (0 if settings.smoke else 1)  # one warms up
    plan = [plan_of(scenario, settings) for scenario in chosen]
    progress = Progress(plan, rounds, limit=settings.minutes * 60)
    watch = machine.Watch()
    facts = machine.facts()
    outcomes: list[Outcome] = []
    cut: list[str] = []
    stopped = False

    def document() -> dict[str, Any]:
        seen = facts | watch.done()
        noise = [*machine.complaints(seen), *report.noisy(outcomes)]
        warnings = [*([] if settings.smoke else noise), *cut]
        return as_json(outcomes, settings, seen, warnings, interrupted=stopped)

    progress.say(f"{len(chosen)} scenarios")
    with Lab(settings, progress.say) as lab:
        for scenario in chosen:
            try:
                have = progress.begin() - (0 if settings.smoke else 1)
                if have < settings.rounds and not cut:
                    cut.append(
                        f"{scenario.name} and what follows ran {have} rounds or fewer, not "
                        f"{settings.rounds}, to end within {settings.minutes:g} minutes"
                    )
                progress.say(scenario.name)
                outcome = play(scenario, lab, have)
                outcomes.append(outcome)
                print("\n".join(report.of_outcome(outcome)), flush=True)
                stopped = outcome.interrupted
                places.write(document())
            except KeyboardInterrupt:
                stopped = True
            if stopped:
                print("bench: interrupted; taking down what runs", file=sys.stderr)
                break
    told = document()
    shown = places.write(told)
    _sum_up(told, settings, shown)
    if stopped:
        return INTERRUPTED
    if settings.smoke and not smoke.judged(chosen, settings, told):
        return BAD
    return DONE if told["good"] else BAD


def _sum_up(document: Mapping[str, Any], settings: Settings, shown: Path | None) -> None:
    print("\n".join(report.of_targets(document["targets"])))
    facts = document["machine"]
    print("## machine: " + ", ".join(f"{name} {value}" for name, value in facts.items() if value))
    for warning in document["warnings"]:
        print(f"  NOISY {warning}")
    if document["warnings"] and not settings.smoke:
        print("  Believe ratios with care, absolute numbers not at all.")
    if shown is not None:
        print(f"the page: {shown}")
    bad = [found["name"] for found in document["scenarios"] if found["failures"]]
    if bad:
        print(f"bench: what was measured went wrong: {', '.join(bad)}", file=sys.stderr)
