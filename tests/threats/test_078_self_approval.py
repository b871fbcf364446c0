"""Row 78: who asked does not approve, by no path: not under its own name, not by the
person behind the run, not as an agent, not with a ticket of the run.

Goes red without the requester's check of ``Approvals.decide``.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import psycopg
import pytest
from people import dba, decide, held, holds, rows, with_people
from stack import Stack
from wire import enter, query

from gateway.demo.postgres import Server


@pytest.fixture(scope="module")
def apart(
    started: Callable[..., Stack], pg: Server, tmp_path_factory: pytest.TempPathFactory
) -> Stack:
    with psycopg.connect(pg.dsn("shop"), autocommit=True) as direct:
        direct.execute("DROP TABLE IF EXISTS approved")
        direct.execute("CREATE TABLE approved (n int)")
    return with_people(started, tmp_path_factory.mktemp("p"), pg, policy=holds())


def test_nobody_close_to_the_run_approves(apart: Stack) -> None:
    agent = apart.token("agent-7", groups=["dba"], actor="dana", email="dana@corp.example")
    with enter(apart, token=agent) as wire:
        wire.send(query("INSERT INTO approved VALUES (1)"))
        card = held(apart)
        environment = os.environ | {"WIREWARDEN_TOKEN": agent}
        ticket = apart.gateway("ticket", "--ttl", "1h", env=environment).stdout.strip()
        close = {
            "the agent itself": agent,
            "another token of it": apart.token("agent-7", groups=["dba"], jti="2"),
            "another agent": apart.token("agent-8", groups=["dba"], run_id="other"),
            "its ticket": ticket,
            "the actor, as a person": dba(apart, "dana"),
            "a person of its e-mail": dba(apart, "x", email="dana@corp.example"),
            "a person without the group": dba(apart, "eve", groups=["developers"]),
            "nobody": "",
            "an old token": dba(apart, "eve", exp=1_700_000_000),
            "a forged token": dba(apart, "eve")[:-6] + "AAAAAA",
        }
        for who, token in close.items():
            done = decide(apart, "approve", card["id"], token)
            assert done.returncode in (2, 3), f"{who}: {done}"
            assert "approved by" not in done.stdout
        assert rows(apart, "shop", "SELECT 1 FROM approved") == []
        assert decide(apart, "approve", card["id"], dba(apart, "eve")).returncode == 0
        assert wire.until().tags == ["INSERT 0 1"]


def test_a_person_does_not_approve_what_the_same_person_asked(apart: Stack) -> None:
    with enter(apart, token=dba(apart, "dana")) as wire:
        wire.send(query("INSERT INTO approved VALUES (2)"))
        card = held(apart)
        assert decide(apart, "approve", card["id"], dba(apart, "dana")).returncode == 3
        assert decide(apart, "deny", card["id"], dba(apart, "dave")).returncode == 0
        assert wire.until().code == "42501"


def test_one_person_is_not_two(
    apart: Stack,
    started: Callable[..., Stack],
    pg: Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    two = with_people(started, tmp_path_factory.mktemp("p"), pg, policy=holds(count=2))
    with enter(two) as wire:
        wire.send(query("INSERT INTO approved VALUES (3)"))
        card = held(two)
        assert decide(two, "approve", card["id"], dba(two, "dana")).returncode == 0
        decide(two, "approve", card["id"], dba(two, "dana", jti="again"))
        assert rows(two, "shop", "SELECT 1 FROM approved WHERE n = 3") == []
        assert held(two)["id"] == card["id"], "still waits"
        assert decide(two, "approve", card["id"], dba(two, "dave")).returncode == 0
        assert wire.until().tags == ["INSERT 0 1"]
