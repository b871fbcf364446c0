"""Row 76: an approval is for exactly what was asked, by whom, of what, under which
policy. Change one thing and it is another request.

The digest in
``Approvals.consume`` is the second guard: the first is that a wait is for one approval of
its own, whose row the store refuses to change, so no client can make the two differ.
"""

from __future__ import annotations

import dataclasses
import sqlite3
import time
from collections.abc import Callable

import psycopg
import pytest
from people import approvals, dba, decide, held, holds, rows, with_people
from stack import Stack
from wire import SYNC, bind, enter, execute, parse, query

from gateway.demo.postgres import Server
from protocols.contract import Command, Parameter, Part, Phase


@pytest.fixture(scope="module")
def holding(
    started: Callable[..., Stack], pg: Server, tmp_path_factory: pytest.TempPathFactory
) -> Stack:
    with psycopg.connect(pg.dsn("shop"), autocommit=True) as direct:
        direct.execute("DROP TABLE IF EXISTS held")
        direct.execute("CREATE TABLE held (n int, t text)")
    return with_people(started, tmp_path_factory.mktemp("p"), pg, policy=holds())


def test_the_approved_one_runs_and_nothing_else(holding: Stack) -> None:
    with enter(holding) as wire:
        wire.send(query("INSERT INTO held VALUES (1, 'asked')"))
        card = held(holding)
        assert decide(holding, "approve", card["id"], dba(holding)).returncode == 0
        assert wire.until().tags == ["INSERT 0 1"]
        for other in (
            "INSERT INTO held VALUES (2, 'asked')",
            "INSERT INTO held VALUES (1, 'asked') ",
            "insert into held values (1, 'asked')",
            "INSERT INTO held VALUES (1, 'asked'); INSERT INTO held VALUES (3, 'x')",
            "INSERT INTO held VALUES (1, 'asked')",
        ):
            wire.send(query(other))
            card = held(holding)
            assert decide(holding, "deny", card["id"], dba(holding)).returncode == 0
            assert wire.until().code == "42501", other
    assert rows(holding, "shop", "SELECT n, t FROM held") == [(1, "asked")]


def test_parameters_are_part_of_it(holding: Stack) -> None:
    text = "INSERT INTO held VALUES ($1, $2)"
    with enter(holding) as wire:
        wire.send(parse("s", text), bind("", "s", b"10", b"bound"), execute(), SYNC)
        card = held(holding)
        assert card["parameters"] == ["10", "bound"]
        assert decide(holding, "approve", card["id"], dba(holding)).returncode == 0
        assert wire.until().tags == ["INSERT 0 1"]
        first = card["digest"]
        wire.send(bind("", "s", b"10", b"bounD"), execute(), SYNC)
        card = held(holding)
        assert card["digest"] != first
        decide(holding, "deny", card["id"], dba(holding))
        assert wire.until().code == "42501"
    assert rows(holding, "shop", "SELECT n FROM held WHERE n = 10") == [(10,)]


def test_pipelined_bytes_behind_it_do_not_slip_in(holding: Stack) -> None:
    """While A waits, B stands behind it; approving A does not run B."""
    with enter(holding) as wire:
        wire.send(query("INSERT INTO held VALUES (20, 'A')"))
        wire.send(query("INSERT INTO held VALUES (21, 'B')"))
        card = held(holding)
        assert "'A'" in card["text"]
        decide(holding, "approve", card["id"], dba(holding))
        assert wire.until().tags == ["INSERT 0 1"]
        card = held(holding)
        assert "'B'" in card["text"]
        decide(holding, "deny", card["id"], dba(holding))
        assert wire.until().code == "42501"
    assert rows(holding, "shop", "SELECT n FROM held WHERE n IN (20, 21)") == [(20,)]


def test_a_portal_that_was_approved_is_not_rebound(holding: Stack) -> None:
    """Hold is on Bind: between approval and Execute the portal can't change."""
    with enter(holding) as wire:
        wire.ask("BEGIN")
        wire.send(parse("", "INSERT INTO held VALUES (30, 'ok')"), bind("p", ""))
        wire.send(parse("", "INSERT INTO held VALUES (31, 'evil')"), bind("p", ""), execute("p"))
        wire.send(SYNC)
        decide(holding, "approve", held(holding)["id"], dba(holding))
        # The server refuses to bind over an open portal ("p" exists), or asks us again.
        end = time.monotonic() + 3
        while time.monotonic() < end:
            for card in approvals(holding):
                decide(holding, "deny", card["id"], dba(holding))
            if not wire.quiet(0.1):
                break
        answer = wire.until()
        assert answer.errors
        wire.ask("ROLLBACK")
    assert rows(holding, "shop", "SELECT n FROM held WHERE n = 31") == []


def test_the_row_in_the_store_is_not_enough(holding: Stack) -> None:
    """Someone who may write the store, but not the gateway's memory, approves an
    approval for other content: the digest does not fit."""
    with enter(holding) as wire:
        wire.send(query("INSERT INTO held VALUES (40, 'x')"))
        card = held(holding)
        with sqlite3.connect(holding.state / "approvals.db") as db:
            try:
                db.execute(
                    "UPDATE approval SET digest = ?, state = 'approved' WHERE number = ?",
                    ("0" * 64, int(card["id"][3:])),
                )
            except sqlite3.DatabaseError:
                db.rollback()
                decide(holding, "deny", card["id"], dba(holding))
        assert wire.until().code == "42501"
    assert rows(holding, "shop", "SELECT n FROM held WHERE n = 40") == []


def test_every_field_counts_in_the_digest() -> None:
    part = Part("sql.update", (), {}, True)
    base = Command(
        1, Phase.RUN, "UPDATE t", (part,), (Parameter(b"1", "text", "23"),), ("query", "name")
    )
    extra = ("target", "issuer", "subject", "run", "policy")
    digests = {base.digest(*extra)}
    changed = [
        dataclasses.replace(base, text="UPDATE t "),
        dataclasses.replace(base, parameters=()),
        dataclasses.replace(base, parameters=(Parameter(None, "text", "23"),)),
        dataclasses.replace(base, parameters=(Parameter(b"1", "binary", "23"),)),
        dataclasses.replace(base, parameters=(Parameter(b"1", "text", "25"),)),
        dataclasses.replace(base, parameters=(Parameter(b"1", "text", "23"),) * 2),
        dataclasses.replace(base, context=("query", "names")),
        dataclasses.replace(base, context=("queryname",)),
    ]
    digests |= {command.digest(*extra) for command in changed}
    for place in range(len(extra)):
        other = [*extra]
        other[place] += "x"
        digests.add(base.digest(*other))
    digests.add(base.digest("target", "issuer", "subjectrun", "", "policy"))
    assert len(digests) == 2 + len(changed) + len(extra)
