"""A journal with a clock, a wall and chance that repeat themselves."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from gateway.policy.verdicts import Verdict
from protocols.wire import Mark, Move, Side, Span
from recorder.journal import Journal
from recorder.session_log import SessionLog

C, U = Side.CLIENT, Side.UPSTREAM
WALL = 1_790_000_000_000_000_000  # 2026-09-21T14:13:20Z
ULIDS = [f"01K5P0M4C0000000000000000{letter}" for letter in "0123456789ABCDEF"]


class World:
    """Time that goes 1 ms per look, and random bytes from a counter."""

    def __init__(self) -> None:
        self.now = 5_000_000_000
        self.drawn = 0

    def clock(self) -> int:
        self.now += 1_000_000
        return self.now

    def wall(self) -> int:
        return WALL

    def chance(self, size: int) -> bytes:
        self.drawn += 1
        return hashlib.sha512(b"chance %d" % self.drawn).digest()[:size]


def make_journal(state: Path, world: World | None = None, **settings: Any) -> Journal:
    world = world or World()
    settings = {"sealer": False, "ballast_bytes": 1 << 16, "low": 0, "critical": 0} | settings
    return Journal(
        state, gateway="gw-1", clock=world.clock, wall=world.wall, chance=world.chance, **settings
    )


def header(session: str = ULIDS[0]) -> dict[str, Any]:
    return {"session": session, "listener": "db", "protocol": "postgres", "peer": "127.0.0.1:5555"}


class Legs:
    """Builds spans with the offsets that a conversation's outbox gives."""

    def __init__(self) -> None:
        self.arrived = [0, 0]
        self.hops: dict[tuple[Side, bool], bytes] = {
            (side, arrives): b"" for side in (C, U) for arrives in (True, False)
        }

    def passed(self, side: Side, raw: bytes) -> Span:
        offset = self._arrive(side, raw)
        self.hops[side.other, False] += raw
        return Span(Move.PASS, side, Mark.PLAIN, raw, offset)

    def take(self, side: Side, raw: bytes, mark: Mark = Mark.PLAIN) -> Span:
        return Span(Move.TAKE, side, mark, raw, self._arrive(side, raw))

    def send(self, side: Side, raw: bytes, mark: Mark = Mark.OURS) -> Span:
        self.hops[side, False] += raw
        return Span(Move.SEND, side, mark, raw, -1)

    def forward(self, side: Side, offset: int, size: int) -> Span:
        raw = self.hops[side, True][offset : offset + size]
        self.hops[side.other, False] += raw
        return Span(Move.FORWARD, side, Mark.PLAIN, raw, offset)

    def _arrive(self, side: Side, raw: bytes) -> int:
        offset = self.arrived[side]
        self.arrived[side] += len(raw)
        self.hops[side, True] += raw
        return offset


def play_session(journal: Journal, session: str = ULIDS[0], end: bool = True) -> Legs:
    """A small session with every kind of entry."""
    log: SessionLog = journal.open(header(session))
    legs = Legs()
    log.spans([legs.take(C, b"greeting"), legs.take(C, b"hunter2 secret", Mark.SECRET)])
    who = {"subject": "ci@repo", "issuer": "github", "kind": "ci", "groups": {"dev", "ci"}}
    log.event("identity", {**who, "run": "42", "tags": {"env": "prod"}})
    log.event("destination", {"target": "prod-db", "database": "app", "user": "svc"})
    log.spans([legs.send(U, b"upstream greeting"), legs.send(U, b"pw-proof", Mark.SECRET)])
    journal.flush()
    for number in range(3):
        log.command(number, "run", "select 1", Verdict.ALLOW, ("reads",), "", "p" * 8)
        log.spans([legs.passed(C, b"Q select 1;")])
        log.spans([legs.passed(U, b"T one D 1 C Z" * 20)])
        journal.flush()
    log.command(9, "run", "delete from t", Verdict.BLOCK, ("no-where",), "needs WHERE", "p" * 8)
    at = legs.arrived[C]
    log.spans([legs.take(C, b"Q delete from t"), legs.send(C, b"E 42501")])
    log.command(10, "run", "update t", Verdict.HOLD, ("hold",), "", "p" * 8, "d" * 64, ["a", None])
    held = legs.arrived[C]
    log.spans([legs.take(C, b"Q update t set a = 1")])
    journal.flush()
    assert at < held
    log.event("approval", {"id": "a1", "state": "approved"})
    log.spans([legs.forward(C, held, 5), legs.forward(C, held + 5, 15)])
    log.spans([legs.take(U, b"D ssn 123-45-6789", Mark.EDITED)])
    log.spans([legs.send(C, b"D ssn ***-**-****", Mark.EDITED)])
    journal.flush()
    if end:
        log.end("closed", "the client said goodbye")
        journal.flush()
    return legs
