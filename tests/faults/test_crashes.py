"""Processes that die while people are asked, and people who disagree."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from people import approvals, dba, held, holds, rows, with_people
from process import children, pid, soon
from stack import Stack

from gateway.demo.postgres import Server

CHANGE = "update orders set status = 'changed' where id = {}"


class Asking:
    """A client that waits for people, in a thread of its own."""

    def __init__(self, stack: Stack, text: str) -> None:
        self.error: psycopg.Error | None = None
        self.tag: str | None = None
        self._connection = stack.connect("shop")
        self._thread = threading.Thread(target=self._ask, args=(text,), daemon=True)
        self._thread.start()

    def _ask(self, text: str) -> None:
        try:
            self.tag = self._connection.execute(text).statusmessage
        except psycopg.Error as error:
            self.error = error

    def outcome(self, seconds: float = 20.0) -> Asking:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "it still waits"
        self._connection.close()
        return self


def status(stack: Stack, order: int) -> Any:
    return rows(stack, "shop", f"select status from orders where id = {order}")[0][0]


@pytest.fixture
def people(
    serve: Callable[..., Stack], tmp_path_factory: pytest.TempPathFactory, pg: Server
) -> Any:
    def start(**more: Any) -> Stack:
        return with_people(serve, tmp_path_factory.mktemp("people"), pg, **more)

    return start


def state_of(stack: Stack, approval: str) -> str:
    return str(next(a for a in approvals(stack, everything=True) if a["id"] == approval)["state"])


def test_kill_9_in_the_middle_of_a_hold(people: Callable[..., Stack]) -> None:
    """Denied after the restart; nothing ran; the approver is told."""
    stack = people(policy=holds(), audited=False)
    asking = Asking(stack, CHANGE.format(2))
    approval = held(stack)["id"]
    stack.stop(signal.SIGKILL)
    assert asking.outcome().error is not None
    stack.start()
    assert state_of(stack, approval) == "denied"
    done = stack.gateway(
        "approvals", "approve", approval, env=os.environ | {"WIREWARDEN_TOKEN": dba(stack)}
    )
    assert done.returncode != 0
    assert "denied" in done.stdout + done.stderr
    assert status(stack, 2) == "open"
    assert torn(stack) == 1


def torn(stack: Stack) -> int:
    """Sessions that a dead process left, all that the rest verify besides."""
    stack.stop()
    done = stack.recorder("verify", "--all", "--json")
    found = [json.loads(line)["status"] for line in done.stdout.splitlines()]
    assert set(found) <= {"OK-UNANCHORED", "INCOMPLETE"}, found
    return found.count("INCOMPLETE")


def test_a_worker_that_dies_takes_its_approvals_along(people: Callable[..., Stack]) -> None:
    """Other workers go on, and what it asked for is ended."""
    stack = people(policy=holds(), workers=2, audited=False)
    asking = Asking(stack, CHANGE.format(3))
    approval = held(stack)["id"]
    number = _worker_of(stack)
    os.kill(number, signal.SIGKILL)
    assert asking.outcome().error is not None
    soon(lambda: state_of(stack, approval) == "denied", "the approval ends", 20)
    with stack.connect("shop") as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    soon(lambda: len(children(pid(stack))) == 2, "a new worker starts")
    assert status(stack, 3) == "open"
    assert torn(stack) == 1


def _worker_of(stack: Stack) -> int:
    """The worker that holds a connection to the server."""
    found = []
    for number in children(pid(stack)):
        text = subprocess.run(
            ["ss", "-tnp"], capture_output=True, text=True, check=False
        ).stdout  # fmt: skip
        if any(
            f"pid={number}," in line and f":{stack.server.port}" in line
            for line in text.splitlines()
        ):
            found.append(number)
    if not found:  # no ss here: ask the kernel's table
        pytest.skip("ss is not installed")
    return found[0]


def test_nobody_decides_in_time(people: Callable[..., Stack]) -> None:
    stack = people(policy=holds("10s"))
    error = Asking(stack, CHANGE.format(4)).outcome().error
    assert error is not None
    assert "expired" in str(error)
    assert status(stack, 4) == "open"


def test_two_approvers_at_opposite_ends(people: Callable[..., Stack]) -> None:
    """One approves, one denies, at the same instant, a few times over."""
    stack = people(policy=holds())
    seen = set()
    for turn in range(2):
        order = 10 + turn
        asking = Asking(stack, CHANGE.format(order))
        approval = held(stack)["id"]
        commands = [
            subprocess.Popen(
                [sys.executable, "-m", "gateway.cli", "approvals", verb, approval,
                 "-c", str(stack.config_file)],
                env=os.environ | {"WIREWARDEN_TOKEN": dba(stack, who)},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )
            for verb, who in (("approve", "dana"), ("deny", "dora"))
        ]  # fmt: skip
        codes = [command.wait(30) for command in commands]
        for command in commands:
            assert command.stdout is not None
            command.stdout.close()
        outcome = asking.outcome()
        ran = status(stack, order) == "changed"
        assert codes.count(0) == 1, codes
        assert ran == (codes[0] == 0), codes
        assert ran == (outcome.error is None)
        seen.add(ran)
        soon(lambda: not approvals(stack), "nothing waits")


def test_a_client_that_leaves_while_it_waits(people: Callable[..., Stack]) -> None:
    stack = people(policy=holds())
    done = subprocess.Popen(
        ["psql", "-X", "-c", CHANGE.format(20), "shop"],
        env=stack.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    approval = held(stack)["id"]
    done.kill()
    done.wait()
    soon(lambda: state_of(stack, approval) == "withdrawn", "it is withdrawn")
    assert status(stack, 20) == "open"


def test_a_clock_that_jumps_past_the_expiry(tmp_path: Any) -> None:
    """Wall clock forward: expired, never to be used. Back again: it stays so."""
    from gateway.approvals import ApprovalRequest, Approvals, ApprovalState
    from gateway.policy.verdicts import ApprovalNeed

    now = [1_700_000_000.0]
    store = Approvals(tmp_path / "approvals.db", lambda: now[0], instance="g1")
    need = ApprovalNeed(rule="r", groups=("dba",), count=1, ttl=600.0)
    made = store.request(
        ApprovalRequest(
            session="S", run="", subject="agent", issuer="i", groups=(), target="db",
            protocol="postgres", digest="d" * 64, text="update t", parameters=(), needs=(need,),
            rules=("r",), reason="", policy="p",
        )
    )  # fmt: skip
    now[0] += 365 * 86400
    assert store.expire_due() == 1
    now[0] -= 366 * 86400
    assert store.get(made.id).state is ApprovalState.EXPIRED
    assert not store.consume(made.id, "d" * 64)
    store.close()


def test_workers_follow_a_supervisor_that_was_killed(
    serve: Callable[..., Stack], pg: Server
) -> None:
    """Else they would serve on, unwatched, and keep the port from the next one."""
    stack = serve(pg, workers=2)
    workers = children(pid(stack))
    assert len(workers) == 2
    with stack.connect() as connection:
        connection.execute("select 1")
        stack.stop(signal.SIGKILL)
        soon(lambda: not any(alive(number) for number in workers), "the workers end", 15)
        with pytest.raises(psycopg.Error) as caught:
            connection.execute("select 1")
        assert caught.value.sqlstate == "57P01"
    stack.start()
    with stack.connect() as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def alive(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
