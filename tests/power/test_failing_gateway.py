"""A gateway whose disk fails, stalls, and comes back.

Nothing that a peer received may be missing on record, nobody is served without one, the
process lives on, and serves again when the disk does. On a slow disk peers wait, and memory
does not grow.
"""

from __future__ import annotations

import errno
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from disk_kit import LossyDisk, lossy_disk
from mock_upstream import NO_PASSWORD, READY, Call, MockUpstream, columns, complete, data
from process import pid, watched
from stack import Stack
from test_091_forward_before_durable import Peers, recorded, unrecorded, upstream
from wire import Wire, await_true, enter, query

MB = 1 << 20
SEGMENTS = "*/journal/0/0*.agj"


@contextmanager
def served(
    folder: Path, script: Callable[[Call], None] = upstream, **more: Any
) -> Iterator[tuple[Stack, LossyDisk, MockUpstream]]:
    mock = MockUpstream(script)
    with lossy_disk(folder) as disk:
        (disk.path / "state").mkdir()
        (folder / "state").symlink_to(disk.path / "state")
        stack = Stack(folder, mock, target=NO_PASSWORD, durability="disk", **more)
        try:
            yield stack.start(), disk, mock
        finally:
            disk.heal()
            stack.stop()
            mock.close()


def serves(stack: Stack) -> bool:
    with Wire(stack.port) as wire:
        return wire.login(stack.token()).status == "I" and not wire.ask("SELECT 1").errors


def code_at_the_door(stack: Stack) -> str:
    with Wire(stack.port) as wire:
        return wire.login(stack.token()).code


def said_before(seen: bytes | bytearray) -> bytes:
    """Without the last word, that nothing can be recorded any more: it can't be on record."""
    at = seen.find(b"SFATAL\0VFATAL\0C53100\0")
    return bytes(seen if at < 0 else seen[: at - 5])


FAULTS = {
    "fsync once": {"op": "fsync", "path": SEGMENTS, "error": errno.EIO, "times": 1},
    "fsync for ever": {"op": "fsync", "path": SEGMENTS, "error": errno.EIO},
    "write for ever": {"op": "write", "path": SEGMENTS, "error": errno.EIO},
    "no new file": {"op": "create", "path": "*/journal/*", "error": errno.EROFS},
}


@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    "fault", ["fsync for ever", *(pytest.param(f, marks=pytest.mark.deep) for f in FAULTS)]
)
def test_the_journal_fails_and_comes_back(tmp_path: Path, fault: str) -> None:
    with served(tmp_path) as (stack, disk, mock):
        number = pid(stack)
        assert serves(stack)
        peers = Peers(stack, random.Random(1))
        time.sleep(0.3)
        disk.fault(**FAULTS[fault])
        if fault == "no new file":  # a segment goes on; what fails is the next journal's
            disk.fault("write", path=SEGMENTS, error=errno.EIO, times=1)
        if "once" not in fault:
            await_true(lambda: code_at_the_door(stack) == "53100", 10, "a refusal")
            time.sleep(1)
            assert code_at_the_door(stack) == "53100", "nobody is served while it lasts"
            disk.heal()
        peers.stop = True
        await_true(lambda: serves(stack), 20, "service")
        assert pid(stack) == number
        assert stack.process is not None
        assert stack.process.poll() is None
        peers.end()
        stack.stop()
        assert "Traceback" not in stack.output()
        assert "recorder" in stack.output(), "the operator was told"
        logs = recorded(stack.state)
        received = [[said_before(w.seen) for w in peers.wires], [c.heard for c in mock.calls]]
        for side, seen in enumerate(received):
            of_side = [log[side] for log in logs.values()]
            missing = unrecorded([bytes(s) for s in seen if s], of_side)
            assert not missing
        done = stack.recorder("verify", "--all")
        assert done.returncode in (0, 3), done.stdout


@pytest.mark.timeout(90)
def test_the_ledger_fails_and_comes_back(tmp_path: Path) -> None:
    """Recordings go on without it; then it has all of them."""
    with served(tmp_path) as (stack, disk, _):
        disk.fault("fsync", path="*/evidence*", error=errno.EIO)
        disk.fault("write", path="*/evidence*", error=errno.EIO)
        await_true(lambda: serves(stack) and "evidence" in stack.output(), 10, "an alarm")
        assert serves(stack)
        disk.heal()
        await_true(lambda: "written again" in stack.output(), 10, "the ledger")
        stack.stop()
        done = stack.recorder("verify", "--all")
        assert done.returncode == 0, done.stdout
        assert "Traceback" not in stack.output()


def slow(folder: Path, seconds: float) -> float:
    """Each fsync takes ``seconds``; how far memory went up."""
    rows = data(b"x" * 8181) * 128  # a megabyte
    sent = []

    def script(call: Call) -> None:
        while (message := call.message()) is not None and message[0] != "X":
            call.say(columns("n"))
            for _ in range(40):
                call.say(rows)
                sent.append(len(rows))
            call.say(complete("SELECT 5120") + READY)

    with served(folder, script) as (stack, disk, _):
        wires = [enter(stack) for _ in range(3)]
        disk.fault("fsync", path=SEGMENTS, delay=seconds)
        with watched(pid(stack)) as peak:
            began = time.monotonic()
            got = [0] * len(wires)

            def read(number: int) -> None:
                wire = wires[number]
                wire.sock.settimeout(60)
                wire.send(query("select 1"))
                while got[number] < 40 * len(rows):
                    piece = wire.sock.recv(1 << 20)
                    assert piece
                    got[number] += len(piece)

            threads = [threading.Thread(target=read, args=(n,)) for n in range(len(wires))]
            for thread in threads:
                thread.start()
            time.sleep(seconds * 1.5)
            # The first fsync is not long over: nearly all must wait in the peers' sockets.
            assert sum(sent) < 60 * MB, "the server is not kept from sending"
            assert sum(got) < 60 * MB
            time.sleep(seconds)
            disk.heal()
            for thread in threads:
                thread.join(60)
                assert not thread.is_alive(), "it does not go on"
            assert min(got) >= 40 * len(rows), "nothing is dropped"
        assert time.monotonic() - began >= seconds
        for wire in wires:
            wire.close()
        stack.stop(signal.SIGTERM)
        done = stack.recorder("verify", "--all")
        assert done.returncode == 0, done.stdout
    return peak.grown / MB


@pytest.mark.timeout(120)
def test_a_slow_disk_makes_peers_wait(tmp_path: Path) -> None:
    assert slow(tmp_path, 0.7) < 60


@pytest.mark.timeout(90)
def test_nobody_waits_for_what_is_not_the_journal(tmp_path: Path) -> None:
    """The ledger, its inbox, Logs, the approvals' store: fsyncs of two seconds, in threads."""
    with served(tmp_path) as (stack, disk, _), enter(stack) as wire:
        for path in ("*/evidence*", "*.agr*", "*/sessions*", "*/approvals.db*", "*/sealed"):
            disk.fault("fsync", path=path, delay=2.0)
        slowest = 0.0
        end = time.monotonic() + 3.0
        while time.monotonic() < end:
            began = time.monotonic()
            assert not wire.ask("SELECT 1").errors
            with enter(stack) as other:  # a beginning, and an end: leaves and a Log
                other.ask("SELECT 1")
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < 1.0, f"a client waited {slowest:.1f} s"
        disk.heal()
        wire.close()
        stack.stop()
        done = stack.recorder("verify", "--all")
        assert done.returncode == 0, done.stdout


@pytest.mark.deep
@pytest.mark.timeout(300)
def test_a_disk_that_takes_five_seconds(tmp_path: Path) -> None:
    grown = slow(tmp_path, 5.0)
    print(f"fsyncs of 5 s: {grown:.0f} MB more")
    assert grown < 60
