"""What issues ask for, next to what a run shows. Missing a target is no fault
of the run: its exit code says whether the work was done, not how fast."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]
GATEWAY = "gateway os"


@dataclass(frozen=True, slots=True)
class Target:
    """``value`` finds what a document shows, by case; ``limit`` is the least or,
    with ``most``, the most that meets it."""

    name: str
    value: Callable[[Document], dict[str, float]]
    limit: float
    unit: str = ""
    most: bool = False

    def met(self, value: float) -> bool:
        return value <= self.limit if self.most else value >= self.limit


def cases(document: Document, scenario: str) -> Sequence[Mapping[str, Any]]:
    """The cases of a scenario; none where it did not run."""
    for found in document["scenarios"]:
        if found["name"] == scenario:
            return list(found["cases"])
    return []


def _median(case: Mapping[str, Any], entrant: str, metric: str, to: str = "") -> float | None:
    found = case["entrants"].get(entrant, {}).get("metrics", {}).get(metric, {})
    if to:
        found = found.get("ratios", {}).get(to, {})
    value = found.get("median")
    return None if value is None else float(value)


def _of(
    scenario: str, metric: str, *, entrant: str = GATEWAY, to: str = "", only: str = ""
) -> Callable[[Document], dict[str, float]]:
    """Each case's median of ``metric``, or of its ratio; ``only`` this case."""

    def found(document: Document) -> dict[str, float]:
        shown = {
            str(case["name"]): _median(case, entrant, metric, to)
            for case in cases(document, scenario)
            if not only or case["name"] == only
        }
        return {name: value for name, value in shown.items() if value is not None}

    return found


def _masked(document: Document) -> dict[str, float]:
    """How many times as long a masked result takes as a plain one."""
    speeds = _of("rows", "rows")(document)
    plain = speeds.get("plain")
    if not plain:
        return {}
    return {name: plain / speed for name, speed in speeds.items() if name != "plain" and speed}


def _rules(document: Document) -> dict[str, float]:
    found = {}
    for case in cases(document, "rules"):
        for entrant in ("10 rules", "100 rules", "1,000 rules"):
            value = _median(case, entrant, "cpu", "0 rules")
            if value is not None:
                found[f"{case['name']}, {entrant}"] = value
    return found


def _searches(document: Document) -> dict[str, float]:
    return {
        f"{entrant} ({case['name']})": median
        for case in cases(document, "index")
        for entrant in case["entrants"]
        if not entrant.startswith("recorder ")
        and (median := _median(case, entrant, "time")) is not None
    }


TARGETS = (
    Target("pgbench -S prepared, 32 clients: tps ×pgbouncer",
           _of("select-prepared", "tps", to="pgbouncer", only="-c 32"), 0.8),
    Target("pgbench -S prepared, 1 client: latency ×pgbouncer",
           _of("select-prepared", "latency", to="pgbouncer", only="-c 1"), 1.3, most=True),
    Target("plain rows: speed ×direct", _of("rows", "speed", to="direct", only="plain"), 0.7),
    Target("COPY out: speed ×direct", _of("copy-out", "speed", to="direct"), 0.7),
    Target("COPY in: speed ×direct", _of("copy-in", "speed", to="direct"), 0.7),
    Target("masked rows: time ×plain", _masked, 2.0, most=True),
    Target("git clone: speed ×direct", _of("git-clone", "speed", to="direct"), 0.5),
    Target("idle session: memory", _of("idle", "memory"), 60.0, "KB", most=True),
    Target("transaction among idle sessions: CPU ×alone",
           _of("idle", "cpu ×alone"), 1.1, most=True),
    Target("more rules: CPU ×0 rules", _rules, 1.1, most=True),
    Target("recording: tps ×unrecorded",
           _of("select-prepared", "tps", to="gateway unrecorded"), 0.85),
    Target("journal, 16 KiB records, no disk: append speed",
           _of("recorder", "append speed", entrant="32 per write, in memory", only="16 KiB"),
           200.0, "MB/s"),
    Target("journal, small commands, durability os",
           _of("recorder-commands", "commands", entrant="32 per write"), 20.0, "k/s"),
    Target("list and search: time", _searches, 100.0, "ms", most=True),
)  # fmt: skip


def judged(document: Document) -> list[dict[str, Any]]:
    """Each target's worst case, where anything of it ran."""
    told = []
    for target in TARGETS:
        values = target.value(document)
        if not values:
            continue
        case = (max if target.most else min)(values, key=lambda name: values[name])
        value = values[case]
        told.append(
            {
                "name": target.name,
                "case": case,
                "value": value,
                "limit": target.limit,
                "unit": target.unit,
                "better": "less" if target.most else "more",
                "met": target.met(value),
                "cases": len(values),
            }
        )
    return told
