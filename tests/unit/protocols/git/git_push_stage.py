"""A push lane on a stage: both streams are given as bytes, questions have set answers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from push_pump import MemorySpool

from protocols.contract import (
    Allow,
    Answer,
    Command,
    Done,
    Errand,
    Examine,
    Question,
    Remark,
    Result,
)
from protocols.errors import WireError
from protocols.git.inquiry import Inquiry
from protocols.git.lane import LaneOpening
from protocols.git.pktline import FLUSH, pkt
from protocols.git.push import PushLane
from protocols.git.sideband import DATA, TEXT, lines
from protocols.git.survey import Survey, UpdateSeen
from protocols.wire import Mark, Move, Side

CLIENT, UPSTREAM = Side.CLIENT, Side.UPSTREAM
ZERO, ONE, TWO, THREE = (digit * 40 for digit in "0123")
SERVER = (
    "report-status report-status-v2 delete-refs side-band-64k quiet atomic ofs-delta"
    " push-options push-cert=x object-format=sha1 agent=git/2"
)
CHOSEN = " report-status-v2 side-band-64k object-format=sha1 agent=git/2"


def advertisement(capabilities: str = SERVER, **refs: str) -> bytes:
    """``main=ONE`` for each ref under refs/heads."""
    named = [f"{oid} refs/heads/{name}" for name, oid in refs.items()]
    first, *others = named or [f"{ZERO} capabilities^{{}}"]
    said = [f"{first}\0{capabilities}\n", *(f"{other}\n" for other in others)]
    return b"".join(pkt(line.encode()) for line in said) + FLUSH


def request(*commands: str, chosen: str = CHOSEN, before: Iterable[str] = ()) -> bytes:
    first, *others = commands
    said = [*before, f"{first}\0{chosen}", *others]
    return b"".join(pkt(line.encode("utf-8", "surrogateescape")) for line in said) + FLUSH


def outcome(*refs: str, text: str = "") -> bytes:
    """A report of the upstream's that all is well."""
    inner = pkt(b"unpack ok\n") + b"".join(pkt(f"ok {ref}\n".encode()) for ref in refs) + FLUSH
    return lines(TEXT, text.encode()) + lines(DATA, inner) + FLUSH


class PushStage:
    """``answers`` is what a Command gets; ``survey`` what the errand finds (None: creates
    and fast-forwards, an error string: it fails)."""

    def __init__(
        self,
        answer: Answer | None = None,
        survey: Survey | str | None = None,
        held: bool = False,
        **opening: object,
    ) -> None:
        numbers = itertools.count(1)
        self.answers: Answer = answer or Allow()
        self.survey = survey
        self.hold = held
        self.moved: Done = Done(())
        self.ahead_late = False
        self.asked: list[Question] = []
        self.spools: list[MemorySpool] = []
        self.out = {CLIENT: bytearray(), UPSTREAM: bytearray()}
        self.came = {CLIENT: bytearray(), UPSTREAM: bytearray()}
        self.marks: set[Mark] = set()
        self.error: WireError | None = None
        self.lane = PushLane(
            LaneOpening(  # type: ignore[arg-type]
                **{
                    "session": "s-1",
                    "repository": "org/repo",
                    "version": 1,
                    "number": lambda: next(numbers),
                    "spool": self._spool,
                    **opening,
                }
            )
        )

    def _spool(self, cap: int) -> MemorySpool:
        self.spools.append(MemorySpool(cap))
        return self.spools[-1]

    def feed(self, side: Side, data: bytes, cuts: Iterable[int] = ()) -> None:
        """``data`` in pieces; its end is another ``feed`` of b""."""
        edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts} - {0, len(data)}), len(data)]
        for start, end in itertools.pairwise(edges):
            if self.error is not None or self.lane.finished is not None:
                return
            piece = data[start:end]
            before = len(self.came[side])
            try:
                self._settle(self.lane.receive(side, piece))
            except WireError as error:
                self.error = error
                self._flush()
            assert len(self.came[side]) - before == len(piece), "a byte was not told of"
            assert self.came[side][before:] == piece

    def _settle(self, questions: list[Question]) -> None:
        queue = list(questions)
        self._flush()
        while queue:
            queue += self._reply(queue.pop(0))
            self._flush()
        while self.lane.more:
            self._flush()

    def _reply(self, question: Question) -> list[Question]:
        self.asked.append(question)
        lane = self.lane
        if isinstance(question, Remark):
            return []
        if isinstance(question, Examine):
            return [] if self.ahead_late else lane.answer(question.number, Done())
        if isinstance(question, Errand):
            if not isinstance(question.talk, Inquiry):
                return lane.answer(question.number, self.moved)
            return lane.answer(question.number, self._looked(question.talk))
        if isinstance(question, Command) and self.hold:
            lane.say(question.number, "waiting")
        assert isinstance(question, Command | Result)
        return lane.answer(question.number, self.answers)

    def answer_ahead(self, done: Done) -> None:
        """Answer the Examine that ``ahead_late`` left open."""
        number = next(each.number for each in self.asked if isinstance(each, Examine))
        self._settle(self.lane.answer(number, done))

    def _looked(self, talk: Inquiry) -> Done:
        if isinstance(self.survey, str):
            return Done(error=self.survey)
        seen = tuple(UpdateSeen(each, each.deletes) for each in talk._updates)
        return Done(self.survey or Survey(seen, objects=1))

    def _flush(self) -> None:
        for move, side, mark, raw, offset in self.lane.moves():
            self.marks.add(mark)
            if move in (Move.TAKE, Move.PASS):
                assert offset == len(self.came[side])
                self.came[side] += raw
            if move is Move.FORWARD:
                assert self.came[side][offset : offset + len(raw)] == raw
            if move in (Move.PASS, Move.FORWARD):
                self.out[side.other] += raw
            elif move is Move.SEND:
                self.out[side] += raw

    @property
    def command(self) -> Command:
        (found,) = [one for one in self.asked if isinstance(one, Command)]
        return found

    def play(self, client: bytes, upstream: bytes, cuts: Iterable[int] = (), **refs: str) -> None:
        """All of a push: the refs, the client's stream and its end, the report."""
        cuts = list(cuts)
        self.feed(UPSTREAM, advertisement(**refs), cuts)
        self.feed(CLIENT, client, cuts)
        self.feed(CLIENT, b"")
        if self.lane.finished is None:
            self.feed(UPSTREAM, upstream, cuts)
            self.feed(UPSTREAM, b"")
