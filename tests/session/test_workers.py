"""Several workers on one listener: cancels, drains, reloads, restarts."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from stack import ALLOW_ALL, Stack

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("workers")]

NO_DELETES = """
[[rule]]
id = "no-deletes"
on = "sql.delete"
verdict = "block"
message = "not any more"
"""


def workers_of(stack: Stack) -> list[int]:
    """The process ids of the workers."""
    assert stack.process is not None
    task = Path(f"/proc/{stack.process.pid}/task/{stack.process.pid}/children")
    return sorted(map(int, task.read_text().split()))


def owner(stack: Stack, connection: Any) -> int:
    """The process that holds the gateway's end of ``connection``."""
    mine = connection.pgconn.socket
    import socket

    sock = socket.socket(fileno=os.dup(mine))
    port = sock.getsockname()[1]
    sock.close()
    inode = next(
        line.split()[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if int(line.split()[1].rpartition(":")[2], 16) == stack.port
        and int(line.split()[2].rpartition(":")[2], 16) == port
    )
    for pid in workers_of(stack):
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            try:
                if os.readlink(fd) == f"socket:[{inode}]":
                    return pid
            except OSError:
                continue
    raise AssertionError("no worker has it")


def await_true(what: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it does not come about"
        time.sleep(0.05)


@pytest.fixture
def pair(gateways: Callable[..., Stack]) -> Stack:
    return gateways(Stack, workers=2)


def test_a_cancel_finds_its_session_in_another_worker(pair: Stack) -> None:
    seen = set()
    for _ in range(24):
        with pair.connect() as c:
            seen.add(owner(pair, c))
            timer = threading.Timer(0.2, c.cancel_safe)
            timer.start()
            began = time.monotonic()
            with pytest.raises(psycopg.errors.QueryCanceled):
                c.execute("SELECT pg_sleep(20)")
            assert time.monotonic() - began < 10
            timer.join()
        if len(seen) == 2 and _ > 5:
            break
    assert len(workers_of(pair)) == 2


def test_a_drain_lets_transactions_end(gateways: Callable[..., Stack], direct: Any) -> None:
    stack = gateways(Stack, workers=2)
    direct.execute("CREATE TABLE IF NOT EXISTS drained (a int)")
    idle, busy = stack.connect("shop"), stack.connect("shop", autocommit=False)
    busy.execute("INSERT INTO drained VALUES (1)")
    assert stack.process is not None
    stack.process.send_signal(signal.SIGTERM)
    time.sleep(0.8)
    with pytest.raises(psycopg.errors.AdminShutdown):  # 57P01
        idle.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        stack.connect("shop")
    assert stack.process.poll() is None
    busy.execute("INSERT INTO drained VALUES (2)")
    busy.commit()
    stack.process.wait(15)
    assert direct.execute("SELECT count(*) FROM drained").fetchone() == (2,)
    direct.execute("DROP TABLE drained")
    with pytest.raises(psycopg.OperationalError):
        busy.execute("SELECT 1")


def test_a_reload(pair: Stack, direct: Any) -> None:
    direct.execute("CREATE TABLE IF NOT EXISTS reloaded (a int)")
    assert pair.process is not None
    before = pair.connect("shop")
    before.execute("DELETE FROM reloaded")
    pair.policy_file.write_text(ALLOW_ALL + NO_DELETES)
    pair.process.send_signal(signal.SIGHUP)
    await_true(lambda: pair.output().count(" -> ") >= 2)
    before.execute("DELETE FROM reloaded")  # open sessions keep theirs
    for _ in range(6):
        with (
            pair.connect("shop") as c,
            pytest.raises(psycopg.errors.InsufficientPrivilege, match="no-deletes"),
        ):
            c.execute("DELETE FROM reloaded")
    pair.policy_file.write_text("version = 1\n[[rule]]\nid = 'x'\nonn = 'sql.*'\n")
    pair.process.send_signal(signal.SIGHUP)
    await_true(lambda: pair.output().count("not reloaded") >= 2)
    with pair.connect("shop") as c:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="no-deletes"):
            c.execute("DELETE FROM reloaded")
        assert c.execute("SELECT 1").fetchone() == (1,)
    before.close()


def test_a_killed_worker_is_replaced(gateways: Callable[..., Stack]) -> None:
    stack = gateways(Stack, workers=2, audited=False)
    connections = [stack.connect() for _ in range(8)]
    owners = [owner(stack, c) for c in connections]
    victim = owners[0]
    os.kill(victim, signal.SIGKILL)
    for connection, worker in zip(connections, owners, strict=True):
        if worker == victim:
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        else:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    await_true(lambda: len(workers_of(stack)) == 2 and victim not in workers_of(stack))
    await_true(lambda: stack.output().count("gateway: ready") == 3)
    for _ in range(4):
        with stack.connect() as c:
            assert c.execute("SELECT 1").fetchone() == (1,)
    for connection in connections:
        connection.close()
    stack.stop()
    # Sessions of the killed worker were recovered: authentic, and not whole.
    assert stack.recorder("verify", "--all").returncode == 3
