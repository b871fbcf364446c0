"""Row 91: what a peer received is on record, at whatever instant the gateway is killed.

A client and a mock of a server write down every byte that they receive; the gateway
is killed with SIGKILL under load at a random moment, started again (which recovers
the journal), and every byte that either end received must be in a Log. Goes red when
the reactor releases spans before it flushes the journal (in the first round).
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest
from mock_upstream import NO_PASSWORD, READY, Call, MockUpstream, columns, complete, data
from stack import Stack
from wire import Wire, query

from protocols.wire import Side
from recorder.reader import every_log, open_recording
from recorder.streams import Hop, Streams

SESSIONS = 4


class Peers:
    """Load on one gateway, and all that its two ends received."""

    def __init__(self, stack: Stack, rng: random.Random) -> None:
        self.stack = stack
        self.rng = rng
        self.stop = False
        self.wires: list[Wire] = []
        self.threads = [threading.Thread(target=self._client, daemon=True) for _ in range(SESSIONS)]
        for thread in self.threads:
            thread.start()

    def _client(self) -> None:
        number = 0
        while not self.stop:
            try:
                wire = Wire(self.stack.port)
            except OSError:
                time.sleep(0.01)
                continue
            self.wires.append(wire)
            try:
                if wire.login(self.stack.token()).status != "I":
                    continue
                for _ in range(30):
                    number += 1
                    size = (1, 50, 3000, 70_000)[number % 4]
                    wire.send(query(f"SELECT {number} -- {'x' * size}"), query("SELECT 1"))
                    if not wire.until().status or not wire.until().status:
                        break
            except (OSError, AssertionError):
                pass  # cut in the middle of a message: what was received counts
            finally:
                wire.close()

    def end(self) -> None:
        self.stop = True
        for thread in self.threads:
            thread.join(10)


def upstream(call: Call) -> None:
    """Answers each Query with rows of some length."""
    number = 0
    while (message := call.message()) is not None and message[0] != "X":
        number += 1
        size = (0, 10, 5000, 40_000)[number % 4]
        call.say(columns("x"), data(os.urandom(size // 2).hex().encode()), complete("SELECT 1"))
        call.say(READY)


def recorded(state: Path) -> dict[str, tuple[list[tuple[int, bytes | None]], ...]]:
    """Per session: what left towards the client, and towards the upstream."""
    out = {}
    for path in every_log(state):
        recording = open_recording(state, path.stem)
        try:
            streams = Streams(recording)
            out[path.stem] = tuple(
                [(p.length, p.raw) for p in streams.pieces(Hop(side, False))] for side in Side
            )
        finally:
            recording.close()
    return out


def covered(seen: bytes, pieces: list[tuple[int, bytes | None]]) -> bool:
    """True when ``seen`` is a beginning of the recorded stream."""
    at = 0
    for length, raw in pieces:
        if at >= len(seen):
            return True
        if raw is not None:
            part = seen[at : at + length]
            if raw[: len(part)] != part:
                return False
        at += length
    return at >= len(seen)


def unrecorded(
    received: list[bytes], logs: list[list[tuple[int, bytes | None]]]
) -> list[tuple[int, bytes]]:
    """What was received and is in no Log; each Log stands for one connection."""
    left = list(logs)
    missing = []
    for seen in sorted(received, key=len, reverse=True):
        for pieces in left:
            if covered(seen, pieces):
                left.remove(pieces)
                break
        else:
            missing.append((len(seen), seen[-80:]))
    return missing


def rounds(folder: Path, count: int, seed: int, durability: str) -> None:
    rng = random.Random(seed)
    mock = MockUpstream(upstream)
    stack = Stack(folder, mock, target=NO_PASSWORD, durability=durability)
    total = 0
    try:
        for number in range(count):
            stack.start()
            mock.calls.clear()
            peers = Peers(stack, rng)
            time.sleep(rng.uniform(0.15, 0.6))
            stack.stop(signal.SIGKILL)
            peers.end()
            time.sleep(0.05)
            stack.log.unlink()
            stack.start()  # recovers
            stack.stop()
            stack.log.unlink()
            logs = recorded(stack.state)
            client = [bytes(w.seen) for w in peers.wires if w.seen]
            server = [bytes(c.heard) for c in list(mock.calls) if c.heard]
            total += sum(map(len, client)) + sum(map(len, server))
            missing = unrecorded(client, [c for c, _ in logs.values()])
            assert not missing, f"round {number}: the client got what no Log has: {missing}"
            missing = unrecorded(server, [u for _, u in logs.values()])
            assert not missing, f"round {number}: the server got what no Log has: {missing}"
            done = stack.recorder("verify", "--all")
            assert done.returncode in (0, 3), done.stdout
            # A new beginning: the ledger would rightly miss what is deleted here.
            shutil.rmtree(stack.state / "sessions")
            shutil.rmtree(stack.state / "evidence")
    finally:
        stack.stop()
        mock.close()
    assert total > 50_000 * count, "too little happened to prove anything"


def test_kill_9(tmp_path: Path) -> None:
    rounds(tmp_path, 5, 91, "os")


@pytest.mark.deep
@pytest.mark.parametrize("durability", ["os", "disk"])
def test_kill_9_many_times(tmp_path: Path, durability: str) -> None:
    rounds(tmp_path, 200, 9191, durability)
