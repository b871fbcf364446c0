"""Leaving in order: a drain under load, a second signal, a crowd at the door."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable

import psycopg
import pytest
from mock_upstream import NO_PASSWORD, READY, Call, MockUpstream, columns, complete, data
from process import pid, soon, watched
from stack import Stack
from wire import Wire, enter

from gateway.demo.postgres import Server

SMALL = columns("n") + data(b"1") + complete("SELECT 1") + READY


def answering(call: Call) -> None:
    while (message := call.message()) is not None and message[0] != "X":
        call.say(SMALL)


def statuses(stack: Stack) -> set[str]:
    return {row["status"] for row in stack.sessions()}


def sums(pg: Server, bench: str) -> list[int]:
    """What each pgbench transaction changes alike, in three tables."""
    with psycopg.connect(pg.dsn(bench)) as connection:
        rows = [
            connection.execute(f"select coalesce(sum({c}), 0) from {table}".encode()).fetchone()
            for c, table in (
                ("tbalance", "pgbench_tellers"), ("bbalance", "pgbench_branches"),
                ("delta", "pgbench_history"),
            )
        ]  # fmt: skip
    return [row[0] for row in rows if row is not None]


def test_a_drain_under_load(
    serve: Callable[..., Stack], pg: Server, bench: str, tool: Callable[[str], str]
) -> None:
    """pgbench runs on while the gateway is told to stop: its clients hear why, in
    whole messages, no transaction is torn, and every session has an END."""
    stack = serve(pg, workers=2)
    untouched = sums(pg, bench)
    running = subprocess.Popen(
        [tool("pgbench"), "-n", "-c", "16", "-j", "2", "-T", "30", bench],
        env=stack.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(2)
    process = stack.process
    assert process is not None
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    took = time.monotonic() - began
    out, err = running.communicate(timeout=20)
    assert took < 6  # as long as a transaction takes, not as long as it may
    aborted = [line for line in err.splitlines() if "aborted" in line or "FATAL" in line]
    assert aborted, err
    assert "shutting down" in err, err
    for wrong in ("lost synchronization", "unexpected message", "invalid", "out of sequence"):
        assert wrong not in err, err
    assert statuses(stack) <= {"terminated", "closed"}
    assert len(stack.sessions()) >= 16
    tellers, branches, history = (
        after - before for before, after in zip(untouched, sums(pg, bench), strict=True)
    )
    assert tellers == branches == history, "a transaction was torn"
    print(f"drained 16 busy clients in {took:.2f} s; {out.count('tps')} report lines")


def test_a_second_signal_ends_what_runs(serve: Callable[..., Stack], pg: Server) -> None:
    stack = serve(pg)
    failed: list[psycopg.Error] = []
    connection = stack.connect()

    def run() -> None:
        try:
            connection.execute("select pg_sleep(60)")
        except psycopg.Error as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.5)
    process = stack.process
    assert process is not None
    process.send_signal(signal.SIGTERM)
    time.sleep(1)
    assert process.poll() is None, "it did not wait for the query"
    process.send_signal(signal.SIGTERM)
    assert process.wait(8) == 0
    thread.join(5)
    assert failed[0].sqlstate == "57P01", failed
    assert statuses(stack) == {"terminated"}


def test_three_hundred_at_once(serve: Callable[..., Stack], mock: MockUpstream) -> None:
    """Beyond the limit each hears 53300; those who are in notice nothing."""
    mock.script = answering
    stack = serve(
        mock, target=NO_PASSWORD, extra="[limits]\nconnections = 100\nper_address = 1000\n"
    )
    token = stack.token()
    inside = [enter(stack) for _ in range(90)]
    outcomes: list[str] = []

    def come() -> None:
        with Wire(stack.port) as wire:
            answer = wire.login(token)
            outcomes.append(answer.code or ("in" if answer.status == "I" else "nothing"))
            if answer.status == "I":
                time.sleep(1.5)

    threads = [threading.Thread(target=come) for _ in range(300)]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    assert inside[0].ask("select 1").tags == ["SELECT 1"]
    waited = time.monotonic() - began
    for thread in threads:
        thread.join(20)
    counts = {word: outcomes.count(word) for word in set(outcomes)}
    print(f"300 at once, 10 places: {counts}; a query inside took {waited:.2f} s")
    assert set(counts) <= {"in", "53300"}, counts
    assert 10 <= counts["in"] < 60
    for wire in inside:
        assert wire.ask("select 1").tags == ["SELECT 1"]
        wire.close()
    soon(lambda: "open" not in statuses(stack), "sessions end")
    with enter(stack) as wire:
        assert wire.ask("select 1").tags == ["SELECT 1"]


def test_slow_lorises(serve: Callable[..., Stack], mock: MockUpstream) -> None:
    """150 clients that say a byte now and then: dropped at the deadline, and
    nobody else waits for them (THREATS 10 and 44)."""
    mock.script = answering
    stack = serve(mock, target=NO_PASSWORD, extra='[limits]\ngreeting = "3s"\n')
    number = pid(stack)
    with watched(number) as peak, enter(stack) as healthy:
        slow = [Wire(stack.port) for _ in range(150)]
        times = []
        for turn in range(12):
            for wire in slow:
                wire.send(b"\0\0\0\x40\0\3\0\0user"[turn : turn + 1])
            began = time.monotonic()
            assert healthy.ask("select 1").tags == ["SELECT 1"]
            times.append(time.monotonic() - began)
            time.sleep(0.15)
        assert sorted(times)[-2] < 0.25, times
        for wire in slow:
            answer = wire.rest()
            assert "did not prove itself in time" in answer.error["M"]
            wire.close()
        assert healthy.ask("select 1").tags == ["SELECT 1"]
    assert peak.grown < 30 << 20
    soon(lambda: "open" not in statuses(stack), "sessions end")


def test_a_supervisor_stops_all_of_its_workers(serve: Callable[..., Stack], pg: Server) -> None:
    stack = serve(pg, workers=2)
    with stack.connect() as connection:
        connection.execute("select 1")
        os.kill(pid(stack), signal.SIGTERM)
        assert stack.process is not None
        assert stack.process.wait(10) == 0
        with pytest.raises(psycopg.Error) as caught:
            connection.execute("select 1")
        assert caught.value.sqlstate == "57P01"
