"""Sessions for the index: many small ones, all different."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
from hypothesis import strategies as st

from recorder.index.answer import URL
from recorder.index.database import SCHEMA

sys.path.insert(0, str(Path(__file__).parents[1]))

from recorder_world import C, Legs, World, make_journal

DAY = 86_400_000_000_000
WALL = 1_790_000_000_000_000_000
TEXTS = ["select 1", "DELETE FROM users", "delete from user_s", "Straße ÄÖ", "x\0y\x1b[31m",
         "ſelect K", "insert into t values ('a.b')", "\udc80broken", "", "a" * 300,
         "drop table superusers"]  # fmt: skip
WHO = ["ci@repo", "ann", "corp\\bob", "eve\udcff", ""]
RULES = ["reads", "no-where", "hold=all"]


class Days(World):
    """A wall clock that is set."""

    def __init__(self) -> None:
        super().__init__()
        self.at = WALL

    def wall(self) -> int:
        return self.at


def fresh() -> None:
    """Nothing is in the shared index, where there is one."""
    url = os.environ.get(URL)
    if url:
        with psycopg.connect(url, autocommit=True) as db:
            db.execute("set client_min_messages = error")
            db.execute(f"drop schema if exists wirewarden_index_{SCHEMA} cascade".encode())


def session_id(number: int) -> str:
    return f"01K5P0M4C0000000000000{number:04d}"


def write(state: Path, sessions: list[dict[str, Any]], first: int = 0, live: int = 0) -> Any:
    """Log sessions; the last ``live`` of them stay open (keep what is returned)."""
    world = Days()
    journal = make_journal(state, world, sealer=True, worker=f"w{first}")
    for number, told in enumerate(sessions):
        world.at = WALL + told["day"] * DAY + told["ms"] * 1_000_000
        peer = {"listener": "db", "protocol": told["protocol"], "peer": "127.0.0.1:1"}
        log = journal.open({"session": session_id(first + number), **peer})
        legs = Legs()
        who = {"subject": told["who"], "groups": told["groups"], "run": told["run"]}
        log.event("identity", {**who, "tags": {"env": told["env"]}})
        log.event("destination", {"target": told["target"], "database": told["database"]})
        for at, (text, verdict, rule, parameters) in enumerate(told["commands"]):
            log.command(at, "run", text, verdict, (rule,), "why", "p", None, parameters)
            log.spans([legs.passed(C, b"Q")])
            if at % 3 == 2:
                journal.flush()
        if told["approval"]:
            people = [{"subject": "lead", "approve": True, "reason": "ok"}]
            fields = {"id": f"a{number}", "state": told["approval"], "approvers": people}
            log.event("approval", fields)
        if number < len(sessions) - live:
            log.end(told["status"], "done")
        journal.flush()
    if not live:
        journal.close()
    wanted = {session_id(first + number) for number in range(len(sessions) - live)}
    while not wanted <= {path.stem for path in state.glob("sessions/*/*/*/*.agr")}:
        time.sleep(0.01)  # its sealer is at work
    return journal


COMMANDS = st.tuples(
    st.one_of(st.sampled_from(TEXTS), st.text(max_size=12)),
    st.integers(0, 3),
    st.sampled_from(RULES),
    st.one_of(st.none(), st.lists(st.one_of(st.none(), st.sampled_from(TEXTS)), max_size=2)),
)
SESSION = st.fixed_dictionaries(
    {
        "day": st.integers(0, 2),
        "ms": st.integers(0, 3),
        "protocol": st.sampled_from(["postgres", "resp"]),
        "who": st.sampled_from(WHO),
        "groups": st.lists(st.sampled_from(["dev", "ops"]), unique=True),
        "run": st.sampled_from(["", "1", "2"]),
        "env": st.sampled_from(["prod", "dev", "a=b"]),
        "target": st.sampled_from(["db", "cache"]),
        "database": st.sampled_from(["app", "other", "org/repo"]),
        "commands": st.lists(COMMANDS, max_size=5),
        "approval": st.sampled_from(["", "approved", "denied"]),
        "status": st.sampled_from(["closed", "terminated"]),
    }
)
