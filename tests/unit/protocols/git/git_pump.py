"""Stands in for ssh: runs git's service on this machine, behind a lane.

git calls it by ``GIT_SSH_COMMAND`` with a host and a command line.  ``PUMP`` in the
environment is a JSON object: ``log`` (a file that gets one JSON object per run),
``verdict`` (``allow``, ``refuse``, ``mask``, ``refuse-result``), ``cut`` (largest piece
that a lane is fed, 0 for as it comes), ``secret`` (masked in texts), ``keep`` (write both
streams to the log, in hexadecimal).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import selectors
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[4]))

from protocols.contract import (
    Allow,
    Answer,
    Command,
    Plan,
    Question,
    Refuse,
    Result,
    Screen,
    Spool,
    SpoolFull,
)
from protocols.git.archive import ArchiveLane
from protocols.git.fetch import FetchLane
from protocols.git.lane import Lane, LaneOpening
from protocols.git.names import canonical
from protocols.ssh.exec import FETCH, parse
from protocols.wire import Move, Side


def find(secret: bytes) -> Screen:
    """A screen for one word."""

    def spans(data: bytes) -> list[tuple[int, int]]:
        out, at = [], data.find(secret)
        while at >= 0:
            out.append((at, at + len(secret)))
            at = data.find(secret, at + len(secret))
        return out

    return Screen(spans, len(secret))


def no_spool(cap: int) -> Spool:
    raise SpoolFull("none here")


def lane_for(service: str, repository: str, version: int, own: Screen | None) -> Lane:
    numbers = itertools.count(1)
    opening = LaneOpening(
        "s-1", repository, version, lambda: next(numbers), no_spool, own, limit=1 << 22
    )
    return FetchLane(opening) if service == FETCH else ArchiveLane(opening)


def verdict_on(question: Question, verdict: str, secret: bytes) -> Answer:
    if isinstance(question, Command):
        if verdict == "refuse":
            return Refuse("not on a Monday", rule="no-mondays")
        return Allow(masked=verdict in ("mask", "refuse-result"))
    assert isinstance(question, Result)
    if verdict == "refuse-result":
        return Refuse("no texts for you", rule="quiet")
    return Plan((None,), detect=find(secret))


def seen(question: Question) -> dict[str, Any]:
    if isinstance(question, Command):
        part = question.parts[0]
        return {
            "text": question.text,
            "action": part.action,
            "facts": dict(part.facts),
            "context": question.context,
        }
    return {"text": type(question).__name__}


class Pump:
    """One lane between two streams."""

    def __init__(self, lane: Lane, setup: dict[str, Any]) -> None:
        self.lane = lane
        self.setup = setup
        self.cut = setup.get("cut", 0)
        self.secret = setup.get("secret", "").encode()
        self.out: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        """To each side."""
        self.came: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self.told: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self.events: list[tuple[Side, bytes]] = []
        """What each read brought, in order."""
        self.sent: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self.questions: list[dict[str, Any]] = []

    def feed(self, side: Side, data: bytes) -> None:
        self.events.append((side, data))
        step = self.cut or max(1, len(data))
        for at in range(0, max(1, len(data)), step):
            piece = data[at : at + step]
            self.came[side].extend(piece)
            asked = self.lane.receive(side, piece)
            self.take()
            while asked:
                question = asked.pop(0)
                self.questions.append(seen(question))
                answer = verdict_on(question, self.setup.get("verdict", "allow"), self.secret)
                asked += self.lane.answer(question.number, answer)
                self.take()

    def take(self) -> None:
        for move, side, _mark, raw, offset in self.lane.moves():
            if move in (Move.PASS, Move.TAKE):
                assert offset == len(self.told[side])
                self.told[side].extend(raw)
            if move is Move.FORWARD:
                assert self.told[side][offset : offset + len(raw)] == raw
            if move is Move.SEND:
                self._send(side, raw)
            elif move is not Move.TAKE:
                self._send(side.other, raw)
        assert list(map(len, self.told)) == list(map(len, self.came))

    def _send(self, side: Side, raw: bytes) -> None:
        self.out[side].extend(raw)
        self.sent[side].extend(raw)


def main() -> int:
    setup = json.loads(os.environ["PUMP"])
    service, path = parse(sys.argv[-1].encode())
    version = {"version=1": 1, "version=2": 2}.get(os.environ.get("GIT_PROTOCOL", ""), 0)
    own = find(setup["secret"].encode()) if setup.get("own") else None
    with contextlib.suppress(ValueError):
        canonical(path)
    lane = lane_for(service, "org/repo", version, own)
    pump = Pump(lane, setup)
    program = sys.argv[-1].split(" ")[0]
    child = subprocess.Popen(
        [program, path.decode()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ
    )
    assert child.stdin is not None
    assert child.stdout is not None
    status = None
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ, Side.CLIENT)
        selector.register(child.stdout, selectors.EVENT_READ, Side.UPSTREAM)
        while status is None:
            for key, _ in selector.select():
                data = os.read(key.fd, 32768)
                pump.feed(key.data, data)
                to_client, to_upstream = pump.out
                if to_client:
                    with contextlib.suppress(BrokenPipeError):
                        sys.stdout.buffer.write(to_client)
                        sys.stdout.buffer.flush()
                    to_client.clear()
                if to_upstream:
                    with contextlib.suppress(BrokenPipeError):
                        child.stdin.write(to_upstream)
                        child.stdin.flush()
                    to_upstream.clear()
                if not data:
                    selector.unregister(key.fileobj)
                    if key.data is Side.CLIENT:
                        child.stdin.close()
                    else:
                        status = child.wait()
                if lane.finished is not None:
                    status = lane.finished
                    child.kill()
                    child.wait()
                    break
    assert pump.told == pump.came
    entry: dict[str, Any] = {"questions": pump.questions, "status": status, "version": version}
    if setup.get("keep"):
        entry["events"] = [(side, raw.hex()) for side, raw in pump.events]
    with open(setup["log"], "a") as log:
        log.write(json.dumps(entry, default=str) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
