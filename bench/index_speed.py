"""How fast the index of recordings is: ``python -m bench.index_speed [COMMANDS] [FOLDER]``.

Makes Logs with COMMANDS commands in all (a million), 20 to a session, builds the index, and
asks. What is asked is timed in one process, without the start of Python.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from protocols.wire import Mark, Move, Side, Span
from recorder import framing, records
from recorder.cutting import cut
from recorder.framing import Framed
from recorder.index.answer import NAME, Answer, opened, rebuilt
from recorder.index.wanted import Pattern, Wanted, Words

PER_SESSION = 20
ROUNDS = 15
BEGAN = 1_790_000_000_000_000_000
TABLES = ["users", "orders", "invoices", "events", "sessions", "accounts", "items", "payments"]
DAYS = 20


def command_of(chance: random.Random, number: int) -> tuple[str, int, str]:
    """A statement as jobs send them, its verdict and rule."""
    table = chance.choice(TABLES)
    at = chance.random()
    if number == 777_777 or at < 0.000_02:
        return "drop table quarterly_ledger", 3, "no-destroy"
    if at < 0.01:
        return f"delete from {table} where true", 3, "no-where"
    if at < 0.05:
        return (
            f"update {table} set state = 'x{chance.randrange(10**6)}' where id = {number}",
            2,
            "hold",
        )
    if at < 0.15:
        return f"select email, name from {table} where id = {number}", 1, "pii"
    return (
        f"select * from {table} where id = {number} and day = '{chance.randrange(365)}'",
        0,
        "reads",
    )


def write(state: Path, count: int) -> float:
    """Write the Logs; seconds."""
    chance = random.Random(7)
    began = time.monotonic()
    packer = records.packer()
    sessions = count // PER_SESSION
    span = Span(Move.PASS, Side.CLIENT, Mark.PLAIN, b"Q" * 60, 0)
    for number in range(sessions):
        wall = BEGAN + number * (DAYS * 86_400_000_000_000 // sessions)
        session = f"01K{number:023d}"
        header = {"session": session, "wall": wall, "protocol": "postgres", "peer": "10.0.0.9:1"}
        who = {
            "subject": f"repo-{chance.randrange(300)}@ci", "issuer": "github", "kind": "ci",
            "groups": ["ci", f"team-{chance.randrange(20)}"], "run": str(number // 10),
            "tags": {"env": chance.choice(["prod", "dev"]), "pr": str(number // 30)},
        }  # fmt: skip
        where = {"target": f"db-{chance.randrange(12)}", "database": "app", "user": "svc"}
        entries: list[list[object]] = [[32, "identity", who], [32, "destination", where]]
        verdicts = [0, 0, 0, 0]
        for at in range(PER_SESSION):
            text, verdict, rule = command_of(chance, number * PER_SESSION + at)
            verdicts[verdict] += 1
            entries.append([33, at, "run", text, verdict, [rule], "", "p", [], [], 0])
            entries.append([34, at, at, None, None])
        entries.append([0, 0, 0, span.raw])
        summary = {**who, **where, "verdicts": verdicts}
        bodies = [
            (framing.HEADER, [0, 0, 0, 1, header]),
            (framing.DATA, [0, 1, 1000, *entries]),
            (framing.END, [0, 2, 2000, "closed", "done", [60, 0, 0, 60], summary]),
        ]
        found = (Framed(0, kind, 0, b"", packer.pack(body)) for kind, body in bodies)
        cut(state / "sessions", found, True, durable=False)
    return time.monotonic() - began


def timed(what: str, ask: Callable[[], object]) -> None:
    """Print p50 and worst of ``ROUNDS``, and how many were found."""
    took = []
    for _ in range(ROUNDS):
        began = time.monotonic()
        found = ask()
        took.append((time.monotonic() - began) * 1000)
    took.sort()
    count = len(found) if isinstance(found, list) else found
    print(f"{what:44} {took[len(took) // 2]:9.2f} {took[-1]:9.2f}   {count}")


def main() -> None:
    """Write, build, ask."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as temporary:
        state = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(temporary)
        if not (state / "sessions").exists():
            print(f"wrote {count} commands in {write(state, count):.0f} s")
        if not (state / NAME).exists():
            began = time.monotonic()
            made = rebuilt(state, print)
            assert made is not None
            took = time.monotonic() - began
            sessions, pages, size = made
            print(
                f"built: {sessions} sessions, {pages} pages in {took:.0f} s: "
                f"{sessions * PER_SESSION / took:.0f} commands/s, "
                f"{size / (sessions * PER_SESSION):.0f} bytes per command"
            )
        ask(state, count)


def questions(count: int) -> tuple[dict[str, tuple[Wanted, int]], dict[str, tuple[Wanted, int]]]:
    """What is asked of sessions, and of commands, each with how many are wanted (0: all)."""
    began = datetime.fromtimestamp(BEGAN / 1e9, UTC)
    rare = str(count // PER_SESSION // 2 // 10)
    sessions = {
        "newest 50": (Wanted(), 50),
        "--principal": (Wanted(principal="repo-7@ci"), 50),
        "--run": (Wanted(run=rare), 0),
        "--tag": (Wanted(tags=(("env", "prod"),)), 50),
        "--group --target": (Wanted(group="team-3", target="db-1"), 50),
        "--group --target, all": (Wanted(group="team-3", target="db-1"), 0),
        "--since --until (an hour)": (
            Wanted(since=began + timedelta(days=3), until=began + timedelta(days=3, hours=1)), 0),
        "--denied": (Wanted(denied=True), 50),
        "--rule, rare": (Wanted(rule="no-destroy"), 0),
        "--verdict hold --principal": (Wanted(verdict="hold", principal="repo-7@ci"), 50),
        "--text, rare": (Wanted(text=Words("quarterly_ledger")), 0),
        "--status, none": (Wanted(status="recovered"), 0),
    }  # fmt: skip
    items = {
        "drop table": (Wanted(pattern=Pattern("drop table")), 0),
        "select (every command)": (Wanted(pattern=Pattern("select")), 50),
        "delete from (users|orders)": (Wanted(pattern=Pattern("delete from (users|orders)")), 50),
        "id = 123456 (one)": (Wanted(pattern=Pattern(r"id = 123456\b")), 0),
        "no such text": (Wanted(pattern=Pattern("select nothing from nowhere")), 0),
        "quarterly --rule no-destroy": (
            Wanted(pattern=Pattern("quarterly"), rule="no-destroy"), 0),
        "select --principal": (Wanted(pattern=Pattern("select"), principal="repo-9@ci"), 50),
        "--verdict block": (Wanted(verdict="block"), 50),
        "--verdict block --run": (Wanted(verdict="block", run=rare), 0),
        "users|orders (two common words)": (Wanted(pattern=Pattern("users|orders")), 50),
        "ledger|nothing (rare words)": (Wanted(pattern=Pattern("ledger|nothing")), 0),
        "no text to look up: u.?r.s, common": (Wanted(pattern=Pattern("u.?e.s")), 50),
    }  # fmt: skip
    return sessions, items


def ask(state: Path, count: int) -> None:
    """Every filter."""
    sessions, items = questions(count)
    print(f"{'list':44} {'p50 ms':>9} {'worst ms':>9}   found")
    for what, (wanted, limit) in sessions.items():
        timed(what, lambda w=wanted, n=limit: Answer(state, w, print).lines(n))  # type: ignore[misc]
    print("grep")
    for what, (wanted, limit) in items.items():
        timed(what, lambda w=wanted, n=limit: [*Answer(state, w, print).items(n)])  # type: ignore[misc]
    timed("opened and caught up, nothing new", lambda: opened(state, print) is not None)


if __name__ == "__main__":
    main()
