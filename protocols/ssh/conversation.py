"""One git session over SSH: a login, one command line, then a lane of git.

Both legs are streams of frames (``frames.py``).  What the client may run is a
service of git on a repository of the target; the command line that goes
upstream is made anew from what was parsed, never the client's own.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import count
from typing import Final

from protocols.contract import (
    Allow,
    Answer,
    Command,
    Destination,
    Destined,
    Errand,
    Opening,
    Phase,
    Question,
    Refuse,
    Remark,
    Talk,
)
from protocols.errors import WireError
from protocols.git.lane import Lane, LaneOpening
from protocols.git.refusal import shown
from protocols.git.texts import Texts
from protocols.outbox import Outbox
from protocols.ssh.ascent import Ascent, Summit
from protocols.ssh.channel import Channel
from protocols.ssh.errand import SshTalk
from protocols.ssh.frames import HEADER, Frames, Kind, data, frame
from protocols.ssh.login import Login
from protocols.ssh.services import Service, Unfit, listing, requested, start_lane
from protocols.ssh.words import refusal, told
from protocols.wire import Mark, Side, Span

CLIENT, UPSTREAM = Side.CLIENT, Side.UPSTREAM
_VERSION: Final = re.compile(rb"version=([0-9])")
_FAREWELL: Final = (Kind.EXIT, Kind.SIGNAL)
REQUEST_BYTES: Final = 8 << 20
"""What a client may ask for at once: a mirror of many refs wants each of them by name."""
ERRAND_BYTES: Final = 1 << 30
"""What an errand of git may read: it has caps of its own, well below."""


class SshConversation:
    """The conversation of ``protocols.contract``."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._numbers = count(1)
        self._outbox = Outbox()
        self._frames = (Frames(CLIENT), Frames(UPSTREAM))
        self._channel = Channel(self._outbox)
        self._login = Login(opening.session, self._outbox, self._next)
        self._ascent = Ascent(self._outbox, self._next)
        self._service: Service | None = None
        self._version = 0
        self._asked = 0
        """The question of ours that waits: Destination, then the listing."""
        self._destined: Destined | None = None
        self._lane: Lane | None = None
        self._stderr = Texts()
        self._open: set[int] = set()
        """Questions of the lane that wait."""
        self._eof = [False, False]
        """By side: its stream has ended."""
        self._eof_sent = [False, False]
        """By side: it was told that the other side's stream has ended."""
        self._exit = b""
        """The upstream's EXIT or SIGNAL frame."""
        self._spoken = False
        """The client has said something to the lane."""
        self._closing = False

    # -- the contract -----------------------------------------------------

    def receive(self, side: Side, data: bytes) -> list[Question]:
        if self._closing:
            self._spill()
            self._outbox.take(side, data, Mark.SECRET)
            return []
        if not data:
            return self._lost(side)
        try:
            buffer, found = self._frames[side].cut(data)
        except WireError as error:
            self._outbox.take(side, self._frames[side].spill(data), Mark.SECRET)
            self._end(self._told(error.message))
            raise
        questions: list[Question] = []
        run = -1  # the start of frames that pass as they are
        for kind, start, end in found:
            if self._closing:
                self._outbox.take(side, buffer[start:end], Mark.SECRET)
                continue
            if kind is Kind.DATA and self._lane is not None and not self._eof[side]:
                body = buffer[start + HEADER : end]
                self._spoken = self._spoken or side is CLIENT
                try:
                    questions += self._lane_asks(self._lane.receive(side, body))
                except WireError as error:
                    self._pass(side, buffer, run, start)
                    run = -1
                    self._broken(side, buffer[start:end], error)
                    self._outbox.take(side, buffer[end : found[-1][2]], Mark.SECRET)
                    raise
                spans = self._lane.moves()
                if self._channel.passes(side, body, spans):
                    if run < 0:
                        run = start
                    continue
                self._pass(side, buffer, run, start)
                run = -1
                self._channel.arrived(side, buffer[start:end], spans)
                self._after_lane()
                continue
            self._pass(side, buffer, run, start)
            run = -1
            try:
                questions += self._take(side, kind, buffer[start:end])
            except WireError as error:
                self._outbox.take(side, buffer[end : found[-1][2]], Mark.SECRET)
                self._end(self._told(error.message))
                raise
        if found:
            self._pass(side, buffer, run, found[-1][2])
        return questions

    def answer(self, number: int, answer: Answer) -> list[Question]:
        if self._closing:
            return []
        if number and number == self._login.pending:
            self._login.answer(answer)
            self._closing = self._closing or self._login.closing
        elif number and number == self._ascent.pending:
            self._ascent.answer(answer)
            self._check_ascent()
        elif number and number == self._asked:
            self._asked = 0
            return self._routed(answer)
        elif number in self._open and self._lane is not None:
            self._open.discard(number)
            try:
                return self._lane_asks(self._lane.answer(number, answer))
            except WireError as error:
                self._blame(error)
                raise
        else:
            raise KeyError(number)
        return []

    def moves(self) -> list[Span]:
        if self._lane is not None and not self._closing:
            self._channel.left(self._lane.moves())
            self._after_lane()
        if self._closing:
            self._spill()
        return self._outbox.drain()

    def say(self, number: int, text: str) -> None:
        if self._closing:
            return
        if self._lane is not None and not self._lane.mute:
            self._lane.say(number, text)
        elif text:
            self._outbox.send(CLIENT, frame(Kind.STDERR, shown(text) + b"\n"), Mark.OURS)

    def withdraw(self, number: int) -> None:
        if number in self._open and self._lane is not None:
            self._open.discard(number)
            self._lane.withdraw(number)
        elif number and number == self._asked:
            self._asked = 0
            self._end(self._told("withdrawn by the client"))

    def dismiss(self, refuse: Refuse) -> None:
        if not self._closing:
            if self._lane is not None:
                self._lane.dismiss(refuse)
                self._channel.left(self._lane.moves())
            self._end(refusal(refuse, self._opening.session))

    def cancel(self) -> Talk | None:
        return None

    @property
    def more(self) -> bool:
        return self._lane is not None and self._lane.more and not self._closing

    @property
    def closing(self) -> bool:
        return self._closing

    @property
    def at_rest(self) -> bool:
        """Before the command line, and until the client speaks git. After that a lane
        that is at rest has an exit status to come, or the rest of a fetch: cut short
        there, git would call a push that went through a failure."""
        if self._lane is None:
            return self._service is None and not self._login.pending
        return self._lane.at_rest and not self._spoken

    @property
    def held(self) -> int:
        return sum(self.waiting)

    @property
    def waiting(self) -> tuple[int, int]:
        client, upstream = self._lane.held if self._lane is not None else (0, 0)
        return client + self._frames[0].waiting, upstream + self._frames[1].waiting

    @property
    def ready(self) -> bool:
        return self._lane is not None

    @property
    def owed(self) -> bool:
        return self._lane is not None and self._lane.owed

    @property
    def between(self) -> bool:
        """What is sent is always whole frames."""
        return True

    @property
    def aside(self) -> str:
        return self._ascent.aside

    @property
    def unforwarded(self) -> tuple[int, int]:
        return self._frames[0].waiting, self._frames[1].waiting

    # -- frames other than a lane's data ----------------------------------

    def _take(self, side: Side, kind: Kind, raw: bytes) -> list[Question]:
        """A whole frame that does not pass as it is."""
        mark = Mark.SECRET if kind is Kind.SECRET else Mark.PLAIN
        self._outbox.take(side, raw, mark)
        body = raw[HEADER:]
        if kind is Kind.EOF:
            return self._end_of(side)
        if side is UPSTREAM:
            return self._from_upstream(kind, body)
        if kind is Kind.REFUSED:
            return [Remark("refused", {"what": body.decode("utf-8", "backslashreplace")[:512]})]
        if not self._login.proven:
            questions = self._login.receive(kind, body)
            self._closing = self._closing or self._login.closing
            return questions
        if self._service is None and kind is Kind.ENV:
            found = [_VERSION.fullmatch(word) for word in body.split(b":")]
            self._version = max((int(word[1]) for word in found if word), default=0)
            return []
        if self._service is None and kind is Kind.EXEC:
            return self._exec(body)
        raise WireError(CLIENT, "a frame out of turn")

    def _from_upstream(self, kind: Kind, body: bytes) -> list[Question]:
        if self._lane is None:
            questions = self._ascent.receive(kind, body)
            self._check_ascent()
            if self._ascent.started:
                self._begin_lane()
            return questions
        if kind is Kind.STDERR:
            self._outbox.send(CLIENT, data(Kind.STDERR, self._stderr.feed(body)), Mark.EDITED)
        elif kind in _FAREWELL and not self._exit:
            self._exit = frame(kind, body)
            self._after_lane()
        elif kind is Kind.FAILED:
            self._ascent.aside = body.decode("utf-8", "backslashreplace")[:512]
            return self._lost(UPSTREAM)
        else:
            raise WireError(UPSTREAM, "a frame out of turn")
        return []

    # -- the command line -------------------------------------------------

    def _exec(self, line: bytes) -> list[Question]:
        try:
            self._service = requested(line, self._version)
        except Unfit as unfit:
            self._end(self._told(str(unfit)))
            shown = line[:256].decode("utf-8", "backslashreplace")
            return [Remark("refused", {"what": "exec", "line": shown, "why": str(unfit)})]
        self._asked = self._next()
        name = {"user": self._login.claimed, "service": self._service.word}
        return [Destination(self._asked, self._service.repository, name)]

    def _routed(self, answer: Answer) -> list[Question]:
        assert self._service is not None
        if isinstance(answer, Refuse):
            self._end(refusal(answer, self._opening.session))
        elif isinstance(answer, Destined):
            self._destined = answer
            self._service = self._service.at(answer.database)
            self._asked = self._next()
            text, part = listing(self._service)
            return [Command(self._asked, Phase.RUN, text, (part,))]
        elif isinstance(answer, Allow) and self._destined is not None:
            questions = self._ascent.begin(self._summit(self._service))
            self._check_ascent()
            return questions
        else:
            raise TypeError(f"{type(answer).__name__} is no answer here")
        return []

    def _summit(self, service: Service) -> Summit:
        assert self._destined is not None
        root = str(self._destined.settings.get("root", ""))
        return service.summit(self._destined.user, root)

    def _check_ascent(self) -> None:
        if self._ascent.failure:
            refuse = Refuse(self._ascent.failure, kind="upstream")
            self._end(refusal(refuse, self._opening.session))

    def _begin_lane(self) -> None:
        assert self._service is not None
        assert self._destined is not None
        self._stderr = Texts((self._destined.own,))
        settings = self._destined.settings
        cap = settings.get("max_pack")
        options = settings.get("push_options")
        self._lane = start_lane(
            self._service,
            LaneOpening(
                session=self._opening.session,
                repository=self._service.repository,
                version=self._service.version,
                number=self._next,
                spool=self._opening.spool,
                own=self._destined.own,
                limit=max(self._opening.limit, REQUEST_BYTES),
                max_pack=cap if isinstance(cap, int) else 1 << 30,
                push_options=tuple(map(str, options)) if isinstance(options, tuple) else (),
            ),
        )
        self._outbox.send(CLIENT, frame(Kind.STARTED), Mark.OURS)

    # -- the lane ---------------------------------------------------------

    def _lane_asks(self, questions: list[Question]) -> list[Question]:
        """Note what the lane waits for; its errands travel by SSH too."""
        self._open.update(question.number for question in questions if question.number)
        return [self._carried(q) if isinstance(q, Errand) else q for q in questions]

    def _carried(self, errand: Errand) -> Errand:
        assert self._service is not None
        talk = SshTalk(errand.talk, self._summit(self._service.reading()), self._next)
        return replace(errand, talk=talk, most=errand.most or ERRAND_BYTES)

    def _after_lane(self) -> None:
        """Ends of streams go on once all before them has."""
        lane = self._lane
        if lane is None or self._closing:
            return
        if lane.finished is not None:
            self._tell_eof(UPSTREAM)
            self._exit = frame(Kind.EXIT, lane.finished.to_bytes(4, "big"))
            self._leave()
            return
        waits = bool(self._open) or lane.more
        if self._eof[CLIENT] and not waits and not lane.held[CLIENT]:
            self._tell_eof(UPSTREAM)
        if self._eof[UPSTREAM] and not waits and not lane.held[UPSTREAM]:
            self._tell_eof(CLIENT)
            if self._exit:
                self._leave()

    def _end_of(self, side: Side) -> list[Question]:
        if self._lane is None or self._eof[side]:
            raise WireError(side, "an end of nothing")
        questions = self._stop_lane(side)
        self._after_lane()
        return questions

    def _stop_lane(self, side: Side) -> list[Question]:
        """The stream of ``side`` has ended."""
        assert self._lane is not None
        self._eof[side] = True
        try:
            questions = self._lane_asks(self._lane.receive(side, b""))
        except WireError as error:
            self._blame(error)
            raise
        self._channel.left(self._lane.moves())
        return questions

    def _tell_eof(self, side: Side) -> None:
        if not self._eof_sent[side]:
            self._eof_sent[side] = True
            self._outbox.send(side, frame(Kind.EOF), Mark.OURS)

    def _pass(self, side: Side, buffer: bytes, start: int, end: int) -> None:
        if 0 <= start < end:
            self._outbox.pass_on(side, buffer[start:end])

    def _broken(self, side: Side, raw: bytes, error: WireError) -> None:
        """``side`` broke git's protocol in the frame ``raw``."""
        assert self._lane is not None
        self._channel.arrived(side, raw, self._lane.moves())
        self._blame(error)

    def _blame(self, error: WireError) -> None:
        """The lane says what was wrong where it can, else it is said on standard error."""
        assert self._lane is not None
        self._channel.left(self._lane.moves())
        self._after_lane()
        who = "the upstream" if error.side is UPSTREAM else "the client"
        self._end(self._told(f"{who} broke git's protocol: {error.message}"))

    # -- ends -------------------------------------------------------------

    def _spill(self) -> None:
        """What never became a frame is on record by its length."""
        for side in Side:
            if self._frames[side].waiting:
                self._outbox.take(side, self._frames[side].spill(b""), Mark.SECRET)

    def _lost(self, side: Side) -> list[Question]:
        """The connection of ``side`` is gone."""
        questions: list[Question] = []
        if side is CLIENT:
            self._closing = True
            return questions
        lane = self._lane
        if lane is None:
            if not self._ascent.failure and self._service is not None:
                self._ascent.fail("the upstream closed the connection")
                self._check_ascent()
            return questions
        if not self._eof[UPSTREAM]:
            questions = self._stop_lane(UPSTREAM)
        if self._exit:
            self._leave()
        elif lane.finished is None:
            gone = Refuse("the upstream closed the connection", kind="upstream")
            self.dismiss(gone)
        else:
            self._after_lane()
        return questions

    def _leave(self) -> None:
        """The service is over: its end and its exit status."""
        self._outbox.send(CLIENT, data(Kind.STDERR, self._stderr.finish()), Mark.EDITED)
        self._tell_eof(CLIENT)
        self._outbox.send(CLIENT, self._exit, Mark.OURS)
        self._closing = True

    def _end(self, why: bytes) -> None:
        """The last word, on standard error where there is one."""
        if not self._closing:
            self._closing = True
            self._outbox.send(CLIENT, frame(Kind.GOODBYE, why), Mark.OURS)

    def _told(self, what: str) -> bytes:
        return told(what, self._opening.session)

    def _next(self) -> int:
        return next(self._numbers)
