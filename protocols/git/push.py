"""A push: read whole, looked into, judged once, and then sent on as it came, or not at all.

The client's commands and its pack wait here, the pack on disk. What they do is asked
of the upstream over a second connection (``inquiry.py``), then one Command with a part
for each ref is asked of the rules.  Allowed, every byte goes on as it arrived;
refused, the upstream gets a flush, which is a push of nothing, and the client a report.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from protocols.contract import (
    Allow,
    Answer,
    Column,
    Command,
    Done,
    Errand,
    Examine,
    Phase,
    Plan,
    Question,
    Refuse,
    Result,
    SpoolFull,
)
from protocols.errors import WireError
from protocols.git.commands import PushRequest
from protocols.git.inquiry import Inquiry
from protocols.git.lane import LaneOpening
from protocols.git.pktline import FLUSH
from protocols.git.pushparts import PushWhole, matched, parts, unseen
from protocols.git.pushreplies import PushReplies
from protocols.git.pushreplies import State as Reply
from protocols.git.pushsource import NoPack, PushSource
from protocols.git.pushtext import push_text
from protocols.git.pushwords import context, remarks
from protocols.git.refusal import reason
from protocols.git.report import last_word, progress, refusals, report
from protocols.git.sideband import TEXT, Texts, lines
from protocols.git.survey import Survey
from protocols.git.tips import Tips
from protocols.outbox import Outbox
from protocols.wire import Mark, Side, Span

CLIENT, UPSTREAM = Side.CLIENT, Side.UPSTREAM
PIECE: Final = 1 << 18
"""Bytes of the pack that leave at once."""
AHEAD: Final = 4 << 20
"""Bytes of a pack from which on it is worth indexing while it still arrives."""
LOOK_SECONDS: Final = 300.0
LOOK_BYTES: Final = 192 << 20
"""Of trees and commits that the upstream may send about a push, for what it does to be
told whole. A large checkout without ``filter`` goes past it, and is judged as not whole."""
TIPS_SECONDS: Final = 30.0
DIED: Final = 128
"""git's own exit status for what it dies of."""


class Stage(Enum):
    REQUEST = "the client's commands are read"
    PACK = "the pack is spooled"
    LOOKING = "what the push does is looked into"
    JUDGING = "the rules, or people, decide"
    MASKING = "what may be seen of the upstream's words is asked"
    AGAIN = "it was held: are the refs still where they were?"
    SENDING = "the pack goes on"
    SENT = "all went on; the upstream's report comes"
    REFUSED = "the client was told no; what it still sends is dropped"


_ASKING: Final = (Stage.LOOKING, Stage.JUDGING, Stage.MASKING, Stage.AGAIN)


class PushLane:
    """``protocols.git.lane.Lane`` for ``git-receive-pack``."""

    def __init__(self, opening: LaneOpening) -> None:
        self._opening = opening
        self._outbox = Outbox()
        self._texts = Texts((opening.own,))
        without = () if opening.push_options else (b"push-options",)
        self._replies = PushReplies(self._outbox, self._texts, opening.version, without)
        self._source = PushSource(opening.limit, opening.max_pack, opening.push_options)
        self._survey: Survey | None = None
        self._asked = 0
        self._command = 0
        self._void: set[int] = set()
        """Questions whose answers don't matter any more."""
        self._waited = False
        self._ahead = 0
        """The question that has the pack indexed while it arrives, 0 when none waits."""
        self._looked_ahead = False
        self._stage = Stage.REQUEST
        self.finished: int | None = None

    # -- Lane ---------------------------------------------------------------

    def receive(self, side: Side, data: bytes) -> list[Question]:
        try:
            if side is UPSTREAM:
                return self._from_upstream(data)
            if not data:
                return self._client_ended()
            self._outbox.take(CLIENT, data)
            return self._from_client(data)
        except WireError as error:
            who = "the upstream broke git's protocol: " if error.side is UPSTREAM else ""
            self._last(f"{who}{error.message} (session {self._opening.session})")
            raise

    def answer(self, number: int, answer: Answer) -> list[Question]:
        if number in self._void:
            self._void.discard(number)
            return []
        if number and number == self._ahead:
            # If it came to nothing, so does the inquiry, which says why.
            self._ahead = 0
            return self._inquire() if self._stage is Stage.LOOKING else []
        if not number or number != self._asked:
            raise KeyError(number)
        stage, self._asked = self._stage, 0
        if isinstance(answer, Refuse):
            return self._refuse(answer)
        if stage is Stage.LOOKING and isinstance(answer, Done):
            return self._looked(answer)
        if stage is Stage.JUDGING and isinstance(answer, Allow):
            return self._allowed(answer)
        if stage is Stage.MASKING and isinstance(answer, Plan):
            self._texts.adopt(answer)
            return self._release()
        if stage is Stage.AGAIN and isinstance(answer, Done):
            return self._looked_again(answer)
        raise TypeError(f"{type(answer).__name__} does not answer that")

    def moves(self) -> list[Span]:
        pack = self._source.pack
        if self._stage is Stage.SENDING and pack is not None:
            place, raw = pack.piece(PIECE)
            self._outbox.forward(CLIENT, raw, place)
            if not pack.left:
                self._source.close()
                self._stage = Stage.SENT
        return self._outbox.drain()

    @property
    def more(self) -> bool:
        return self._stage is Stage.SENDING

    def say(self, number: int, text: str) -> None:
        if not number or number != self._asked:
            return
        if self._stage is Stage.JUDGING:
            self._waited = True
        if not self.mute:
            self._outbox.send(CLIENT, progress(text), Mark.OURS)

    @property
    def mute(self) -> bool:
        return not (self._stage in _ASKING and self._request.side_band)

    def withdraw(self, number: int) -> None:
        if number and number == self._asked:
            self._refuse(Refuse("withdrawn by the client", kind="withdrawn"))

    def dismiss(self, refuse: Refuse) -> None:
        if self.finished is not None:
            return
        if self._stage is Stage.SENT and self._replies.state is Reply.OVER:
            self.finished = 0
            return
        if self._stage in (Stage.SENDING, Stage.SENT):
            self._last(reason(refuse, self._opening.session))
            return
        if self._stage is not Stage.REFUSED:
            self._refuse(refuse)
        self._finish()

    @property
    def held(self) -> tuple[int, int]:
        return len(self._source.raw), self._replies.held

    @property
    def at_rest(self) -> bool:
        over = self._replies.state is Reply.OVER
        return over or (self._stage is Stage.REQUEST and not self._source.raw)

    @property
    def owed(self) -> bool:
        sent = self._stage in (Stage.SENDING, Stage.SENT)
        return sent and self._replies.state is not Reply.OVER

    # -- the client ---------------------------------------------------------

    @property
    def _request(self) -> PushRequest:
        return self._source.request

    def _from_client(self, data: bytes) -> list[Question]:
        stage, source = self._stage, self._source
        if stage is Stage.REFUSED:
            if source.drop(data):
                self._finish()
        elif stage is Stage.PACK:
            return self._spool(data)
        elif stage is not Stage.REQUEST:
            raise source.behind()
        elif source.read(data, self._replies.greeting):
            return self._requested()
        return []

    def _requested(self) -> list[Question]:
        source, request = self._source, self._request
        rest = source.rest()
        if not request.updates:
            # All is up to date.
            self._send_request()
            self._stage = Stage.SENT
            return []
        if not request.has_pack:
            return self._refuse_unfit() if request.unfit else self._inquire()
        self._stage = Stage.PACK
        source.expect_pack(self._replies.greeting.offered.object_format)
        if request.unfit:
            return self._refuse_unfit(rest)
        try:
            source.open(self._opening.spool)
        except SpoolFull as full:
            return self._refuse(Refuse(str(full), kind="busy"), rest)
        return self._spool(rest) if rest else []

    def _spool(self, data: bytes) -> list[Question]:
        try:
            whole = self._source.spool(data)
        except SpoolFull as full:
            return self._refuse(Refuse(f"the pack can't wait here: {full}", kind="busy"))
        except NoPack as error:
            # The report says it better than an end of the session would.
            return self._refuse(Refuse(error.message, kind="pack"))
        if whole:
            self._stage = Stage.LOOKING
            # One question at a time to those who look into it.
            return [] if self._ahead else self._inquire()
        return self._look_ahead()

    def _look_ahead(self) -> list[Question]:
        """A long pack is indexed while it arrives."""
        pack = self._source.pack
        assert pack is not None
        if self._looked_ahead or pack.size < AHEAD:
            return []
        self._looked_ahead = True
        self._ahead = self._opening.number()
        algorithm = self._replies.greeting.offered.object_format
        arguments = {"algorithm": algorithm, "offset": 0}
        return [Examine(self._ahead, "git", "ahead", (pack.spool,), arguments)]

    def _client_ended(self) -> list[Question]:
        if self._stage is Stage.REFUSED:
            self._finish()
        elif self._stage is Stage.REQUEST:
            if self._source.raw:
                self._last(f"a push that ends early (session {self._opening.session})")
            elif self._replies.state is Reply.QUIET:
                self._outbox.send(UPSTREAM, FLUSH, Mark.OURS)
        elif self._stage is Stage.PACK:
            questions = self._refuse(Refuse("the pack ends early", kind="pack"))
            self._finish()
            return questions
        return []

    # -- what it does, and whether it may -----------------------------------

    def _inquire(self) -> list[Question]:
        pack = self._source.pack
        talk = Inquiry(
            tuple(self._request.updates),
            pack=pack.spool if pack is not None else None,
            algorithm=self._replies.greeting.offered.object_format,
            spool=self._opening.spool,
            number=self._opening.number,
            cut=tuple(self._request.shallow),
            most_bytes=LOOK_BYTES,
        )
        self._stage = Stage.LOOKING
        self._asked = self._opening.number()
        return [Errand(self._asked, talk, "what the push does", LOOK_SECONDS, say=True)]

    def _whole(self) -> PushWhole:
        request, pack = self._request, self._source.pack
        return PushWhole(
            self._opening.repository,
            self._replies.greeting.offered.object_format,
            pack.sha256 if pack is not None else "",
            pack.size if pack is not None else 0,
            pack.count if pack is not None else 0,
            tuple(request.options),
            request.atomic,
            bool(request.shallow),
        )

    def _looked(self, done: Done) -> list[Question]:
        updates = tuple(self._request.updates)
        survey, looked = done.result, True
        if done.error or not isinstance(survey, Survey):
            survey, looked = unseen(updates, done.error or "it could not be looked into"), False
        self._survey = survey
        if survey.refusal:
            return self._refuse(Refuse(survey.refusal, kind="pack"))
        seen = matched(updates, survey)
        whole = self._whole()
        self._stage = Stage.JUDGING
        self._asked = self._command = self._opening.number()
        command = Command(
            self._command,
            Phase.RUN,
            push_text(whole, seen, survey),
            parts(whole, seen, survey, looked),
            context=context(whole, self._request),
        )
        return [*remarks(whole, seen), command]

    def _allowed(self, allow: Allow) -> list[Question]:
        if not allow.masked:
            return self._release()
        self._stage = Stage.MASKING
        self._asked = self._opening.number()
        return [Result(self._asked, self._command, (Column("remote messages", "text", ()),))]

    def _release(self) -> list[Question]:
        if not self._waited:
            return self._send()
        offered = self._replies.greeting.offered
        self._stage = Stage.AGAIN
        self._asked = self._opening.number()
        talk = Tips(tuple(self._request.updates), offered.object_format)
        purpose = "whether refs moved while the push waited"
        return [Errand(self._asked, talk, purpose, TIPS_SECONDS, say=True)]

    def _looked_again(self, done: Done) -> list[Question]:
        moved = done.result
        if done.error or not isinstance(moved, tuple):
            why = done.error or "no answer"
            return self._refuse(Refuse(f"can't see whether refs have moved: {why}", kind="target"))
        if moved:
            ref, expected, found = moved[0]
            said = f"{ref} moved from {expected} to {found} while the push waited"
            return self._refuse(Refuse(said, kind="target"))
        return self._send()

    def _send_request(self) -> None:
        self._outbox.forward(CLIENT, bytes(self._source.raw), 0)
        self._source.raw.clear()

    def _send(self) -> list[Question]:
        self._replies.expect(self._request.side_band)
        self._send_request()
        self._stage = Stage.SENDING if self._source.pack is not None else Stage.SENT
        return []

    # -- no -----------------------------------------------------------------

    def _refuse_unfit(self, behind: bytes = b"") -> list[Question]:
        """It asks for what no rule could permit."""
        request = self._request
        ref, why = next(iter(request.unfit.items()))
        said = f"{ref}: {why}" if ref else why
        seen = matched(tuple(request.updates), Survey(()))
        own = {} if "" in request.unfit else request.unfit
        questions: list[Question] = [*remarks(self._whole(), seen, said)]
        return questions + self._refuse(Refuse(said, kind="request"), behind, own)

    def _refuse(
        self, refuse: Refuse, behind: bytes = b"", own: dict[str, str] | None = None
    ) -> list[Question]:
        """Tell the client, and drop what it still sends. ``behind``: what it has sent
        of that already; ``own``: reasons by ref, where the other refs have none."""
        request, session = self._request, self._opening.session
        said = reason(refuse, session)
        unfinished = self._stage is Stage.PACK
        remarked: list[Question] = []
        if self._stage in (Stage.PACK, Stage.LOOKING) and own is None:
            survey = self._survey or Survey(())
            seen = matched(tuple(request.updates), survey)
            remarked += remarks(self._whole(), seen, refuse.reason)
        self._stop()
        if request.reports:
            verdicts = refusals(request.updates, said, own or {}, session)
            raw = report(verdicts, side_band=request.side_band)
            self._outbox.send(CLIENT, raw, Mark.OURS)
        elif self._replies.between:
            self._outbox.send(CLIENT, last_word(said, request.side_band), Mark.OURS)
        if not unfinished or self._source.drop(behind):
            self._finish()
        return remarked

    def _stop(self) -> None:
        """Nothing of this push goes on."""
        self._stage = Stage.REFUSED
        if self._asked:
            self._void.add(self._asked)
            self._asked = 0
        self._source.raw.clear()
        self._source.close()

    def _finish(self) -> None:
        """The service ends, with a flush upstream: nothing was asked of it."""
        if self.finished is not None:
            return
        if self._replies.state is Reply.QUIET:
            self._outbox.send(UPSTREAM, FLUSH, Mark.OURS)
        self.finished = 0 if self._request.reports else 1

    def _last(self, said: str) -> None:
        """The last word where no report can be made."""
        if self.finished is not None:
            return
        banded = self._request.side_band
        sent = self._stage in (Stage.SENDING, Stage.SENT)
        if self._replies.between and self._stage is not Stage.REFUSED:
            if sent and banded:
                self._outbox.send(CLIENT, lines(TEXT, self._texts.finish()), Mark.EDITED)
            self._outbox.send(CLIENT, last_word(said, banded), Mark.OURS)
        if not sent and self._replies.state is Reply.QUIET:
            self._outbox.send(UPSTREAM, FLUSH, Mark.OURS)
        self._stop()
        self.finished = DIED

    # -- the upstream -------------------------------------------------------

    def _from_upstream(self, data: bytes) -> list[Question]:
        if not data:
            return self._upstream_ended()
        replies = self._replies
        if self.finished is not None or self._stage is Stage.REFUSED:
            self._outbox.take(UPSTREAM, data, Mark.EDITED)
            return []
        before = replies.state
        replies.receive(data)
        if before is Reply.GREETING and replies.state is Reply.QUIET and self._source.raw:
            whole = self._source.read(b"", replies.greeting)
            return self._requested() if whole else []
        return []

    def _upstream_ended(self) -> list[Question]:
        replies, stage = self._replies, self._stage
        due = self.owed and self._request.updates
        quiet = replies.state is Reply.QUIET
        banded = replies.state is Reply.BANDS and replies.between
        replies.end()
        if self.finished is not None:
            return []
        if stage is Stage.REFUSED:
            self._finish()
        elif due:
            self._upstream_left(banded)
        elif stage in (Stage.PACK, *_ASKING) or (quiet and self._source.raw):
            gone = Refuse("the upstream closed the connection", kind="upstream")
            return self._refuse(gone)
        return []

    def _upstream_left(self, banded: bool) -> None:
        """It had the push, or part of it, and never said what became of it."""
        request, session = self._request, self._opening.session
        said = f"the upstream ended without a report (session {session})"
        if request.reports and not self._replies.reported and banded is request.side_band:
            verdicts = [(u.ref, said) for u in request.updates]
            raw = report(verdicts, "the upstream ended early", side_band=request.side_band)
            self._outbox.send(CLIENT, raw, Mark.OURS)
        elif banded:
            self._outbox.send(CLIENT, last_word(said, True), Mark.OURS)
        self._stop()
        self.finished = 1
