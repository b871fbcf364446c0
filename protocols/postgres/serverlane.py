"""The server's lane of the query phase: answers, put to their requests.

Frames that may pass as they are leave as runs, one span for a read where
nothing has to change.  Bytes between ``_start`` and ``_pos`` of the buffer are
decided and not yet in the outbox.  An answer out of turn ends the session: a
lane that has lost count would mask or replace the wrong ones.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

from protocols.contract import Answer, Question
from protocols.errors import LimitError
from protocols.outbox import Outbox
from protocols.postgres.fields import parse_row_description
from protocols.postgres.flight import (
    BIND,
    CALL,
    CLOSE,
    COPY_END,
    DESCRIBE_PORTAL,
    DESCRIBE_STATEMENT,
    EXECUTE,
    OUR_DESCRIBE,
    PARSE,
    QUERY,
    REFUSED,
    REFUSED_QUERY,
    SYNC,
    Flight,
)
from protocols.postgres.frames import (
    ABSURD,
    HEADER,
    HEADER_SIZE,
    TOO_LARGE,
    frame,
    lied,
    read_copy_width,
    read_fields,
    read_types,
)
from protocols.postgres.portals import HIDDEN, NAME, OPEN, Run
from protocols.postgres.runs import run_end
from protocols.postgres.sights import TOO_WIDE, Sights
from protocols.postgres.veil import MASKED, REPORTS, checked_report, notification, starred, withheld
from protocols.wire import Mark, Side

CLIENT: Final = Side.CLIENT
UPSTREAM: Final = Side.UPSTREAM

HOLD: Final = 1 << 16
"""Larger frames that need no look inside stream through as they come."""

_KINDS: Final = frozenset(b"123ACDEGHINSTVWZcdnst")
_EMPTY: Final = frozenset(b"123cnsI")
_STREAMABLE: Final = frozenset(b"DdTtVNA")


class ServerLane:
    """What the server says, in order. Errors: ``WireError`` of the upstream,
    or of the client for a setting that the lexer can't live with."""

    __slots__ = (
        "_base",
        "_buf",
        "_chunks",
        "_flight",
        "_left",
        "_limit",
        "_mute",
        "_need",
        "_outbox",
        "_parameters",
        "_pos",
        "_said",
        "_shown",
        "_sights",
        "_size",
        "_start",
        "_word",
        "fatal",
        "over",
    )

    def __init__(
        self,
        flight: Flight,
        outbox: Outbox,
        numbers: Iterator[int],
        parameters: dict[str, str],
    ) -> None:
        self._flight = flight
        self._outbox = outbox
        self._parameters = parameters
        self._limit = flight.opening.limit
        self._sights = Sights(flight, numbers)
        self._base = outbox.arrived[UPSTREAM]
        self._buf = b""
        self._start = 0
        self._pos = 0
        self._chunks: list[bytes] = []
        self._size = 0
        self._need = 0
        self._left = 0
        self._shown = True
        self._mute = False
        self._said: list[bytes] = []
        self._word = b""
        self.over = False
        self.fatal = False

    @property
    def asked(self) -> int:
        """The number of the question that stops this lane, 0 for none."""
        return self._sights.asked

    @property
    def between(self) -> bool:
        """True when no frame to the client is half sent."""
        return not self._left

    @property
    def held(self) -> int:
        """Bytes that wait behind a question."""
        return self.unforwarded if self._sights.asked else 0

    @property
    def unforwarded(self) -> int:
        """Bytes that are not in the outbox yet."""
        if self.over:
            return 0
        return self._base + len(self._buf) + self._size - self._outbox.arrived[UPSTREAM]

    def receive(self, data: bytes) -> list[Question]:
        """``data`` arrived; it is never empty."""
        if self.over:
            self._outbox.take(UPSTREAM, data, self._secrecy)
            return []
        if not self._buf:
            self._buf = data
        else:
            self._chunks.append(data)
            self._size += len(data)
            if self._sights.asked or len(self._buf) + self._size < self._need:
                return []
            self._join()
        return self.scan()

    def answer(self, answer: Answer) -> list[Question]:
        """The answer to the question ``asked``."""
        questions = self._sights.answer(answer)
        if questions:
            return questions
        self._join()
        return self.scan()

    def say(self, raw: bytes) -> None:
        """``raw``, whole frames of ours, goes to the client between frames."""
        if self._left:
            self._said.append(raw)
        else:
            self._outbox.send(CLIENT, raw, Mark.OURS)

    def finish(self) -> None:
        """Nothing more moves to the client; what is here is put on record."""
        self._join()
        self._outbox.take(
            UPSTREAM, self._buf[self._outbox.arrived[UPSTREAM] - self._base :], self._secrecy
        )
        self.over = True
        self._sights.asked = 0
        self._buf = b""
        self._base = self._outbox.arrived[UPSTREAM]
        self._start = self._pos = 0

    @property
    def _secrecy(self) -> Mark:
        """How bytes are recorded that nobody has looked at."""
        return Mark.EDITED if self._flight.masked or self._flight.own else Mark.PLAIN

    # Bytes

    def _join(self) -> None:
        if self._chunks:
            self._buf = b"".join((self._buf, *self._chunks))
            self._chunks.clear()
            self._size = 0

    def _flush(self, upto: int) -> None:
        """Show the client what is decided, up to ``upto`` of the buffer."""
        start = self._start
        if start == upto:
            return
        self._start = upto
        raw = self._buf
        if start or upto < len(raw):  # compiled, a slice of all of it would be a copy
            raw = raw[start:upto]
        own = self._flight.own
        if own is not None and own.spans(raw):
            self._outbox.take(UPSTREAM, raw, Mark.EDITED)
            self._outbox.send(CLIENT, starred(raw, own), Mark.EDITED)
        else:
            self._outbox.pass_on(UPSTREAM, raw)

    def _swap(self, at: int, upto: int, new: bytes, mark: Mark = Mark.EDITED) -> None:
        """The client gets ``new`` in place of ``buf[at:upto]``."""
        raw = self._buf[at:upto]
        if new == raw:
            return
        self._flush(at)
        self._start = upto
        self._outbox.take(UPSTREAM, raw, Mark.EDITED if mark is Mark.EDITED else Mark.PLAIN)
        own = self._flight.own
        if own is not None and mark is Mark.EDITED:
            new = starred(new, own)
        self._outbox.send(CLIENT, new, mark)

    def _stream(self, pos: int, end: int) -> int:
        """Pass on what is here of a frame that is larger than it may be held.
        Returns how far it got: with a screen, the last bytes are held back,
        for a hit may still begin in them."""
        avail = min(self._left, end - pos)
        upto = pos + avail
        own = self._flight.own
        if not self._shown:
            self._flush(pos)
            self._outbox.take(UPSTREAM, self._buf[pos:upto], Mark.EDITED)
            self._start = upto
        elif own is not None:
            window = self._buf[pos:upto]
            hits = own.spans(window)
            cut = avail
            if avail < self._left:
                cut = max(avail - own.reach + 1, hits[-1][1] if hits else 0, 0)
            self._flush(pos)
            raw = window[:cut]
            if hits:
                new = bytearray(raw)
                for a, b in hits:
                    new[a:b] = b"*" * (b - a)
                self._outbox.take(UPSTREAM, raw, Mark.EDITED)
                self._outbox.send(CLIENT, bytes(new), Mark.EDITED)
            else:
                self._outbox.pass_on(UPSTREAM, raw)
            upto = self._start = pos + cut
        self._left -= upto - pos
        return upto

    # Frames

    def scan(self) -> list[Question]:
        """Go through the buffer until it ends or a question stops the lane."""
        buf = self._buf
        end = len(buf)
        pos = self._pos
        flight = self._flight
        queue = flight.queue
        header = HEADER
        need = HEADER_SIZE
        while True:
            if self._left:
                pos = self._stream(pos, end)
                if self._left:
                    need = end - pos + 1
                    break
                for raw in self._said:
                    self._flush(pos)
                    self._outbox.send(CLIENT, raw, Mark.OURS)
                self._said.clear()
            if end - pos < HEADER_SIZE:
                if pos < end and buf[pos] not in _KINDS:
                    raise lied("unknown type of message")
                break
            kind, length = header(buf, pos)
            nxt: int = pos + 1 + length
            if length < 4 or length > ABSURD:
                raise lied("a message with an impossible length")
            sight: Any = OPEN
            if kind in (68, 100):
                if not queue or (queue[0][0] != EXECUTE and queue[0][0] != QUERY):
                    flight.stray(kind)
                    continue
                run = queue[0][1]
                sight = HIDDEN if self._mute else run.sight
                if sight is OPEN:
                    # Most bytes of most sessions go through this loop.
                    alike = kind
                    least = 6 if kind == 68 else 4
                    first = last = pos
                    try:
                        while kind == alike and length >= least:
                            last = pos
                            pos = nxt
                            kind, length = header(buf, pos)
                            nxt = pos + 1 + length
                    except struct.error:
                        pass
                    if pos > end:
                        # The last one isn't whole.
                        pos = last
                        kind, length = header(buf, pos)
                        nxt = pos + 1 + length
                        if length > ABSURD:
                            raise lied("a message with an impossible length")
                        if self._begin(kind, pos, nxt, end, OPEN):
                            continue
                        need = nxt - pos
                        break
                    if pos > first:
                        continue
                    raise lied("a DataRow without a count")
                if sight is None:
                    if kind == 100:
                        raise lied("CopyData without a CopyOutResponse")
                    questions = self._sights.rows(run)
                    if questions:
                        self._flush(pos)
                        self._pos = pos
                        return questions
                    continue
            elif kind not in _KINDS:
                raise lied("unknown type of message")
            elif length != 4 and kind in _EMPTY:
                raise lied("a message is not as long as its type")
            if nxt > end:
                if self._begin(kind, pos, nxt, end, sight):
                    continue
                need = nxt - pos
                break
            what = queue[0][0] if queue else -1
            # Answers of every transaction first.
            if kind == 67:
                if what == EXECUTE:
                    run = queue.popleft()[1]
                elif what == QUERY:
                    run = queue[0][1]
                else:
                    flight.stray(kind)
                    continue
                self._complete(run, pos, nxt)
            elif kind == 90:
                if what in (SYNC, QUERY, CALL, REFUSED_QUERY):
                    if what == REFUSED_QUERY and queue[0][1].error:
                        raise lied("a statement that can't run has not failed")
                    queue.popleft()
                elif flight.spare:
                    flight.spare -= 1
                else:
                    flight.stray(kind)
                    continue
                if length != 5 or buf[pos + 5] not in b"ITE":
                    raise lied("ReadyForQuery without a transaction status")
                self._mute = False
                flight.ready(buf[pos + 5])
            elif kind == 50:
                if what != BIND:
                    flight.stray(kind)
                    continue
                queue.popleft()
            elif kind == 49:
                if what != PARSE:
                    flight.stray(kind)
                    continue
                statement = queue.popleft()[1]
                flight.names.confirm_name(statement.name[:NAME], statement)
            elif kind in (84, 110):
                if what in (DESCRIBE_PORTAL, DESCRIBE_STATEMENT, OUR_DESCRIBE):
                    run = queue.popleft()[1]
                    if what != DESCRIBE_STATEMENT and run is not None and run.masked:
                        body = run.described_as = buf[pos + HEADER_SIZE : nxt]
                        run.fields = parse_row_description(body) if kind == 84 else ()
                    if what == OUR_DESCRIBE:
                        self._flush(pos)
                        self._outbox.take(UPSTREAM, buf[pos:nxt])
                        self._start = pos = nxt
                        continue
                elif what == QUERY and kind == 84:
                    run = queue[0][1]
                    if run.masked and run.sight is not HIDDEN:
                        run.fields = parse_row_description(buf[pos + HEADER_SIZE : nxt])
                        run.sight = None
                else:
                    flight.stray(kind)
                    continue
            elif kind == 68:
                if length < 6:
                    raise lied("a DataRow without a count")
                if sight is not HIDDEN:
                    pos = self._rows(sight, pos, nxt)
                    continue
                nxt = self._hide(pos, nxt)
            elif kind == 100:
                if sight is HIDDEN:
                    nxt = self._hide(pos, nxt)
                elif sight is not OPEN:
                    nxt = run_end(buf, nxt, 100, 4)
                    self._swap(pos, nxt, sight.frames(buf[pos:nxt]))
            elif kind == 69:
                self._error(pos, nxt)
                if self._mute:
                    nxt = self._hide(pos, nxt)
                pos = nxt
                continue
            elif kind == 78:
                self._notice(pos, nxt)
                pos = nxt
                continue
            elif kind == 83:
                self._report(pos, nxt)
                pos = nxt
                continue
            elif kind == 65:
                if flight.masked:
                    self._swap(pos, nxt, notification(buf[pos:nxt]))
                pos = nxt
                continue
            elif kind == 51:
                if what != CLOSE:
                    flight.stray(kind)
                    continue
                learnt = queue.popleft()[1]
                if learnt is not None:
                    flight.names.confirm(learnt[0], learnt[1])
            elif kind == 116:
                if what != DESCRIBE_STATEMENT:
                    flight.stray(kind)
                    continue
                types = read_types(buf, pos + 5, nxt)
                if queue[0][1] is not None:
                    queue[0][1].types = types
                    flight.names.epoch += 1
            elif kind in (73, 115):
                if what == EXECUTE:
                    self._complete(queue.popleft()[1], pos, nxt, done=kind == 73)
                elif what != QUERY or kind == 115:
                    flight.stray(kind)
                    continue
            elif kind in (71, 72):
                if what not in (QUERY, EXECUTE):
                    flight.stray(kind)
                    continue
                run = queue[0][1]
                if kind == 71:
                    flight.begin_copy_in()
                elif run.masked and not self._mute:
                    if run.sight is not HIDDEN and not self._sights.copying(run):
                        self._flush(pos)
                        self._pos = pos
                        questions = self._sights.copy(run, read_copy_width(buf, pos + 5, nxt))
                        if questions:
                            return questions
                        continue
                    if run.sight is HIDDEN:
                        nxt = self._hide(pos, nxt)
            elif kind == 99:
                if what not in (QUERY, EXECUTE):
                    flight.stray(kind)
                    continue
                run = queue[0][1]
                if run.sight is HIDDEN:
                    nxt = self._hide(pos, nxt)
                elif run.sight is not OPEN and run.masked:
                    rest = run.sight.end() if run.sight is not None else b""
                    if rest:
                        self._flush(pos)
                        own = flight.own
                        shown = frame(100, rest)
                        self._outbox.send(
                            CLIENT, starred(shown, own) if own else shown, Mark.EDITED
                        )
                    run.sight = None
            elif kind == 86:
                if what != CALL:
                    flight.stray(kind)
                    continue
            else:
                raise lied("a message that can't stand in the query phase")
            if self._mute:
                self._hide(pos, nxt)
            pos = nxt
        self._pos = pos
        self._flush(pos if not self._left or self._shown else self._start)
        if pos == end:
            self._base += end
            self._buf = b""
        else:
            self._base += pos
            self._buf = buf[pos:]
            self._need = need
        self._start = self._pos = 0
        return []

    def _begin(self, kind: int, pos: int, nxt: int, end: int, sight: object) -> bool:
        """A frame isn't whole. True when it need not be: it streams."""
        size = nxt - pos
        flight = self._flight
        if size > HOLD and kind in _STREAMABLE:
            streams = sight is OPEN or sight is HIDDEN
            if kind in b"TNA" or self._mute:
                streams = not flight.masked and not self._mute
            if kind == 116:
                streams = False
            if streams:
                self._left = size
                self._shown = sight is OPEN
                return True
        if size > self._limit:
            if kind in (68, 100) and sight is not OPEN:
                queue = flight.queue
                self._sights.hide(queue[0][1], TOO_WIDE)
                return True
            raise LimitError(UPSTREAM, "a message is too long to be held", TOO_LARGE)
        return False

    def _hide(self, pos: int, nxt: int) -> int:
        """Keep ``buf[pos:nxt]`` from the client, for the auditor to see."""
        if self._start < nxt:
            self._flush(pos)
            self._outbox.take(UPSTREAM, self._buf[pos:nxt], Mark.EDITED)
            self._start = nxt
        return nxt

    def _rows(self, sight: Any, pos: int, nxt: int) -> int:
        """Mask the whole rows that stand here together; where they end."""
        upto: int = run_end(self._buf, nxt, 68, 6)
        self._swap(pos, upto, sight.rows(self._buf[pos:upto]))
        return upto

    def _error(self, pos: int, nxt: int) -> None:
        """ErrorResponse: whose is it, and what may be said of it."""
        flight = self._flight
        queue = flight.queue
        buf = self._buf
        while queue and queue[0][0] == COPY_END:
            queue.popleft()
        fields = read_fields(buf, pos + 5, nxt)
        severity = next((v for c, v in fields if c == 86), b"")
        if severity in (b"FATAL", b"PANIC"):
            self.fatal = True
        what = queue[0][0] if queue else -1
        subject: Any = queue[0][1] if queue else None
        if flight.copying:
            flight.end_copy_in(good=False)
        ours = False
        if what in (REFUSED, REFUSED_QUERY) and not self.fatal:
            ours = buf.find(subject.word, pos, nxt) >= 0
            if ours:
                self._word = subject.word
                if not self._mute:
                    self._swap(pos, nxt, subject.error, Mark.OURS)
            subject.error = b""
        keep = what in (QUERY, EXECUTE)
        keep = keep and subject.intent is not None and subject.intent.complete
        if what == QUERY:
            if subject.learnt:
                subject.learnt = subject.learnt[: subject.done]
                flight.names.recount(flight.learning())
        elif what not in (-1, SYNC, CALL, REFUSED_QUERY):
            flight.skip()
        if ours or self._mute:
            return
        raw = buf[pos:nxt]
        if flight.veiled:
            self._swap(pos, nxt, withheld(raw, keep_syntax=keep))
        elif flight.detect is not None:
            self._swap(pos, nxt, starred(raw, flight.detect))

    def _notice(self, pos: int, nxt: int) -> None:
        flight = self._flight
        raw = self._buf[pos:nxt]
        fields, queue = read_fields(self._buf, pos + 5, nxt), flight.queue
        word = queue[0][1].word if queue and queue[0][0] in (REFUSED, REFUSED_QUERY) else b""
        if (word and word in raw) or (self._word and self._word in raw):
            self._hide(pos, nxt)
        elif fields and flight.veiled:
            self._swap(pos, nxt, withheld(raw, keep_syntax=False))
        elif flight.detect is not None:
            self._swap(pos, nxt, starred(raw, flight.detect))

    def _complete(self, run: Run, pos: int, nxt: int, *, done: bool = True) -> None:
        """A statement of ``run`` is done, or suspended."""
        flight = self._flight
        if done:
            flight.complete(run)
        if run.sight is HIDDEN and not self._mute:
            self._swap(pos, nxt, run.refusal, Mark.OURS)
            self._mute = True
            if run.batch == flight.names.batch:
                flight.discard_batch = run.batch

    def _report(self, pos: int, nxt: int) -> None:
        """ParameterStatus: the truth about what the lexer depends on."""
        name, value = checked_report(self._buf[pos:nxt], self._parameters)
        if self._flight.masked and name in REPORTS and value:
            self._swap(pos, nxt, frame(83, name + b"\0" + MASKED + b"\0"))
