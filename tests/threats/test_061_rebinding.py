"""Row 61: what an Execute runs is what was judged, whatever happened to names.

A random client, pipelining as it likes, rebinds prepared names between harmless
and forbidden texts in all the ways there are (Parse, Close, PREPARE, DEALLOCATE,
DISCARD ALL, errors, transactions). The oracle is the server itself: a trigger
writes down every forbidden statement that ran, and none may.
"""

from __future__ import annotations

import random

import psycopg
import pytest
from stack import Stack
from wire import SYNC, Answer, bind, close, describe, enter, execute, parse, query

from gateway.demo.postgres import Server

SAFE = "SELECT 1"
EVIL = "INSERT INTO marks VALUES (1)"
TEXTS = (SAFE, EVIL, "SELECT 1/0", "SELECT nothing_such", EVIL + " RETURNING 1")


@pytest.fixture(scope="module")
def marks(pg: Server) -> str:
    with psycopg.connect(pg.dsn(), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS rebinding")
        connection.execute("CREATE DATABASE rebinding")
    with psycopg.connect(pg.dsn("rebinding"), autocommit=True) as connection:
        # Sequences are not undone by a rollback: one step tells that it ran.
        connection.execute(
            b"CREATE TABLE marks (id int);"
            b"CREATE SEQUENCE ran;"
            b"CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
            b" 'BEGIN PERFORM nextval(''ran''); RETURN NEW; END';"
            b"CREATE TRIGGER note BEFORE INSERT ON marks FOR EACH ROW EXECUTE FUNCTION note()"
        )
    return pg.dsn("rebinding")


READ_AND_PREPARE = """
version = 1
default = "deny"

[[rule]]
id = "read-and-prepare"
on = ["sql.select", "sql.transaction", "sql.prepare", "sql.execute", "sql.deallocate",
      "sql.declare", "sql.fetch", "sql.close"]
incomplete = true
verdict = "allow"

[[rule]]
id = "no-writes"
on = "sql.*"
effects = ["write", "destroy"]
verdict = "block"
message = "no writes"
"""


@pytest.fixture(scope="module")
def preparers(started: object, pg: Server) -> Stack:
    made: Stack = started(pg, policy=READ_AND_PREPARE)  # type: ignore[operator]
    return made


def ran(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT last_value, is_called FROM ran").fetchone()
    assert row is not None
    return int(row[0]) if row[1] else 0


NAMES = ("", "s", "t")


def step(rng: random.Random) -> bytes:
    name, text = rng.choice(NAMES), rng.choice(TEXTS)
    portal = rng.choice(("", "p"))
    sql_name = name or "s"
    choices = [
        (6, lambda: parse(name, text)),
        (6, lambda: bind(portal, name)),
        (6, lambda: execute(portal)),
        (2, lambda: close("S", name)),
        (1, lambda: close("P", portal)),
        (1, lambda: describe("S", name)),
        (1, lambda: describe("P", portal)),
        (3, lambda: SYNC),
        (2, lambda: query(f"PREPARE {sql_name} AS {text}")),
        (1, lambda: query(f"DEALLOCATE {sql_name}")),
        (1, lambda: query("DISCARD ALL")),
        (1, lambda: query("DEALLOCATE ALL")),
        (3, lambda: query(f"EXECUTE {sql_name}")),
        (1, lambda: query(f"BEGIN; DEALLOCATE {sql_name}; PREPARE {sql_name} AS {text}")),
        (1, lambda: query(f"DEALLOCATE {sql_name}; SELECT 1/0")),
        (1, lambda: query(f"EXPLAIN ANALYZE EXECUTE {sql_name}")),
        (1, lambda: query(f"BEGIN; DECLARE {sql_name} CURSOR FOR SELECT 1")),
        (1, lambda: query(f"PREPARE {sql_name} AS {SAFE}; EXECUTE {sql_name}")),
        (2, lambda: query(rng.choice(("BEGIN", "COMMIT", "ROLLBACK")))),
        (1, lambda: query(rng.choice(TEXTS))),
    ]
    return rng.choices([make for _, make in choices], [w for w, _ in choices])[0]()


def walk(stack: Stack, seed: int, steps: int = 250) -> Answer:
    rng = random.Random(seed)
    out = Answer()
    with enter(stack, "rebinding") as wire:
        owed = 0
        batch = b""
        for _ in range(steps):
            raw = step(rng)
            if raw[:1] == b"Q":  # behind an error the server skips to a Sync, Queries too
                batch += SYNC
                owed += 1
            batch += raw
            owed += raw[:1] in b"SQ"
            if rng.random() < 0.2:  # speak now; else go on pipelining
                wire.send(batch)
                batch = b""
                if rng.random() < 0.5:
                    while owed:
                        got = wire.until()
                        assert got.status, f"seed {seed}: the session died: {got}"
                        owed -= 1
                        out += got
        wire.send(batch, SYNC)
        for _ in range(owed + 1):
            got = wire.until()
            assert got.status, f"seed {seed}: the session died: {got}"
            out += got
        assert wire.quiet(0.02), f"seed {seed}: more answers than questions"
    return out


@pytest.mark.parametrize("seed", range(12))
def test_a_random_client(preparers: Stack, marks: str, seed: int) -> None:
    before = ran(marks)
    answers = walk(preparers, seed)
    assert ran(marks) == before, f"seed {seed}: a forbidden statement ran"
    codes = {e["C"] for e in answers.errors}
    assert "42501" in codes, "nothing was refused: the walk proves nothing"
    assert answers.tags, "nothing ran: the walk proves nothing"


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(1000, 1060))
def test_a_random_client_deep(preparers: Stack, marks: str, seed: int) -> None:
    before = ran(marks)
    walk(preparers, seed, 400)
    assert ran(marks) == before, f"seed {seed}: a forbidden statement ran"


def test_the_walk_would_notice(anything: Stack, marks: str) -> None:
    before = ran(marks)
    walk(anything, 3)
    assert ran(marks) > before, "with everything allowed the forbidden statement does run"


BY_HAND = {
    "reparse": (parse("s", SAFE), SYNC, close("S", "s"), parse("s", EVIL), bind("", "s"),
                execute(), SYNC),
    "reparse in one go": (parse("s", SAFE), bind("p", "s"), close("S", "s"), parse("s", EVIL),
                          bind("p", "s"), execute("p"), SYNC),
    "unnamed": (parse("", SAFE), parse("", EVIL), bind("", ""), execute(), SYNC),
    "prepare by text": (query(f"PREPARE s AS {EVIL}"), bind("", "s"), execute(), SYNC),
    "in a text with another": (query(f"PREPARE s AS {SAFE}; DEALLOCATE s; PREPARE s AS {EVIL}"),
                               query("EXECUTE s")),
    "nested": (query(f"PREPARE s AS {SAFE}"), query(f"DEALLOCATE s; PREPARE s AS {EVIL};"
               " EXECUTE s")),
    "quoted": (query(f'PREPARE "S" AS {EVIL}'), query("EXECUTE \"S\"")),
    "cut name": (query(f"PREPARE {'s' * 70} AS {EVIL}"), bind("", "s" * 63), execute(), SYNC),
    "cut name the other way": (parse("s" * 63, SAFE), SYNC, close("S", "s" * 63),
                               parse("s" * 63, EVIL), bind("", "s" * 70), execute(), SYNC),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(preparers: Stack, marks: str, name: str) -> None:
    before = ran(marks)
    with enter(preparers, "rebinding") as wire:
        messages = BY_HAND[name]
        wire.send(*messages)
        answers = Answer()
        for _ in range(sum(raw[:1] in b"SQ" for raw in messages)):
            answers += wire.until()
        assert "42501" in [e["C"] for e in answers.errors], answers
    assert ran(marks) == before


HELD_BY_TEXT_AS_WELL = """
version = 1
default = "deny"

[[rule]]
id = "all"
on = "sql.*"
verdict = "allow"

[[rule]]
id = "writes-wait"
on = "sql.insert"
verdict = "hold"
approve = { groups = ["dba"], count = 1, ttl = "30m" }
message = "somebody has to see it"

[[rule]]
id = "by-text"
on = "sql.*"
text = "never said"
verdict = "block"
"""
"""A rule that looks at texts: verdicts depend on more than on what a text does."""


def test_the_same_text_runs_something_else(started: object, pg: Server, marks: str) -> None:
    """What may be held can be prepared: only EXECUTE asks, in the words that it had before."""
    stack: Stack = started(pg, policy=HELD_BY_TEXT_AS_WELL)  # type: ignore[operator]
    before = ran(marks)
    with enter(stack, "rebinding") as wire:
        assert wire.say(parse("s", SAFE)).kinds == "1Z"
        assert wire.ask("EXECUTE s").kinds == "TDCZ"
        assert wire.say(close("S", "s"), parse("s", EVIL)).kinds == "31Z"
        said = wire.send(query("EXECUTE s")).until("NCE")
        assert said.kinds == "N", said
        assert "waiting for approval" in str(said)
    assert ran(marks) == before
