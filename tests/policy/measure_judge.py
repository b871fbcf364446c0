"""Measures ``judge``: ``python -m tests.policy.measure_judge`` from the top.

Prints microseconds a decision (best of several rounds) with 10 rules and with
1,000: about other actions, about other tables, and for other people.
"""

from __future__ import annotations

import time

from gateway.policy.judge import judge
from gateway.policy.load import compile_policy
from gateway.policy.policy import Policy
from gateway.policy.principal import Principal
from protocols.contract import Command, Phase
from protocols.sql.analyse import analyse
from protocols.sql.words import ACTIONS, FACTS

BASE = """
version = 1
[[rule]]
id = "unbounded"
on = ["sql.update", "sql.delete"]
where = { has_where = false }
verdict = "block"
message = "{verb} without WHERE on {tables}"
[[rule]]
id = "constant"
on = ["sql.update", "sql.delete"]
where = { where_is_constant = true }
verdict = "block"
[[rule]]
id = "mask"
on = "sql.select"
where = { reads_columns = ["*.email", "*.ssn"] }
verdict = "mask"
mask = { columns = "*.email", with = "redact" }
[[rule]]
id = "payments"
on = ["sql.delete", "sql.update"]
where = { tables = "public.payments" }
verdict = "hold"
approve = { groups = ["dba"] }
[[rule]]
id = "ci"
on = ["sql.select", "sql.insert", "sql.update"]
who = { kind = "ci", issuer = "github", claims = { ref = "refs/heads/main" } }
where = { tables = "public.orders" }
verdict = "allow"
[[rule]]
id = "away"
on = "sql.*"
where = { tables = ["hr.*", "secret.*"] }
verdict = "block"
[[rule]]
id = "agents"
on = "sql.select"
who = { kind = "agent" }
where = { tables = "public.*" }
verdict = "allow"
[[rule]]
id = "grants"
on = "sql.*"
effects = ["grant", "control"]
verdict = "block"
[[rule]]
id = "ddl"
on = "sql.*"
where = { is_ddl = true }
verdict = "block"
[[rule]]
id = "copy"
on = ["sql.copy_in", "sql.copy_out"]
verdict = "block"
"""
MORE = {
    "10 rules": (0, ""),
    "1,000, other actions": (990, 'on = "sql.create"\nwhere.tables = "app{i}.*"'),
    "1,000, other tables": (990, 'on = "sql.*"\nwhere.tables = "app.t{i}"'),
    "1,000, other people": (990, 'on = "sql.*"\nwho.subject = "s{i}"'),
}
TEXTS = (
    "select id, total from orders where id = $1",
    "update orders set total = $1 where id = $2",
    "delete from orders",
)
WHO = Principal("deploy", "github", "ci", claims={"ref": "refs/heads/main"})
ROUNDS, TIMES = 15, 2000


def load(count: int, lines: str) -> tuple[Policy, float]:
    rule = '[[rule]]\nid = "x{i}"\nverdict = "block"\n' + lines + "\n"
    text = BASE + "".join(rule.replace("{i}", str(i)) for i in range(count))
    start = time.perf_counter()
    policy = compile_policy(text, source="bench", actions={"sql": (ACTIONS, FACTS)})
    return policy, time.perf_counter() - start


def main() -> None:
    for name, (count, lines) in MORE.items():
        policy, seconds = load(count, lines)
        row = [f"{name:24} loads in {seconds * 1e3:4.0f} ms"]
        for text in TEXTS:
            command = Command(1, Phase.RUN, text, analyse(text).parts)
            verdict = judge(command, WHO, "prod", policy, None).verdict
            best = 1.0
            for _ in range(ROUNDS):
                start = time.perf_counter()
                for _ in range(TIMES):
                    judge(command, WHO, "prod", policy, None)
                best = min(best, (time.perf_counter() - start) / TIMES)
            row.append(f"{verdict} {best * 1e6:5.2f} µs")
        print("  ".join(row))


if __name__ == "__main__":
    main()
