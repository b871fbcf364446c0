"""Row 80: what changes while a command waits is looked at again before it runs.

The state of the table is the server's business; what the gateway knows is the
policy, the time, the proof and the session. Goes red without ``Relay.drifted``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from people import dba, decide, held, holds, rows, with_people
from stack import Stack
from wire import await_true, enter, query

from gateway.demo.postgres import Server


@pytest.fixture(scope="module")
def drifting(
    started: Callable[..., Stack], pg: Server, tmp_path_factory: pytest.TempPathFactory
) -> Stack:
    with psycopg.connect(pg.dsn("shop"), autocommit=True) as direct:
        direct.execute("DROP TABLE IF EXISTS drifted")
        direct.execute("CREATE TABLE drifted (n int)")
    return with_people(started, tmp_path_factory.mktemp("p"), pg, policy=holds())


def test_time_goes_on(
    started: Callable[..., Stack], pg: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    now = datetime.now(UTC)
    if now.second > 45:
        time.sleep(61 - now.second)
        now = datetime.now(UTC)
    soon = now + timedelta(minutes=1)
    if soon.date() != now.date():
        pytest.skip("a minute before midnight")
    closed = f"""
[[rule]]
id = "closing-time"
on = "sql.insert"
when = {{ hours = "{soon:%H:%M}-23:59", tz = "UTC" }}
verdict = "block"
message = "closed"
"""
    stack = with_people(started, tmp_path_factory.mktemp("p"), pg, policy=holds() + closed)
    with psycopg.connect(pg.dsn("shop"), autocommit=True) as direct:
        direct.execute("CREATE TABLE IF NOT EXISTS drifted (n int)")
    with enter(stack) as wire:
        wire.send(query("INSERT INTO drifted VALUES (1)"))
        card = held(stack)
        time.sleep(max(0.0, (soon.replace(second=1) - datetime.now(UTC)).total_seconds()))
        assert decide(stack, "approve", card["id"], dba(stack)).returncode == 0
        answer = wire.until()
        assert answer.code == "42501"
        assert "too late" in answer.error["M"]
        assert "closing-time" in answer.error["M"]
    assert rows(stack, "shop", "SELECT 1 FROM drifted WHERE n = 1") == []


def test_a_session_keeps_the_policy_that_its_card_names(drifting: Stack) -> None:
    """The card says under which policy it was asked. A new policy is for new
    sessions; what waits is not approved under rules that nobody saw."""
    with enter(drifting) as wire:
        wire.send(query("INSERT INTO drifted VALUES (2)"))
        card = held(drifting)
        old = drifting.policy_file.read_text()
        try:
            drifting.policy_file.write_text(old.replace("changes", "changed-rules"))
            assert drifting.process is not None
            drifting.process.send_signal(1)
            await_true(lambda: "version" in drifting.output(), what="the reload")
            assert decide(drifting, "approve", card["id"], dba(drifting)).returncode == 0
            assert wire.until().tags == ["INSERT 0 1"]
            with enter(drifting) as new:
                new.send(query("INSERT INTO drifted VALUES (3)"))
                later = held(drifting)
                assert later["policy"] != card["policy"]
                assert later["rules"] == ["changed-rules"]
                decide(drifting, "deny", later["id"], dba(drifting))
                assert new.until().code == "42501"
        finally:
            drifting.policy_file.write_text(old)
            drifting.process.send_signal(1)


def test_the_gateway_ends_while_it_waits(
    pg: Server, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> None:
    def start(server: Server, **more: str) -> Stack:
        made = Stack(tmp_path_factory.mktemp("threats"), server, **more)  # type: ignore[arg-type]
        request.addfinalizer(made.stop)
        return made.start()

    stack = with_people(start, tmp_path_factory.mktemp("p"), pg, policy=holds())
    with psycopg.connect(pg.dsn("shop"), autocommit=True) as direct:
        direct.execute("CREATE TABLE IF NOT EXISTS drifted (n int)")
    wire = enter(stack)
    wire.send(query("INSERT INTO drifted VALUES (4)"))
    card = held(stack)
    stack.stop(9)
    stack.start()
    done = decide(stack, "approve", card["id"], dba(stack))
    assert done.returncode == 3, "nobody waits for it any more"
    assert rows(stack, "shop", "SELECT 1 FROM drifted WHERE n = 4") == []
