"""Documents of runs that never were, for the tests of what reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.document import as_json
from bench.figures import Case, Check, Measured, Metric, Outcome
from bench.latency import Latency
from bench.settings import Settings

TPS = Metric("tps", "/s", "more")
CPU = Metric("cpu", "µs/tx", "less")
MACHINE: Mapping[str, object] = {"cores": 2, "processor": "one", "date": "2026-01-02 03:04 UTC"}


def outcome(ratios: Sequence[float], *, cpu: Sequence[float] = (), name: str = "select") -> Outcome:
    """A scenario whose gateway has these ratios to direct, on a machine whose speed
    drifts from round to round."""
    case = Case("-c 1")
    for number, ratio in enumerate(ratios):
        speed = 1000.0 * (1 + number)
        case.add("direct", {"tps": speed})
        made = Measured({"tps": speed * ratio})
        if cpu:
            made["cpu"] = cpu[number]
        made.latency = Latency.of([100, 200, 300, 4000])
        case.add("gateway os", made)
        if cpu:
            case.samples.setdefault("pgbouncer", {}).setdefault("tps", []).append(speed)
            case.samples["pgbouncer"].setdefault("cpu", []).append(10.0)
    found = Outcome(name, "about it", (TPS, CPU), [case], rounds=len(ratios))
    found.checks.append(Check("recordings verify", True, "3 sessions"))
    return found


def document(*outcomes: Outcome, warnings: Sequence[str] = (), **more: Any) -> dict[str, Any]:
    return as_json(outcomes, Settings(), MACHINE, warnings, **more)
