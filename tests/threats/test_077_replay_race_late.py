"""Row 77: an approval counts once, in time, for a session that still waits; of two
opposite decisions at once one wins.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg
import pytest
from people import approvals, dba, decide, held, holds, rows, with_people
from stack import Stack
from wire import await_true, enter, query

from gateway.demo.postgres import Server


@pytest.fixture(scope="module")
def quick(
    started: Callable[..., Stack], pg: Server, tmp_path_factory: pytest.TempPathFactory
) -> Stack:
    with psycopg.connect(pg.dsn("shop"), autocommit=True) as direct:
        direct.execute("DROP TABLE IF EXISTS raced")
        direct.execute("CREATE TABLE raced (n int)")
    return with_people(started, tmp_path_factory.mktemp("p"), pg, policy=holds("10s"))


def ran(stack: Stack, n: int) -> int:
    return len(rows(stack, "shop", f"SELECT 1 FROM raced WHERE n = {n}"))


def state(stack: Stack, approval: str) -> str:
    return next(a["state"] for a in approvals(stack, everything=True) if a["id"] == approval)


def test_two_opposite_decisions_at_once(quick: Stack) -> None:
    for n in range(2):
        with enter(quick) as wire:
            wire.send(query(f"INSERT INTO raced VALUES ({n})"))
            card = held(quick)
            codes: dict[str, int] = {}

            def one(verb: str, who: str, id: str, codes: dict[str, int] = codes) -> None:
                codes[verb] = decide(quick, verb, id, dba(quick, who)).returncode

            threads = [
                threading.Thread(target=one, args=("approve", "dana", card["id"])),
                threading.Thread(target=one, args=("deny", "dave", card["id"])),
            ]
            for thread in threads:
                thread.start()
            answer = wire.until()
            for thread in threads:
                thread.join()
            assert sorted(codes.values()) == [0, 3], "one wins, the other is told"
            approved = codes["approve"] == 0
            assert (answer.code == "") is approved, (codes, answer)
            assert ran(quick, n) == approved


def test_used_once(quick: Stack) -> None:
    with enter(quick) as wire:
        wire.send(query("INSERT INTO raced VALUES (10)"))
        card = held(quick)
        assert decide(quick, "approve", card["id"], dba(quick)).returncode == 0
        assert wire.until().tags == ["INSERT 0 1"]
        assert decide(quick, "approve", card["id"], dba(quick)).returncode == 3
        assert decide(quick, "deny", card["id"], dba(quick, "dave")).returncode == 3
        assert state(quick, card["id"]) == "consumed"
        wire.send(query("INSERT INTO raced VALUES (10)"))
        second = held(quick)
        assert second["id"] != card["id"]
        decide(quick, "deny", second["id"], dba(quick))
        assert wire.until().code == "42501"
    assert ran(quick, 10) == 1


def test_after_it_lapsed(quick: Stack) -> None:
    with enter(quick) as wire:
        wire.send(query("INSERT INTO raced VALUES (20)"))
        card = held(quick)
        wire.sock.settimeout(20)
        answer = wire.until()
        assert answer.code == "42501"
        assert "expired" in answer.error["M"]
        assert decide(quick, "approve", card["id"], dba(quick)).returncode == 3
        assert wire.ask("SELECT 1").rows == [[b"1"]]
    assert ran(quick, 20) == 0


def test_after_the_client_left(quick: Stack) -> None:
    wire = enter(quick)
    wire.send(query("INSERT INTO raced VALUES (30)"))
    card = held(quick)
    wire.close()
    await_true(lambda: not approvals(quick), what="the request's end")
    assert decide(quick, "approve", card["id"], dba(quick)).returncode == 3
    assert ran(quick, 30) == 0


def test_after_the_client_cancelled(quick: Stack) -> None:
    with quick.connect("shop") as connection:
        failed = []

        def run() -> None:
            try:
                connection.execute("INSERT INTO raced VALUES (40)")
            except psycopg.Error as error:
                failed.append(error.sqlstate)

        thread = threading.Thread(target=run)
        thread.start()
        card = held(quick)
        connection.cancel()
        thread.join(10)
        assert failed == ["57014"]
        assert decide(quick, "approve", card["id"], dba(quick)).returncode == 3
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert ran(quick, 40) == 0


def test_approved_by_two_at_once_runs_once(quick: Stack) -> None:
    with enter(quick) as wire:
        wire.send(query("INSERT INTO raced VALUES (50)"))
        card = held(quick)
        threads = [
            threading.Thread(target=decide, args=(quick, "approve", card["id"], dba(quick, who)))
            for who in ("dana", "dave")
        ]
        for thread in threads:
            thread.start()
        assert wire.until().tags == ["INSERT 0 1"]
        for thread in threads:
            thread.join()
        assert wire.quiet(0.2)
    assert ran(quick, 50) == 1


@pytest.mark.parametrize("id", ["AP-999999", "AP-1 OR 1=1", "AP-٣"])
def test_ids_that_are_none(quick: Stack, id: str) -> None:
    assert decide(quick, "approve", id, dba(quick)).returncode in (2, 3)
