"""Row 93: a session that is cancelled at whatever checkpoint leaves whole records, and no
byte that moved is missing from them.

Two SIGTERMs cancel every session where it stands (greeting, proof, dial, traffic,
farewell), at random instants under load; row 91's ledgers must hold, and here every Log
must be whole as well: the close record is written in any case.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from mock_upstream import NO_PASSWORD, MockUpstream
from stack import Stack
from test_091_forward_before_durable import Peers, recorded, unrecorded, upstream


def rounds(folder: Path, count: int) -> None:
    rng = random.Random(93)
    mock = MockUpstream(upstream)
    stack = Stack(folder, mock, target=NO_PASSWORD)
    try:
        for _ in range(count):
            stack.start()
            mock.calls.clear()
            peers = Peers(stack, rng)
            time.sleep(rng.uniform(0.05, 0.4))
            assert stack.process is not None
            stack.process.send_signal(signal.SIGTERM)
            time.sleep(rng.uniform(0.0, 0.02))
            stack.stop()  # the second one
            peers.end()
            assert "Traceback" not in stack.output(), stack.output()[-2000:]
            assert "internal error" not in stack.output()
            stack.log.unlink()
            logs = recorded(stack.state)
            client = [bytes(w.seen) for w in peers.wires if w.seen]
            server = [bytes(c.heard) for c in list(mock.calls) if c.heard]
            assert not unrecorded(client, [c for c, _ in logs.values()])
            assert not unrecorded(server, [u for _, u in logs.values()])
            done = stack.recorder("verify", "--all", "--json")
            verdicts = [json.loads(line) for line in done.stdout.splitlines()]
            bad = [v for v in verdicts if v["status"] != "OK-UNANCHORED"]
            assert not bad, bad
            # A new beginning: the ledger would rightly miss what is deleted here.
            shutil.rmtree(stack.state / "sessions")
            shutil.rmtree(stack.state / "evidence")
    finally:
        stack.stop()
        mock.close()


def test_at_random_instants(tmp_path: Path) -> None:
    rounds(tmp_path, 8)


@pytest.mark.deep
def test_at_many_random_instants(tmp_path: Path) -> None:
    rounds(tmp_path, 150)
