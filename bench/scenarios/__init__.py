"""The scenarios, in the order in which they run. A new one is a file here that
ends in ``SCENARIOS``, and its line below."""

from __future__ import annotations

from bench.scenario import Scenario
from bench.scenarios import (
    connect,
    copying,
    git,
    holds,
    idle,
    index,
    masking,
    pgbench,
    policy,
    recording,
    replay,
    rows,
    rules,
    straight,
)

ALL: tuple[Scenario, ...] = (
    *pgbench.SCENARIOS,
    *connect.SCENARIOS,
    *rows.SCENARIOS,
    *copying.SCENARIOS,
    *rules.SCENARIOS,
    *idle.SCENARIOS,
    *holds.SCENARIOS,
    *git.SCENARIOS,
    *recording.SCENARIOS,
    *replay.SCENARIOS,
    *index.SCENARIOS,
    *policy.SCENARIOS,
    *masking.SCENARIOS,
    *straight.SCENARIOS,
)
"""What users see first: an interrupted run has that."""
