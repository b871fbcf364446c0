"""What a decision costs, apart from everything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.alone import Alone, per_call
from bench.figures import BenchFault, Metric
from bench.lab import Lab
from bench.settings import Settings
from gateway.policy.judge import judge
from gateway.policy.load import compile_policy
from gateway.policy.principal import Principal
from gateway.policy.verdicts import Verdict
from protocols.contract import Command, Phase
from protocols.sql.analyse import analyse
from protocols.sql.words import ACTIONS, FACTS

WHO = Principal("deploy", "github", "agent")
TEXT = "update orders set total = $1 where id = $2"
BASE = """
version = 1
[[rule]]
id = "allow"
on = ["sql.select", "sql.update"]
who = { kind = "agent" }
where = { tables = "public.orders" }
verdict = "allow"
[[rule]]
id = "unbounded"
on = ["sql.update", "sql.delete"]
where = { has_where = false }
verdict = "block"
[[rule]]
id = "constant"
on = ["sql.update", "sql.delete"]
where = { where_is_constant = true }
verdict = "block"
"""
RULE = """
[[rule]]
id = "x{n}"
on = ["sql.update", "sql.delete"]
where = {{ tables = "app.t{n}" }}
verdict = "block"
"""


class Decisions(Alone):
    """One command that was parsed already, judged again and again."""

    name = "decision"
    about = "judging one UPDATE that is parsed already; parsing a new text is beside it"
    metrics = (Metric("time", "µs", "less"),)
    variants = ("10 rules", "1,000 rules", "parse a new text")

    def cases(self, settings: Settings) -> Sequence[str]:
        return ["one command"]

    def prepare(self, lab: Lab) -> None:
        self._policies = {
            name: compile_policy(
                BASE + "".join(RULE.format(n=n) for n in range(count - 3)),
                source="bench",
                actions={"sql": (ACTIONS, FACTS)},
            )
            for name, count in (("10 rules", 10), ("1,000 rules", 1000))
        }
        self._texts = 0

    def turn(self, lab: Lab, entrant: str, case: str, seconds: float) -> Mapping[str, float]:
        if entrant not in self._policies:
            return {"time": per_call(self._parse, seconds) * 1e6}
        policy = self._policies[entrant]
        command = Command(1, Phase.RUN, TEXT, analyse(TEXT).parts)
        if judge(command, WHO, "db", policy, None).verdict is not Verdict.ALLOW:
            raise BenchFault("the decision is not what it must be")
        return {"time": per_call(lambda: judge(command, WHO, "db", policy, None), seconds) * 1e6}

    def _parse(self) -> None:
        # A shape that no cache has seen: other names, not only other values.
        self._texts += 1
        n = self._texts
        if not analyse(f"update t{n} set c{n} = $1 where k{n} = $2").parts:
            raise BenchFault("a text was not understood")


SCENARIOS = (Decisions(),)
