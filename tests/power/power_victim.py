"""A worker's recorder on a disk that may lose power: the journal with its sealer, the
notary with its ledger, approvals, the index, and people who hold and prune, all at once.

Arguments: state directory, a file for what was promised (on another disk), mode (``os``
or ``disk``), seconds, seed, and ``tolerant`` where the disk fails: then what says so is no
trouble. Each line promised is a JSON list that begins with what and the
time (CLOCK_MONOTONIC, nanoseconds) *after* it was promised, or before it may begin to go:

    ["acked", at, session, bytes of the client, bytes of the upstream, ended]
    ["published", at, size of the ledger, its root]
    ["held", at, hold] and ["lifted", at, hold]
    ["deleting", at, session] and ["deleted", at, session]
    ["approval", at, id, state]
    ["revoked", at, ticket]
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))

from journal_victim import expected, name

import recorder.seal
from gateway.approval_rows import ApprovalRequest
from gateway.approvals import Approvals
from gateway.config_evidence import EvidenceConfig
from gateway.identity.tickets import Tickets
from gateway.notary import Notary
from gateway.policy.principal import Principal
from gateway.policy.verdicts import ApprovalNeed
from gateway.store import StoreError
from gateway.world import World
from protocols.wire import Mark, Move, Side, Span
from recorder.errors import RecorderError
from recorder.evidence.ledger import LedgerError
from recorder.holds import HoldError, lift_hold, put_hold
from recorder.index.answer import Answer
from recorder.index.database import DatabaseTrouble
from recorder.index.wanted import Wanted
from recorder.journal import Journal
from recorder.prune import Pruning
from recorder.retention import Retention
from recorder.tombstones import TombstoneError

FAILURES = (
    OSError, RecorderError, StoreError, LedgerError, HoldError, TombstoneError, DatabaseTrouble
)  # fmt: skip
"""How those who use these things are told that the disk failed."""

# What takes seconds, so that a power cut seldom meets it, is to be met often.
recorder.seal._SETTLE = 0.3
recorder.seal._LOOK = 0.1
SESSIONS = 8
BOSS = Principal("boss", "iss", groups=frozenset({"g"}))
PRUNED = 5  # every fifth session may be pruned once it has ended


class Life:
    """One process: everything that it does, and what it promised meanwhile."""

    def __init__(self, state: Path, promises: str, seed: int, tolerant: bool) -> None:
        self.tolerant = tolerant
        self.state = state
        self.seed = seed
        self.over = threading.Event()
        self.threads: list[threading.Thread] = []
        self.trouble: list[BaseException] = []
        self._fd = os.open(promises, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def promise(self, what: str, *more: Any) -> None:
        os.write(self._fd, json.dumps([what, time.monotonic_ns(), *more]).encode() + b"\n")

    def every(self, seconds: float, step: Any) -> None:
        """Do ``step(turn)`` again and again, in a thread."""

        def run() -> None:
            turn = 0
            while not self.over.wait(seconds):
                turn += 1
                try:
                    step(turn)
                except BaseException as error:
                    if not self.tolerant or not isinstance(error, FAILURES):
                        self.trouble.append(error)
                        raise

        self.threads.append(threading.Thread(target=run))

    # ---- who does something ------------------------------------------------------

    def tick(self, turn: int) -> None:
        self.notary._tick_safely(self.journal)
        ledger = self.notary._ledger
        if self.notary.failed or ledger is None:
            assert self.tolerant, self.notary.failed
            return
        if turn % 10 == 0:
            ledger.rotate()
        self.promise("published", ledger.checkpoint.size, ledger.checkpoint.root.hex())

    def hold(self, turn: int) -> None:
        hold = put_hold(self.state, "an auditor", "a case", f"none{turn}").id
        self.promise("held", hold)
        if turn % 3 == 0:
            self.promise("lifted", hold)
            lift_hold(self.state, hold, "an auditor", "closed")

    def prune(self, turn: int) -> None:
        """Reads the index, so that it is caught up as well."""
        lines = list(Answer(self.state, Wanted(), print).lines())
        # After the list: what it has as ended may still be in the journal by then.
        pruning = Pruning(
            self.state, Retention(), "auto", delete_after=timedelta(0),
            now=datetime.now(UTC) + timedelta(days=1),
        )  # fmt: skip
        chosen = [line for line in lines if int(line.session[1:]) % PRUNED == 0]
        for choice in pruning.choices(chosen):
            if choice.delete:
                self.promise("deleting", choice.line.session)
                if pruning.delete(choice) == "":
                    self.promise("deleted", choice.line.session)

    def approve(self, turn: int) -> None:
        need = ApprovalNeed("r", ("g",))
        asked = ApprovalRequest(
            "S1", "run", "agent", "iss", ("g",), "db", "postgres", f"digest{turn}", "DELETE",
            (), (need,), ("r",), "held", "v1",
        )  # fmt: skip
        made = self.approvals.request(asked).id
        self.promise("approval", made, "pending")
        if turn % 2:
            self.approvals.decide(made, BOSS, True, "fine")
            self.promise("approval", made, "approved")
            self.approvals.consume(made, f"digest{turn}")
            self.promise("approval", made, "consumed")

    def revoke(self, turn: int) -> None:
        ticket = self.tickets.mint(BOSS)
        if turn % 2:
            self.tickets.revoke(ticket)
        else:
            self.tickets.revoke_subject(BOSS.subject, BOSS.issuer)
        self.promise("revoked", ticket)

    # ---- its life ------------------------------------------------------------------

    def live(self, mode: str, seconds: float) -> None:
        rng = random.Random(self.seed)
        try:
            self._begin(rng)
        except FAILURES:
            if not self.tolerant:
                raise
            os._exit(0)  # it says why, and does not start
        for often, what in ((0.03, self.tick), (0.05, self.hold), (0.2, self.prune)):
            self.every(often, what)
        self.tickets = Tickets(self.state, World())
        for what in (self.approve, self.revoke):
            self.every(0.05, what)
        for thread in self.threads:
            thread.start()
        print("ready", flush=True)
        self._record(rng, mode, time.monotonic() + seconds)
        self.over.set()
        for thread in self.threads:
            thread.join()
        if self.trouble:
            os._exit(1)
        if rng.random() < 0.5:
            for close in (self.journal.close, self.notary.close, self.approvals.close):
                with suppress(*FAILURES if self.tolerant else ()):
                    close()
        # Else it dies like this: what it has in hand is lost.
        os._exit(0)

    def _begin(self, rng: random.Random) -> None:
        self.notary = Notary(EvidenceConfig(), self.state, World())
        self.notary.policy(f"policy {self.seed}")
        self.journal = Journal(
            self.state, gateway="g", clock=time.monotonic_ns, wall=time.time_ns,
            chance=os.urandom, segment_bytes=1 << 18, ballast_bytes=1 << 16, low=0, critical=0,
            part_size=rng.choice((40_000, 1 << 24)), part_seconds=0.4,
        )  # fmt: skip
        self.approvals = Approvals(self.state / "approvals.db", instance=f"gateway{self.seed}")

    def _record(self, rng: random.Random, mode: str, end: float) -> None:
        logs: dict[int, Any] = {}
        at: dict[int, list[int]] = {}
        following = self.seed * 10_000
        while time.monotonic() < end:
            while len(logs) < SESSIONS:
                logs[following] = self.journal.open({"session": name(following)})
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
            try:
                self.journal.flush()
                if mode == "disk":
                    assert self.journal.sync() == self.journal.written
            except RecorderError:
                assert self.tolerant
                return
            for ack in acks:
                self.promise("acked", *ack)
            time.sleep(0.002)


def main() -> None:
    state, promises, mode, seconds, seed, *tolerant = sys.argv[1:]
    Life(Path(state), promises, int(seed), bool(tolerant)).live(mode, float(seconds))


if __name__ == "__main__":
    main()
