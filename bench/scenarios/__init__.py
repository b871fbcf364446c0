"""The scenarios, in the order in which they run. A new one is a file here that
ends in ``SCENARIOS``, and its line below."""

from __future__ import annotations

from bench.scenario import Scenario
from bench.scenarios import (
    connect,
    copying,
    git,
    idle,
    masking,
    pgbench,
    policy,
    recording,
    rows,
    straight,
)

ALL: tuple[Scenario, ...] = (
    *connect.SCENARIOS,
    *pgbench.SCENARIOS,
    *rows.SCENARIOS,
    *copying.SCENARIOS,
    *idle.SCENARIOS,
    *policy.SCENARIOS,
    *masking.SCENARIOS,
    *recording.SCENARIOS,
    *straight.SCENARIOS,
    *git.SCENARIOS,
)
