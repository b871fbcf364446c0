"""A power cut under a whole gateway with ``durability = "disk"``: what a client or a server
received before it is in a recording after it.

The gateway runs on a disk that notes every change, between clients and a mock of a
server whose received bytes are counted all the time. Goes red when the reactor releases
what is written and not yet synced (``Session.synced`` always False).
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest
from disk_kit import each_cut, lossy_disk
from mock_upstream import NO_PASSWORD, MockUpstream
from stack import Stack
from test_091_forward_before_durable import Peers, recorded, unrecorded, upstream

from gateway.config_evidence import EvidenceConfig
from gateway.notary import Notary
from gateway.world import World
from recorder.journal import Journal
from recorder.segment import fsync_directory


class Watcher:
    """How much each end had received, at many moments."""

    def __init__(self, peers: Peers, mock: MockUpstream) -> None:
        self.peers, self.mock = peers, mock
        self.looks: list[tuple[int, list[int], list[int]]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(0.002):
            client = [len(wire.seen) for wire in list(self.peers.wires)]
            server = [len(call.heard) for call in list(self.mock.calls)]
            self.looks.append((time.monotonic_ns(), client, server))

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def received(self, until: int) -> tuple[list[bytes], list[bytes]]:
        """By clients and by the server, before ``until``."""
        client, server = next(
            ((c, s) for at, c, s in reversed(self.looks) if at < until), ([], [])
        )  # fmt: skip
        wires, calls = self.peers.wires, list(self.mock.calls)
        return (
            [bytes(wire.seen[:size]) for wire, size in zip(wires, client, strict=False) if size],
            [bytes(call.heard[:size]) for call, size in zip(calls, server, strict=False) if size],
        )


def rounds(folder: Path, seed: int, seconds: float, cuts: int) -> int:
    """One life of a gateway, and the states that power cuts leave of it."""
    mock = MockUpstream(upstream)
    folder.mkdir()
    with lossy_disk(folder) as disk:
        (disk.path / "state").mkdir()
        (folder / "state").symlink_to(disk.path / "state")
        fsync_directory(disk.path)
        stack = Stack(folder, mock, target=NO_PASSWORD, durability="disk")
        try:
            stack.start()
            peers = Peers(stack, random.Random(seed))
            watcher = Watcher(peers, mock)
            time.sleep(seconds)
            stack.stop(signal.SIGKILL)
            watcher.stop()
            peers.end()
        finally:
            stack.stop()
            mock.close()
    final = watcher.received(1 << 62)
    assert sum(map(len, final[0] + final[1])) > 30_000, "too little happened to prove anything"

    def look(left: Path, until: int, how: str) -> None:
        client, server = watcher.received(until)
        state = left / "state"
        if not state.exists():
            assert not client
            assert not server
            return
        # As a worker that starts: notary, journal (which recovers), ledger.
        notary = Notary(EvidenceConfig(), state, World())
        Journal(
            state, gateway="g", clock=time.monotonic_ns, wall=time.time_ns, chance=os.urandom,
            ballast_bytes=1 << 16, sealer=False, low=0, critical=0,
        ).close()  # fmt: skip
        notary.tick(None)
        notary.close()
        logs = recorded(state)
        missing = unrecorded(client, [c for c, _ in logs.values()])
        assert not missing, f"{how}: clients got what no Log has: {missing}"
        missing = unrecorded(server, [u for _, u in logs.values()])
        assert not missing, f"{how}: the server got what no Log has: {missing}"
        stack.state = state
        done = stack.recorder("verify", "--all", "--json")
        verdicts = {json.loads(line)["status"] for line in done.stdout.splitlines()}
        assert verdicts <= {"OK-UNANCHORED", "INCOMPLETE"}, done.stdout

    return each_cut(disk.log, cuts, seed, look)


@pytest.mark.timeout(120)
def test_a_gateway_in_disk_mode(tmp_path: Path) -> None:
    assert rounds(tmp_path / "life", 5, 0.5, 4) == 4


@pytest.mark.deep
@pytest.mark.timeout(3000)
def test_a_gateway_in_disk_mode_many_times(tmp_path: Path) -> None:
    states = sum(rounds(tmp_path / f"life{turn}", 50 + turn, 1.0, 40) for turn in range(10))
    print(f"{states} states after a power cut of 10 gateways")
