"""Writes to a journal as fast as it can and acknowledges on stdout what was
flushed, until it is killed. Arguments: state directory, first session's
number, mode (``os`` or ``disk``), and perhaps the size of a part: then parts are
made durable, and segments deleted, at once."""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

from protocols.wire import Mark, Move, Side, Span
from recorder import seal
from recorder.journal import Journal

BLOCK = bytes(random.Random(11).randbytes(1 << 16))


def expected(session: int, side: int, offset: int, size: int) -> bytes:
    """The bytes that session's side carries: a fixed block from its own place."""
    start = (session * 7919 + side * 104729 + offset) % len(BLOCK)
    raw = BLOCK[start : start + size]
    while len(raw) < size:
        raw += BLOCK[: size - len(raw)]
    return raw


def name(session: int) -> str:
    return f"S{session:09d}"


def main() -> None:
    state, first, mode = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    part_size = int(sys.argv[4]) if len(sys.argv) > 4 else 8 << 20
    if len(sys.argv) > 4:
        seal._SETTLE, seal._LOOK = 0.01, 0.005
    journal = Journal(
        state, gateway="g", clock=time.monotonic_ns, wall=time.time_ns, chance=os.urandom,
        segment_bytes=min(1 << 20, 2 * part_size), ballast_bytes=1 << 16, low=0, critical=0,
        part_size=part_size, commit_interval=0.01 if len(sys.argv) > 4 else 0.1,
    )  # fmt: skip
    rng = random.Random(first)
    logs = {}
    at: dict[int, list[int]] = {}
    following = first
    print("ready", flush=True)
    while True:
        while len(logs) < 12:
            logs[following] = journal.open({"session": name(following)})
            at[following] = [0, 0]
            following += 1
        acks = []
        for session in rng.sample(sorted(logs), 5):
            log, offsets = logs[session], at[session]
            spans = []
            for _ in range(rng.randrange(1, 4)):
                side, size = rng.randrange(2), rng.choice((1, 60, 300, 4000, 65536))
                raw = expected(session, side, offsets[side], size)
                spans.append(Span(Move.PASS, Side(side), Mark.PLAIN, raw, offsets[side]))
                offsets[side] += size
            log.command(1, "run", f"select {rng.randrange(50)}", 0)
            log.spans(spans)
            ended = rng.random() < (0.05 if len(sys.argv) < 5 else 0.01)
            if ended:
                log.end("closed", "done")
                del logs[session]
            acks.append(f"{session} {offsets[0]} {offsets[1]} {int(ended)}")
        journal.flush()
        if mode == "disk":
            assert journal.sync() == journal.written
        os.write(1, ("\n".join(acks) + "\n").encode())


if __name__ == "__main__":
    main()
