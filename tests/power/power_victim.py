"""A worker's recorder on a disk that may lose power: the journal with its sealer, the
notary with its ledger, and people who hold and prune, all at once.

Arguments: state directory, a file for what was promised (on another disk), mode (``os``
or ``disk``), seconds, seed. Each line promised is a JSON list that begins with what and the time
(CLOCK_MONOTONIC, nanoseconds) *after* it was promised:

    ["acked", at, session, bytes of the client, bytes of the upstream, ended]
    ["published", at, size of the ledger, its root]
    ["held", at, hold] and ["lifted", at, hold] and ["deleted", at, session]
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))

from journal_victim import expected, name

import recorder.seal
from gateway.config_evidence import EvidenceConfig
from gateway.notary import Notary
from gateway.world import World
from protocols.wire import Mark, Move, Side, Span
from recorder.holds import lift_hold, put_hold
from recorder.journal import Journal

# What takes seconds, so that a power cut seldom meets it, is to be met often.
recorder.seal._SETTLE = 0.4
recorder.seal._LOOK = 0.1
SESSIONS = 8


class Promises:
    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def made(self, what: str, *more: Any) -> None:
        os.write(self._fd, json.dumps([what, time.monotonic_ns(), *more]).encode() + b"\n")


def keep_ledger(
    notary: Notary, journal: Journal, promises: Promises, over: threading.Event
) -> None:
    turn = 0
    while not over.wait(0.03):
        notary.tick(journal)
        ledger = notary._ledger
        assert ledger is not None
        turn += 1
        if turn % 10 == 0:
            ledger.rotate()
        promises.made("published", ledger.checkpoint.size, ledger.checkpoint.root.hex())


def hold_now_and_then(state: Path, promises: Promises, over: threading.Event) -> None:
    turn = 0
    while not over.wait(0.05):
        turn += 1
        hold = put_hold(state, "an auditor", "a case", name(turn)).id
        promises.made("held", hold)
        if turn % 3 == 0:
            promises.made("lifted", hold)  # from now on it may be gone
            lift_hold(state, hold, "an auditor", "closed")


def main() -> None:
    state, mode, seconds = Path(sys.argv[1]), sys.argv[3], float(sys.argv[4])
    promises = Promises(sys.argv[2])
    rng = random.Random(int(sys.argv[5]))
    notary = Notary(EvidenceConfig(), state, World())
    notary.policy("first")
    journal = Journal(
        state, gateway="g", clock=time.monotonic_ns, wall=time.time_ns, chance=os.urandom,
        segment_bytes=1 << 18, ballast_bytes=1 << 16, low=0, critical=0,
    )  # fmt: skip
    over = threading.Event()
    threads = [
        threading.Thread(target=keep_ledger, args=(notary, journal, promises, over)),
        threading.Thread(target=hold_now_and_then, args=(state, promises, over)),
    ]
    for thread in threads:
        thread.start()
    logs: dict[int, Any] = {}
    at: dict[int, list[int]] = {}
    following = 0
    print("ready", flush=True)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        while len(logs) < SESSIONS:
            logs[following] = journal.open({"session": name(following)})
            at[following] = [0, 0]
            following += 1
        acks = []
        for session in rng.sample(sorted(logs), 3):
            log, offsets = logs[session], at[session]
            spans = []
            for _ in range(rng.randrange(1, 3)):
                side, size = rng.randrange(2), rng.choice((1, 60, 300, 4000, 20_000))
                raw = expected(session, side, offsets[side], size)
                spans.append(Span(Move.PASS, Side(side), Mark.PLAIN, raw, offsets[side]))
                offsets[side] += size
            log.command(1, "run", f"select {rng.randrange(50)}", 0)
            log.spans(spans)
            ended = rng.random() < 0.1
            if ended:
                log.end("closed", "done")
                del logs[session]
            acks.append((session, *offsets, ended))
        journal.flush()
        if mode == "disk":
            assert journal.sync() == journal.written
        for ack in acks:
            promises.made("acked", *ack)
        time.sleep(0.002)
    over.set()
    for thread in threads:
        thread.join()
    if rng.random() < 0.5:
        journal.close()
        notary.close()
    # Else it dies like this: what it has in hand is lost, as in a power cut.
    os._exit(0)


if __name__ == "__main__":
    main()
