"""The whole gateway with ever more rules."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from bench.figures import Check
from bench.lab import Lab
from bench.scenario import Measure
from bench.scenarios.pgbench import Pgbench
from bench.settings import Settings
from bench.wirewarden import Wirewarden, more_rules, rules

COUNTS = (0, 10, 100, 1000)
NONE = """
version = 1
default = "deny"

[[rule]]
id = "all"
on = "sql.*"
who = { kind = "agent" }
verdict = "allow"
"""
"""The least policy that lets anything through."""


class Rules(Pgbench):
    """``pgbench -S`` through gateways that differ in their policy only."""

    def __init__(self) -> None:
        super().__init__(
            "rules",
            "pgbench -S simple, gateways with 0 to 1,000 rules beside the one that allows",
            "simple",
            ("-S",),
        )
        self.bases = ("0 rules",)
        self.contenders = (*(f"{count:,} rules" for count in COUNTS), "the bench's 21")

    def entrants(self, settings: Settings) -> Sequence[str]:
        return ("0 rules", "1,000 rules") if settings.smoke else self.contenders

    @contextlib.contextmanager
    def stage(
        self, lab: Lab, names: Sequence[str], checks: list[Check], skipped: dict[str, str]
    ) -> Iterator[Measure]:
        self.prepare(lab)
        policies = {f"{count:,} rules": NONE + more_rules(count) for count in COUNTS}
        gateways = [
            Wirewarden(lab.server, "os", name=name, policy=policies.get(name) or rules())
            for name in names
        ]
        with lab.started(gateways, checks, skipped) as running:
            yield lambda case, entrant, warm: self.turn(lab, running[entrant], case, warm)


SCENARIOS = (Rules(),)
