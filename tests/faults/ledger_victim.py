"""A gateway's recorder without the gateway: sessions begin and end as fast as they can, and a
notary keeps the ledger of them, with epochs that last a moment. It says on stdout what a
client, or a reader of checkpoints, has seen, until it is killed. Arguments: state directory,
number of this life."""

from __future__ import annotations

import os
import random
import sys
import threading
from pathlib import Path

from gateway.config_evidence import EvidenceConfig
from gateway.notary import Notary
from gateway.world import World
from protocols.wire import Mark, Move, Side, Span
from recorder import seal
from recorder.journal import Journal

EVIDENCE = EvidenceConfig(epoch=0.05, heartbeat=0.02)


def open_journal(state: Path, world: World) -> Journal:
    return Journal(
        state, gateway="g", clock=world.mono_ns, wall=world.wall_ns, chance=world.chance,
        segment_bytes=1 << 14, ballast_bytes=1 << 16, low=0, critical=0, commit_interval=0.005,
        part_size=2048,
    )  # fmt: skip


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def keep(notary: Notary, journal: Journal) -> None:
    """The ledger's side of it."""
    while True:
        notary._tick_safely(journal)
        if notary.failed:
            say("fault", notary.failed)
        ledger = notary._ledger
        if ledger is not None:
            said = ledger.checkpoint
            say("checkpoint", said.size, said.root.hex())


def main() -> None:
    state, life = Path(sys.argv[1]), int(sys.argv[2])
    seal._SETTLE, seal._LOOK = 0.01, 0.01  # so that leaves are handed over within a life
    world, rng = World(), random.Random(life)
    notary = Notary(EVIDENCE, state, world)
    notary.policy(f"policy{life}")
    journal = open_journal(state, world)
    say("ready")
    threading.Thread(target=keep, args=(notary, journal), daemon=True).start()
    running = []
    for number in range(1_000_000):
        name = f"L{life:04d}S{number:06d}"
        running.append((name, journal.open({"session": name}), [0]))
        journal.flush()
        say("begun", name)
        for _, log, at in rng.sample(running, min(3, len(running))):
            raw = rng.randbytes(rng.choice((10, 200, 1500)))
            log.spans([Span(Move.PASS, Side.CLIENT, Mark.PLAIN, raw, at[0])])
            at[0] += len(raw)
            journal.flush()
        while len(running) > 6 or (running and rng.random() < 0.5):
            name, log, _ = running.pop(rng.randrange(len(running)))
            log.end("closed", "done")
            journal.flush()
            say("ended", name)
        threading.Event().wait(0.004)


if __name__ == "__main__":
    main()
