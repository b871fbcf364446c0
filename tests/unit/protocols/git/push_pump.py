"""Stands for ssh and the gateway between a real ``git push`` and ``git receive-pack``.

``GIT_SSH_COMMAND`` runs it with a folder that has ``plan.json`` (what to answer) and
gets ``log.json`` (what was asked, and what became of the bytes).
"""

from __future__ import annotations

import io
import itertools
import json
import os
import select
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[4]))

from gateway.quarantine.process import Desk
from protocols.contract import (
    Allow,
    Command,
    Done,
    Errand,
    Examine,
    Question,
    Refuse,
    Remark,
    Result,
    SpoolFull,
)
from protocols.git.inquiry import Inquiry
from protocols.git.lane import LaneOpening
from protocols.git.push import PushLane
from protocols.git.survey import CommitSeen, Survey, UpdateSeen
from protocols.wire import Move, Side


class MemorySpool:
    """``protocols.contract.Spool`` in memory."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._file = io.BytesIO()
        self.closed = False

    @property
    def size(self) -> int:
        return self._file.getbuffer().nbytes

    def write(self, data: bytes) -> None:
        if self.size + len(data) > self._cap:
            raise SpoolFull("full")
        self._file.write(data)

    def read(self, offset: int, length: int) -> bytes:
        with self._file.getbuffer() as view:
            return bytes(view[offset : offset + length])

    def close(self) -> None:
        self.closed = True


def git(repository: str, *words: str) -> str:
    command = ["git", "-C", repository, *words]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    return run.stdout if run.returncode == 0 else ""


def commits(clone: str, *revisions: str) -> tuple[CommitSeen, ...]:
    said = git(clone, "log", "--format=%H%x00%an <%ae>%x00%cn <%ce>%x00%ct%x00%s", *revisions)
    found = [line.split("\0") for line in said.splitlines()]
    return tuple(CommitSeen(o, a, c, int(t), s) for o, a, c, t, s in found)


def surveyed(clone: str, talk: Inquiry) -> Survey:
    seen = []
    for update in talk._updates:
        forced = False
        added: tuple[CommitSeen, ...] = ()
        lost: tuple[CommitSeen, ...] = ()
        if update.creates:
            added = commits(clone, update.new)
        elif not update.deletes:
            base = git(clone, "merge-base", update.old, update.new).strip()
            forced = base != update.old
            added = commits(clone, f"{update.old}..{update.new}")
            lost = commits(clone, f"{update.new}..{update.old}")
        seen.append(UpdateSeen(update, forced, added, len(added), lost, len(lost)))
    return Survey(tuple(seen), objects=1)


def looked(talk: Inquiry, path: str, folder: Path) -> Survey:
    """What the inquiry itself finds, with a real upload-pack and real examinations."""
    folder.mkdir(exist_ok=True)
    desk = Desk(folder, ())
    environment = {**os.environ, "GIT_PROTOCOL": "version=2"}
    command = ["git", "upload-pack", path]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        while not talk.closing:
            for span in talk.moves():
                if span.move is Move.SEND:
                    child.stdin.write(span.raw)
            child.stdin.flush()
            data = os.read(child.stdout.fileno(), 1 << 16)
            questions = talk.receive(Side.UPSTREAM, data)
            while questions:
                questions += talk.answer(questions[0].number, examined(desk, questions.pop(0)))
        for span in talk.moves():
            child.stdin.write(span.raw if span.move is Move.SEND else b"")
        child.stdin.close()
        child.stdout.read()
    survey = talk.result
    assert survey is not None
    return survey


def examined(desk: Desk, question: Question) -> Done:
    assert isinstance(question, Examine)
    files = []
    for spool in question.spools:
        with tempfile.TemporaryFile() as file:
            file.write(spool.read(0, spool.size))
            file.seek(0)
            files.append(os.dup(file.fileno()))
    return Done(desk.step(question.step, question.arguments, files))


class Pump:
    def __init__(self, folder: Path, path: str) -> None:
        self.plan: dict[str, Any] = json.loads((folder / "plan.json").read_text())
        self.log: dict[str, Any] = {"remarks": [], "said": 0, "spools": []}
        self.folder = folder
        self.path = path
        self.child = subprocess.Popen(
            ["git", "receive-pack", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.into, self.out = self.child.stdin.fileno(), self.child.stdout.fileno()
        numbers = itertools.count(1)
        self.spools: list[MemorySpool] = []
        self.lane = PushLane(
            LaneOpening(
                session="s-1",
                repository="org/repo",
                version=int(os.environ.get("GIT_PROTOCOL", "version=0")[-1]),
                number=lambda: next(numbers),
                spool=self.spool,
                max_pack=self.plan.get("max_pack", 1 << 30),
                push_options=tuple(self.plan.get("push_options", ())),
            )
        )
        self.arrived = bytearray()
        self.sent = bytearray()
        self.places: list[tuple[int, int]] = []

    def spool(self, cap: int) -> MemorySpool:
        self.spools.append(MemorySpool(cap))
        return self.spools[-1]

    def settle(self, questions: list[Question]) -> None:
        """Answer all, and send what there is to be sent."""
        queue = list(questions)
        self.flush()
        while queue:
            queue += self.reply(queue.pop(0))
            self.flush()
        while self.lane.more:
            self.flush()

    def reply(self, question: Question) -> list[Question]:
        if isinstance(question, Remark):
            self.log["remarks"].append(dict(question.fields))
            return []
        if isinstance(question, Examine):
            assert question.step == "ahead"
            return self.lane.answer(question.number, Done())
        if isinstance(question, Errand):
            self.lane.say(question.number, "looking into it")
            if not isinstance(question.talk, Inquiry):
                moved = tuple(map(tuple, self.plan.get("moved", ())))
                return self.lane.answer(question.number, Done(moved))
            if self.plan.get("blind"):
                return self.lane.answer(question.number, Done(error="the upstream is deaf"))
            if self.plan.get("look"):
                survey = looked(question.talk, self.path, self.folder / "desk")
            else:
                survey = surveyed(self.plan["clone"], question.talk)
            return self.lane.answer(question.number, Done(survey))
        if isinstance(question, Command):
            self.log["text"] = question.text
            self.log["context"] = question.context
            self.log["facts"] = [dict(part.facts) for part in question.parts]
            self.log["complete"] = [part.complete for part in question.parts]
            if self.plan.get("hold"):
                self.lane.say(question.number, "waiting for approval AP-1 from leads")
            if "refuse" in self.plan:
                rule, why = self.plan["refuse"]
                return self.lane.answer(question.number, Refuse(why, rule))
            return self.lane.answer(question.number, Allow())
        assert not isinstance(question, Result)
        raise AssertionError(question)

    def flush(self) -> None:
        for span in self.lane.moves():
            if span.move is Move.TAKE:
                if span.side is Side.CLIENT:
                    self.arrived += span.raw
                continue
            if span.move is Move.SEND:
                target = span.side
            else:
                target = span.side.other
            if span.move is Move.FORWARD and span.side is Side.CLIENT:
                start = span.offset
                assert self.arrived[start : start + len(span.raw)] == span.raw
                self.places.append((start, len(span.raw)))
            descriptor = 1 if target is Side.CLIENT else self.into
            if target is Side.UPSTREAM:
                self.sent += span.raw
            view = memoryview(span.raw)
            try:
                while view:
                    view = view[os.write(descriptor, view) :]
            except BrokenPipeError:
                self.log["broken"] = target.name

    def run(self) -> int:
        open_sides = {0, self.out}
        ended = False
        step = self.plan.get("step", 1 << 18)
        while self.out in open_sides and self.lane.finished is None:
            ready, _, _ = select.select(list(open_sides), [], [], 30)
            for descriptor in ready:
                side = Side.CLIENT if descriptor == 0 else Side.UPSTREAM
                data = os.read(descriptor, step)
                if self.lane.finished is not None:
                    break
                self.settle(self.lane.receive(side, data))
                if not data:
                    open_sides.discard(descriptor)
                    ended = ended or side is Side.CLIENT
                if side is Side.CLIENT and self.plan.get("kill_at", 1 << 62) < len(self.arrived):
                    self.child.kill()
        os.close(self.into)
        self.log["whole"] = self.arrived == self.sent
        self.log["upstream"] = bytes(self.sent[:8]).decode("latin-1")
        self.log["tiled"] = sum(length for _, length in self.places) == len(self.arrived)
        self.log["bytes"] = len(self.arrived)
        self.log["closed"] = all(spool.closed for spool in self.spools)
        self.log["finished"] = self.lane.finished
        self.log["exit"] = self.child.wait(20)
        (self.folder / "log.json").write_text(json.dumps(self.log))
        return self.lane.finished if self.lane.finished is not None else self.child.returncode


def main() -> int:
    folder = Path(sys.argv[1])
    _, path = shlex.split(sys.argv[-1])
    return Pump(folder, path).run()


if __name__ == "__main__":
    sys.exit(main())
