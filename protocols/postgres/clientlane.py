"""The client's lane of the query phase: frames, judged before they move.

Bytes between ``_start`` and ``_pos`` of the buffer are decided and not yet in
the outbox, so that a read whose questions are all answered at once leaves as
the one bytes object that came in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from protocols.contract import Allow, Answer, Command, Errand, Part, Phase, Question, Refuse
from protocols.errors import LimitError
from protocols.outbox import Outbox
from protocols.postgres.cover import Cover
from protocols.postgres.doubts import Doubts
from protocols.postgres.flight import EXECUTE, OUR_DESCRIBE, PARSE, REFUSED, REFUSED_QUERY, Flight
from protocols.postgres.frames import (
    CLIENT_KINDS,
    HEADER,
    HEADER_SIZE,
    SIMPLE_KINDS,
    TERMINATE,
    TOO_LARGE,
    broken,
    ends,
    frame,
    read_bind,
    read_call,
    read_execute,
    read_parse,
    read_query,
    read_target,
    text_end,
)
from protocols.postgres.intent import Change, Intent, study
from protocols.postgres.portals import NAME, Run, Runs, Statement, Unsure, judged
from protocols.postgres.refusal import (
    Substitutes,
    canceled_error,
    refused_error,
    unknown_statement_error,
)
from protocols.postgres.requests import (
    CROWDED,
    LEXER_GUARD,
    REBOUND,
    STATEMENTS,
    UNMASKABLE,
    UNSETTLED,
    bound,
    function_call,
    granted,
    told_of,
    unsettled,
)
from protocols.postgres.steps import expect_changes, runs_of
from protocols.wire import Mark, Side

CLIENT: Final = Side.CLIENT
UPSTREAM: Final = Side.UPSTREAM

_RUN: Final = Phase.RUN
_PREPARE: Final = Phase.PREPARE
_COPY_KINDS: Final = frozenset(b"dcfHSX")
_UNDISCARDED: Final = frozenset(b"SX")


class ClientLane:
    """What the client says, in order. Errors: ``WireError`` of the client."""

    __slots__ = (
        "_allowed",
        "_base",
        "_buf",
        "_chunks",
        "_cover",
        "_doubts",
        "_flight",
        "_left",
        "_limit",
        "_need",
        "_next",
        "_numbers",
        "_outbox",
        "_pos",
        "_session",
        "_size",
        "_start",
        "_streamed",
        "_substitutes",
        "_taken",
        "asked",
        "last_masked",
        "left",
        "over",
        "stuck",
    )

    def __init__(self, flight: Flight, outbox: Outbox, numbers: Iterator[int]) -> None:
        self._flight = flight
        self._outbox = outbox
        self._numbers = numbers
        self._limit = flight.opening.limit
        self._session = flight.opening.session
        self._substitutes = Substitutes(flight.opening.session, flight.opening.chance)
        self._base = outbox.arrived[CLIENT]
        self._buf = b""
        self._cover = Cover()
        self._start = 0
        self._pos = 0
        self._chunks: list[bytes] = []
        self._size = 0
        self._taken = 0
        self._need = 0
        self._left = 0
        self._streamed = True
        self.stuck = False
        self._next = 0
        self._allowed: Run | Statement | None = None
        self._doubts = Doubts(flight)
        self.asked = 0
        self.last_masked = 0
        self.over = False
        self.left = False

    # What comes in

    def receive(self, data: bytes) -> list[Question]:
        """``data`` arrived; b"" is the end of the client's stream."""
        if self.over:
            self._outbox.take(CLIENT, data)
            return []
        if not data:
            self.hang_up()
            return []
        if not self._buf:
            self._buf = data
        else:
            self._chunks.append(data)
            self._size += len(data)
            if self.asked or self.stuck or len(self._buf) + self._size < self._need:
                return []
            self._join()
        return self.scan()

    def retry(self) -> list[Question]:
        """The server has spoken: go on if the lane waited for that."""
        if not self.stuck or self.over:
            return []
        self.stuck = False
        self._join()
        return self.scan()

    def settle(self) -> None:
        """The relay is about to drain the outbox: what waits is parked."""
        if self.over or not (self.asked or self.stuck):
            return
        self._flush(self._pos)
        self._park()
        if self._says_goodbye():
            self.hang_up()

    def hang_up(self) -> None:
        """The client is gone: what waits stays, the server is told."""
        self._flush(self._pos)
        self.finish()
        if self.between:
            self._outbox.send(UPSTREAM, TERMINATE, Mark.OURS)

    def finish(self) -> None:
        """Nothing more moves upstream; what is here is put on record."""
        self._park()
        self.over = True
        self.asked = 0
        self.stuck = False
        self._buf = b""
        self._chunks.clear()
        self._base = self._outbox.arrived[CLIENT]
        self._size = self._start = self._pos = 0
        self._cover = Cover()

    @property
    def waiting(self) -> bool:
        """True while bytes are behind a question, or behind the server."""
        return self.asked != 0 or self.stuck

    @property
    def between(self) -> bool:
        """True when no frame to the server is half sent."""
        return not (self._left and self._streamed)

    @property
    def held(self) -> int:
        """Bytes that wait behind a question."""
        if self.asked or self.stuck:
            return len(self._buf) + self._size - self._pos
        return 0

    @property
    def unforwarded(self) -> int:
        """Bytes that are not in the outbox yet."""
        if self.over:
            return 0
        return self._base + len(self._buf) + self._size - self._outbox.arrived[CLIENT]

    # Answers

    def answer(self, answer: Answer) -> list[Question]:
        """The answer to the question ``asked``."""
        if self._doubts.asking:
            self._doubts.learn(answer)
            self.asked = 0
        elif isinstance(answer, Allow):
            self.asked = 0
            self._allow(answer.masked)
        elif isinstance(answer, Refuse):
            self._refuse(refused_error(answer, self._session))
        else:
            raise TypeError(f"a Command can't be answered with {type(answer).__name__}")
        self._join()
        return self.scan()

    def withdraw(self) -> None:
        """The client asked to cancel what waits. What comes after it goes on
        when the server has answered, for nobody is here to ask then."""
        self._doubts.asking = False
        self._refuse(canceled_error(self._session))
        self.stuck = True

    # Bytes

    def _join(self) -> None:
        if self._chunks:
            self._buf = b"".join((self._buf, *self._chunks))
            self._chunks.clear()
            self._size = self._taken = 0

    def _park(self) -> None:
        """Account for all that is here as taken."""
        outbox = self._outbox
        cover = self._cover
        known = outbox.arrived[CLIENT] - self._base
        if known < len(self._buf):
            read = self._next if self.asked else self._pos
            cover.take(outbox, self._buf, known, max(known, min(read, len(self._buf))))
            cover.park(outbox, self._buf[max(known, read) :], max(known, read))
        for chunk in self._chunks[self._taken :]:
            cover.park(outbox, chunk, outbox.arrived[CLIENT] - self._base)
        self._taken = len(self._chunks)

    def _flush(self, upto: int) -> None:
        """Send on what is decided, up to ``upto`` of the buffer."""
        start = self._start
        if start == upto:
            return
        self._start = upto
        outbox = self._outbox
        if self._cover.any:
            self._cover.flush(outbox, self._buf, start, upto, self._base)
            return
        known = outbox.arrived[CLIENT] - self._base
        if start < known:
            cut = min(upto, known)
            outbox.forward(CLIENT, self._buf[start:cut], self._base + start)
            start = cut
        if start < upto:
            whole = start == 0 and upto == len(self._buf)  # compiled, a slice would copy it
            outbox.pass_on(CLIENT, self._buf if whole else self._buf[start:upto])

    def _drop(self, at: int, upto: int) -> None:
        """Keep ``buf[at:upto]`` from the server."""
        self._flush(at)
        known = self._outbox.arrived[CLIENT] - self._base
        if upto > known:
            self._cover.take(self._outbox, self._buf, max(at, known), upto)
        self._start = upto

    def _says_goodbye(self) -> bool:
        """True when a Terminate waits behind the question."""
        self._join()
        self._taken = 0
        return ends(self._buf, self._next if self.asked else self._pos)

    # Frames

    def scan(self) -> list[Question]:
        """Go through the buffer until it ends or a question stops the lane."""
        buf = self._buf
        end = len(buf)
        pos = self._pos
        flight = self._flight
        flight.rested = False
        names = flight.names
        limit = self._limit
        need = HEADER_SIZE
        while True:
            if self._left:
                step = min(self._left, end - pos)
                if not self._streamed:
                    self._drop(pos, pos + step)
                self._left -= step
                pos += step
                if self._left:
                    break
            if end - pos < HEADER_SIZE:
                if pos < end and buf[pos] not in CLIENT_KINDS:
                    raise broken("unknown type of message")
                break
            kind, length = HEADER(buf, pos)
            if kind not in CLIENT_KINDS:
                raise broken("unknown type of message")
            if length < 4 or (length != 4 and kind in SIMPLE_KINDS):
                raise broken("a message with an impossible length")
            nxt: int = pos + 1 + length
            if flight.open_copy and kind not in _COPY_KINDS:
                raise broken("a message that can't stand inside of COPY FROM STDIN")
            if kind == 100:
                self._left = length + 1
                if length > 0x4000_0004:
                    raise LimitError(CLIENT, "a CopyData is longer than any can be", TOO_LARGE)
                self._streamed = flight.discard_batch != names.batch and flight.copy_wanted
                continue
            if length > limit:
                raise LimitError(
                    CLIENT, f"a message is longer than the {limit} bytes allowed", TOO_LARGE
                )
            if nxt > end:
                need = nxt - pos
                break
            if flight.discard_batch == names.batch and kind not in _UNDISCARDED:
                self._drop(pos, nxt)
                pos = nxt
                continue
            self._pos = pos
            if kind == 66:
                question = self._bind(buf, pos, nxt)
            elif kind == 69:
                question = None
                if not self._execute(buf, pos, nxt):
                    pos = nxt
                    continue
            elif kind == 83:
                flight.sync()
                pos = nxt
                continue
            elif kind in (67, 68):
                what, name = read_target(buf, pos + 5, nxt)
                if not flight.skipping:
                    flight.name(kind, what, name[:NAME])
                pos = nxt
                continue
            elif kind == 80:
                question = self._parse(buf, pos, nxt)
            elif kind == 81:
                question = self._query(buf, pos, nxt)
            elif kind == 70:
                question = self._call(buf, pos, nxt)
            elif kind == 72:
                pos = nxt
                continue
            elif kind == 88:
                self._pos = nxt
                self._flush(nxt)
                self.left = True
                self.finish()
                return []
            else:
                if kind == 102:
                    text_end(buf, pos + 5, nxt)
                if flight.copy_end():
                    pos = nxt
                else:
                    self._drop(pos, nxt)
                    pos = nxt
                continue
            if question is not None:
                return [question]
            if self.stuck:
                return []
            pos = self._pos
        self._pos = pos
        self._flush(pos)
        self._cover.begin(pos, pos == end)
        if pos == end:
            self._base += end
            self._buf = b""
        else:
            self._base += pos
            self._buf = buf[pos:]
            self._need = need
        self._start = self._pos = 0
        return []

    def _ask(self, command: Command, allowed: Run | Statement | None, nxt: int) -> Command:
        self.asked = command.number
        self._allowed = allowed
        self._next = nxt
        return command

    def _shaded(
        self, intent: Intent, runs: Runs, parts: tuple[Part, ...]
    ) -> tuple[Part, ...] | Errand:
        """``parts`` in the light of the functions that there are; the errand
        that asks for them, after which the frame is looked at again."""
        shaded = self._doubts.shaded(intent, runs, parts)
        if shaded is None:
            self.asked = next(self._numbers)
            return self._doubts.errand(self.asked)
        return shaded

    def _guard(self, intent: Intent) -> None:
        """Refuse what would make two readings of one text, or wait until the
        server has said that it reads as the gateway does."""
        flight = self._flight
        if intent.guarded:
            self._refuse(refused_error(LEXER_GUARD, self._session))
        elif flight.unsettled == flight.names.batch:
            self._refuse(refused_error(UNSETTLED, self._session))
        else:
            self.stuck = True

    def _query(self, buf: bytes, pos: int, nxt: int) -> Command | Errand | None:
        intent = study(read_query(buf, pos + 5, nxt))
        flight = self._flight
        self._next = nxt
        if intent.hidden:
            self._cover.hide(intent.hidden, pos + 5)
        if intent.guarded or unsettled(self._flight, intent.raw):
            self._guard(intent)
            return None
        parts = intent.parts
        found: Runs = ()
        if intent.steps:
            runs = runs_of(flight, intent)
            if isinstance(runs, Unsure):
                self.stuck = True
                return None
            found = runs
            parts = judged(intent, found, flight.names.doubted)
        shaded = self._shaded(intent, found, parts)
        if isinstance(shaded, Errand):
            return shaded
        run = Run(next(self._numbers), intent, False, 0)
        run.runs = found
        run.parts = parts = shaded
        context = told_of(flight, intent, ("query",))
        return self._ask(Command(run.command, _RUN, intent.text, parts, (), context), run, nxt)

    def _parse(self, buf: bytes, pos: int, nxt: int) -> Command | Errand | None:
        parsed = read_parse(buf, pos + 5, nxt)
        intent = study(parsed.text)
        self._next = nxt
        if intent.hidden:
            self._cover.hide(intent.hidden, pos + 6 + len(parsed.name))
        if intent.guarded or unsettled(self._flight, intent.raw):
            self._guard(intent)
            return None
        if len(self._flight.names.now) >= STATEMENTS and parsed.name:
            self._refuse(refused_error(CROWDED, self._session))
            return None
        parts = self._shaded(intent, (), intent.parts)
        if isinstance(parts, Errand):
            return parts
        statement = Statement(parsed.name, intent, parsed.types, self._flight.names.batch)
        number = next(self._numbers)
        context = told_of(self._flight, intent, statement.context)
        return self._ask(Command(number, _PREPARE, intent.text, parts, (), context), statement, nxt)

    def _bind(self, buf: bytes, pos: int, nxt: int) -> Command | Errand | None:
        name, source, values = read_bind(buf, pos + 5, nxt)
        flight = self._flight
        names = flight.names
        if names.changed or names.all_changed or len(source) > NAME:
            statement = flight.meaning(source)
        else:
            statement = names.now.get(source)
        if flight.skipping:
            statement = flight.skipped.get(source, statement)
        self._next = nxt
        if statement is None:
            self._refuse(unknown_statement_error(source))
            return None
        if isinstance(statement, Unsure):
            self.stuck = True
            return None
        intent = statement.intent
        parts = intent.parts
        found: Runs = ()
        if intent.steps:
            runs = runs_of(flight, intent)
            if isinstance(runs, Unsure):
                self.stuck = True
                return None
            found = runs
            parts = judged(intent, found, names.doubted)
        elif names.doubted and statement.name in names.doubted:
            parts = judged(intent, (statement,), names.doubted)
        shaded = self._shaded(intent, found, parts)
        if isinstance(shaded, Errand):
            return shaded
        run = Run(next(self._numbers), intent, False, names.batch)
        run.name = name[:NAME]
        run.statement = statement
        run.runs = found
        run.parts = parts = shaded
        parameters = bound(statement, values) if values else ()
        context = told_of(flight, intent, statement.context)
        command = Command(run.command, _RUN, intent.text, parts, parameters, context)
        return self._ask(command, run, nxt)

    def _call(self, buf: bytes, pos: int, nxt: int) -> Command:
        oid, values = read_call(buf, pos + 5, nxt)
        run, command = function_call(next(self._numbers), oid, values)
        return self._ask(command, run, nxt)

    def _execute(self, buf: bytes, pos: int, nxt: int) -> bool:
        """True when the Execute was replaced; ``_pos`` is past it then."""
        name = read_execute(buf, pos + 5, nxt)
        flight = self._flight
        run = flight.portals.get(name[:NAME])
        if run is None:
            command = self.last_masked
            run = Run(command, None, flight.masked and command != 0, flight.names.batch)
        elif run.runs and runs_of(flight, run.intent) != run.runs:
            self._next = nxt
            self._refuse(refused_error(REBOUND, self._session))
            return True
        if flight.skipping:
            return False
        if run.masked and not run.described:
            run.described = True
            self._flush(pos)
            self._outbox.send(UPSTREAM, frame(68, b"P" + name + b"\0"), Mark.OURS)
            flight.queue.append((OUR_DESCRIBE, run))
        if run.intent is not None and run.intent.steps and not run.learnt:
            expect_changes(flight, run, flight.names.batch)
        flight.queue.append((EXECUTE, run))
        return False

    # Verdicts

    def _allow(self, masked: bool) -> None:
        """What was asked about goes on."""
        flight = self._flight
        names = flight.names
        subject = self._allowed
        self._allowed = None
        kind = self._buf[self._pos]
        if flight.skipping:
            if isinstance(subject, Statement):
                flight.note_skipped(subject)
            self._pos = self._next
            return
        if isinstance(subject, Statement):
            names.expect(Change(subject.name), subject, subject.batch)
            flight.queue.append((PARSE, subject))
        elif subject is not None:
            if masked:
                if kind == 70:
                    self._refuse(refused_error(UNMASKABLE, self._session))
                    return
                subject.masked = True
                subject.sight = None
                flight.veiled = True
                self.last_masked = subject.command
            granted(flight, subject, kind)
        self._pos = self._next

    def _refuse(self, error: bytes) -> None:
        """What was asked about is replaced by a statement that fails."""
        flight = self._flight
        self.asked = 0
        self._allowed = None
        kind = self._buf[self._pos]
        self._drop(self._pos, self._next)
        if not flight.skipping:
            if kind in b"QF":
                refusal, raw = self._substitutes.query(error)
                flight.queue.append((REFUSED_QUERY, refusal))
                flight.names.batch += 2
            else:
                unnamed = kind == 80 and self._buf[self._pos + 5] == 0
                refusal, raw = self._substitutes.parse(error, unnamed=unnamed)
                flight.queue.append((REFUSED, refusal))
                flight.discard_batch = flight.names.batch
            self._outbox.send(UPSTREAM, raw, Mark.OURS)
        elif kind not in b"QF":
            flight.discard_batch = flight.names.batch
        self._pos = self._next
