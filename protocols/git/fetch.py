"""A fetch: what the client asks of ``git-upload-pack``, judged before it is sent.

In v0 and v1 one conversation wants once, and is asked about once; what follows
(haves, done) belongs to it.  In v2 each ``fetch`` command repeats its wants; it is
asked about when it wants anything, or bounds it in a way, that was not allowed
before.  ``ls-refs`` passes: seeing refs was asked when the service began.  A fetch
that wants nothing and only compares histories is asked about too: it tells what
the server has.

Texts of the upstream are masked by the plan's mask of the one column and its screen;
``withhold`` is about texts beside a result, and these are the result.  There is no
place for words to a client that waits: its next line is ACK or NAK, and git knows
nothing else there.
"""

from __future__ import annotations

from typing import Final

from protocols.contract import Allow, Answer, Column, Command, Plan, Question, Refuse, Result
from protocols.errors import LimitError, WireError
from protocols.git.lane import LaneOpening
from protocols.git.pktline import DELIM, FLUSH, SPECIAL, V2, Pkts, content
from protocols.git.refusal import error_line, reason, shown
from protocols.git.replies import Replies, State
from protocols.git.sideband import ERROR, TEXT, Texts, lines
from protocols.git.wants import Wants, check_listing
from protocols.outbox import Outbox
from protocols.wire import Mark, Side, Span

CLIENT, UPSTREAM = Side.CLIENT, Side.UPSTREAM
REFUSED: Final = 128
"""git's own exit status for what it dies of."""
REMEMBERED: Final = 100_000
"""Wants that were allowed and need no second question; past it they are asked again."""


class FetchLane:
    """``protocols.git.lane.Lane`` for ``git-upload-pack``."""

    more = False
    mute = True

    def __init__(self, opening: LaneOpening) -> None:
        self._opening = opening
        self._outbox = Outbox()
        self._texts = Texts((opening.own,))
        self._replies = Replies(self._outbox, self._texts, opening.version)
        self._pkts = Pkts(CLIENT)
        self._waiting = bytearray()
        """Arrived while the client's lines had to wait."""
        self._start = 0
        """Where in the client's arrivals the lines begin that go out next."""
        self._ready: list[bytes] = []
        """Lines from ``_start`` on that belong to a request which isn't whole."""
        self._size = 0
        self._wants: Wants | None = None
        """The request that is being read or, in v0 and v1, was."""
        self._sent = False
        self._chosen: dict[bytes, bytes | None] = {}
        self._verb = b""
        self._listed: list[bytes] = []
        self._allowed: dict[tuple[bytes, ...], set[bytes]] = {}
        self._asked = 0
        self._command: Command | None = None
        self._questions: list[Question] = []
        self._left = False
        self._over = False
        self.finished: int | None = None

    # -- Lane ---------------------------------------------------------------

    def receive(self, side: Side, data: bytes) -> list[Question]:
        if side is UPSTREAM:
            return self._from_upstream(data)
        if not data:
            self._left = True
            return self._read()
        self._outbox.take(CLIENT, data)
        if self._deaf:
            return []
        self._waiting += data
        if len(self._waiting) + self._size > self._opening.limit:
            error = LimitError(CLIENT, "a request longer than there may be")
            self._farewell(error)
            raise error
        return self._read()

    def answer(self, number: int, answer: Answer) -> list[Question]:
        if not number or number != self._asked:
            raise KeyError(number)
        command, self._asked = self._command, 0
        assert command is not None
        if isinstance(answer, Refuse):
            self._refuse(answer)
            return []
        if isinstance(answer, Plan) and number != command.number:
            self._texts.adopt(answer)
        elif isinstance(answer, Allow) and number == command.number:
            if answer.masked:
                self._asked = self._opening.number()
                column = Column("remote messages", "text", ())
                return [Result(self._asked, command.number, (column,))]
        else:
            raise TypeError(f"{type(answer).__name__} does not answer that")
        self._command = None
        self._release()
        return self._read()

    def moves(self) -> list[Span]:
        return self._outbox.drain()

    def say(self, number: int, text: str) -> None:
        """Nothing can be said while a fetch waits."""

    def withdraw(self, number: int) -> None:
        if number and number == self._asked:
            self._asked = 0
            self._refuse(Refuse("withdrawn by the client", kind="withdrawn"))

    def dismiss(self, refuse: Refuse) -> None:
        if self.finished is None:
            self._refuse(refuse)

    @property
    def held(self) -> tuple[int, int]:
        return len(self._waiting) + self._size, self._replies.held

    @property
    def at_rest(self) -> bool:
        idle = self._replies.state in (State.IDLE, State.OVER)
        return idle and not self._asked and not any(self.held)

    @property
    def owed(self) -> bool:
        return self._replies.state not in (State.IDLE, State.OVER) and not self._over

    # -- the upstream -------------------------------------------------------

    def _from_upstream(self, data: bytes) -> list[Question]:
        if not data:
            self._over = True
            self._replies.end()
            return []
        if self.finished is not None:
            self._outbox.take(UPSTREAM, data, Mark.EDITED)
            return []
        before = self._replies.state
        try:
            self._replies.receive(data)
        except WireError as error:
            self._farewell(error)
            raise
        # What the client said meanwhile may go on now.
        return self._read() if self._replies.state is not before else []

    # -- the client ---------------------------------------------------------

    @property
    def _deaf(self) -> bool:
        """What the client says goes nowhere: it may not know yet that all is over."""
        return self.finished is not None or self._replies.state is State.OVER

    def _suspended(self) -> bool:
        if self._asked or self._deaf:
            return True
        state = self._replies.state
        if state is State.GREETING:
            return True
        return self._replies.greeting.version == 2 and state is not State.IDLE

    def _read(self) -> list[Question]:
        """Go through the client's lines until one must wait."""
        while not self._suspended():
            if self._waiting:
                data = bytes(self._waiting)
                self._waiting.clear()
                self._size += len(data)
                self._pkts.feed(data)
            try:
                line = self._pkts.next()
                if line is None:
                    break
                self._ready.append(line)
                if self._replies.greeting.version == 2:
                    self._line_of_two(line)
                else:
                    self._line_of_zero(line)
            except WireError as error:
                self._farewell(error)
                raise
        if self._deaf or (self._left and not self._suspended()):
            self._drop()
        questions, self._questions = self._questions, []
        return questions

    def _drop(self) -> None:
        """What is left of the client's is no request, and never will be."""
        self._waiting.clear()
        self._ready.clear()
        self._size = 0

    def _forward(self) -> None:
        """The lines that were read leave, as they came."""
        raw = b"".join(self._ready)
        self._ready.clear()
        self._outbox.forward(CLIENT, raw, self._start)
        self._start += len(raw)
        self._size -= len(raw)

    def _ask(self, wants: Wants) -> None:
        self._command = wants.command(
            self._opening.number(),
            self._opening.repository,
            self._replies.greeting.version,
            self._replies.names.of,
        )
        # Nothing is read on until the answer.
        self._asked = self._command.number
        self._questions.append(self._command)

    # v0 and v1

    def _line_of_zero(self, line: bytes) -> None:
        replies = self._replies
        if replies.done:
            raise WireError(CLIENT, "speaks on behind its last word")
        wants = self._wants
        if self._sent:
            assert wants is not None
            if line != FLUSH:
                wants.have(content(line))
                replies.done = wants.done
            self._forward()
        elif line == FLUSH:
            if wants is None:
                # It only wanted to see the refs.
                replies.done = True
                self._forward()
            else:
                self._ask(wants)
        else:
            self._upload_request(content(line))

    def _upload_request(self, said: bytes) -> None:
        wants = self._wants
        offered = self._replies.greeting.offered
        if wants is None:
            wants = self._wants = Wants(offered.oid_length, offered.__contains__)
            word, _, rest = said.partition(b" ")
            oid, _, chosen = rest.partition(b" ")
            if word != b"want":
                raise WireError(CLIENT, "a request that does not begin with a want")
            self._chosen = offered.chosen(chosen)
            wants.want(oid)
        elif said.startswith(b"want "):
            wants.want(said[5:])
        elif not wants.bound(said):
            raise WireError(CLIENT, "a line that has no place in a request")

    # v2

    def _line_of_two(self, line: bytes) -> None:
        self._pkts.special = V2
        if not self._verb:
            if line == FLUSH:
                self._forward()
                return
            self._begin(content(line))
        elif line == FLUSH:
            self._end_of_command()
        elif line == DELIM:
            if self._wants is not None:
                raise WireError(CLIENT, "two delimiters in one request")
            self._begin_arguments()
        elif line in SPECIAL:
            raise WireError(CLIENT, "a request with a line that can't stand in it")
        elif self._wants is None:
            self._listed.append(content(line))
        elif self._verb == b"fetch":
            self._wants.argument(content(line))
        else:
            check_listing(content(line), self._replies.greeting.features)

    def _begin(self, said: bytes) -> None:
        verb = said.removeprefix(b"command=")
        if verb == said or verb not in self._replies.greeting.features:
            raise WireError(CLIENT, "a command that was not offered")
        self._verb = verb
        self._listed = []

    def _begin_arguments(self) -> None:
        greeting = self._replies.greeting
        self._chosen = greeting.offered.chosen(b" ".join(self._listed))
        features = greeting.features.get(self._verb, frozenset())

        def can(feature: bytes) -> bool:
            return (b"shallow" if feature.startswith(b"deepen-") else feature) in features

        self._wants = Wants(greeting.offered.oid_length, can)

    def _end_of_command(self) -> None:
        if self._wants is None:
            self._begin_arguments()
        wants, verb = self._wants, self._verb
        assert wants is not None
        if verb == b"fetch":
            if not wants and not wants.waits:
                raise WireError(CLIENT, "a fetch of nothing")
            known = self._allowed.get(wants.key)
            if known is None or not known.issuperset((*wants.oids, *wants.refs)):
                self._ask(wants)
                return
        self._send_command()

    def _send_command(self) -> None:
        listing = self._verb != b"fetch"
        self._replies.expect(State.REFS if listing else State.SECTIONS)
        self._verb, self._wants = b"", None
        self._forward()

    # -- verdicts -----------------------------------------------------------

    def _release(self) -> None:
        wants = self._wants
        assert wants is not None
        if self._replies.greeting.version == 2:
            if sum(map(len, self._allowed.values())) + len(self._allowed) > REMEMBERED:
                self._allowed.clear()
            self._allowed.setdefault(wants.key, set()).update((*wants.oids, *wants.refs))
            self._send_command()
            return
        large = b"side-band-64k" in self._chosen
        banded = large or b"side-band" in self._chosen
        self._sent = True
        early = b"no-done" in self._chosen
        self._replies.expect_answers(banded, large, bool(wants.bounds), early)
        self._forward()

    def _refuse(self, refuse: Refuse) -> None:
        """Nothing more goes upstream; the client hears why, where it can."""
        self._last(reason(refuse, self._opening.session))

    def _farewell(self, error: WireError) -> None:
        who = "the upstream broke git's protocol: " if error.side is UPSTREAM else ""
        self._last(f"{who}{error.message} (session {self._opening.session})")

    def _last(self, said: str) -> None:
        replies = self._replies
        raw = b""
        if replies.word_fits:
            raw = error_line(said)
        elif replies.band_fits:
            held = lines(TEXT, self._texts.finish(), replies.longest)
            self._outbox.send(CLIENT, held, Mark.EDITED)
            raw = lines(ERROR, shown(said), replies.longest)
        self._outbox.send(CLIENT, raw, Mark.OURS)
        self.finished = REFUSED
        self._drop()
