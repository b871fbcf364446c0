"""What is in flight: the requests that the server has yet to answer, in order.

The client lane appends to it what it forwards, the upstream lane takes from it
what the server answers.  A request is a pair of its kind and its subject.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from protocols.contract import Destined, Opening, Screen
from protocols.postgres.catalog import forget
from protocols.postgres.frames import lied
from protocols.postgres.intent import Change
from protocols.postgres.portals import Cursors, Learnt, Names, Run, Statement, Unsure

PARSE: Final = 0
BIND: Final = 1
CLOSE: Final = 2
DESCRIBE_STATEMENT: Final = 3
DESCRIBE_PORTAL: Final = 4
OUR_DESCRIBE: Final = 5
EXECUTE: Final = 6
QUERY: Final = 7
CALL: Final = 8
SYNC: Final = 9
COPY_END: Final = 10
REFUSED: Final = 11
"""Our failing Parse in place of an extended message."""
REFUSED_QUERY: Final = 12
"""Our failing Query in place of a Query or FunctionCall."""

Request: TypeAlias = tuple[int, Any]

ONE_SYNC: Final[Request] = (SYNC, None)
ONE_COPY_END: Final[Request] = (COPY_END, None)

STANDALONE: Final = frozenset((QUERY, CALL, SYNC, REFUSED_QUERY))
"""Kinds that end with a ReadyForQuery of their own."""


MOST_LEARNING: Final = 256
"""Requests in flight that are gone through for each name in doubt; with more
the client waits, lest a long pipeline costs the square of its length."""


IDLE: Final = 73
"""The status outside of a transaction (I)."""
FAILED: Final = 69
"""The status within one that has failed (E)."""
SETTLED: Final = -1
OWN_BATCH: Final = -2


class Flight:
    """The state that both lanes share.

    ``skipping``: the server ignores everything until a Sync that hasn't been
    sent.  ``skipped``: what is prepared meanwhile, of which the server knows
    nothing, but which the record is to name.  ``copying``: the server reads
    CopyData now.  ``open_copy``: it will also swallow Sync until CopyDone or
    CopyFail.  ``spare``: Syncs that it may or may not have swallowed.
    ``veiled``: text that comes from the server may quote masked values.
    ``dirty``: the open transaction has run DDL.
    ``conjured``: it may have made functions.
    ``displaced``: an unqualified name may mean something else to this session
    than to a new one (its search path, a temporary table).  ``murky``: something
    ran that can't be read, so a setting may hold any value.  ``rested``: the
    server has answered all, up to its ReadyForQuery.  ``unsettled``: the batch
    of names in which code last ran that may have changed the lexer's settings,
    which the server tells only before its ReadyForQuery; OWN_BATCH for a Query,
    whose ReadyForQuery comes by itself, SETTLED when it has come.  ``last``: the
    portal that was bound last, until somebody has looked whether it may recur.
    """

    __slots__ = (
        "conjured",
        "copying",
        "cursors",
        "destined",
        "detect",
        "dirty",
        "discard_batch",
        "displaced",
        "last",
        "masked",
        "murky",
        "names",
        "open_copy",
        "opening",
        "own",
        "portals",
        "queue",
        "rested",
        "skipped",
        "skipping",
        "spare",
        "status",
        "unsettled",
        "veiled",
    )

    def __init__(self, opening: Opening, destined: Destined) -> None:
        self.opening = opening
        self.destined = destined
        self.masked = destined.masked
        self.own: Screen | None = destined.own
        self.detect: Screen | None = None
        self.queue: deque[Request] = deque()
        self.names = Names()
        self.cursors = Cursors()
        self.portals: dict[bytes, Run] = {}
        self.last: Run | None = None
        self.rested = True
        self.skipping = False
        self.skipped: dict[bytes, Statement] = {}
        self.copying = False
        self.open_copy = False
        self.spare = 0
        self.veiled = False
        self.dirty = False
        self.conjured = False
        self.discard_batch = 0
        self.displaced = False
        self.murky = False
        self.status: int = IDLE
        self.unsettled = SETTLED

    def learning(self) -> Iterator[Learnt]:
        """The changes to names that the server hasn't confirmed, in order."""
        for kind, subject in self.queue:
            if kind == PARSE:
                yield Change(subject.name), subject, subject.batch
            elif kind == CLOSE:
                if subject is not None:
                    yield subject
            elif kind in (EXECUTE, QUERY):
                yield from subject.learnt[subject.done :]

    def meaning(self, name: bytes) -> Statement | Unsure | None:
        """What the prepared statement ``name`` is to a message sent now."""
        few = len(self.queue) <= MOST_LEARNING
        return self.names.find(name, self.learning() if few else None)

    def skip(self) -> None:
        """The server failed an extended message: it skips to the next Sync."""
        queue = self.queue
        while queue and queue[0][0] != SYNC:
            kind, subject = queue.popleft()
            if kind == BIND:
                portal: Run = subject
                if self.portals.get(portal.name) is portal:
                    del self.portals[portal.name]
        if not queue:
            self.skipping = True
        self.names.recount(self.learning())

    def note_skipped(self, statement: Statement) -> None:
        """A Parse passes that the server skips."""
        skipped = self.skipped
        if statement.name not in skipped and len(skipped) >= MOST_LEARNING:
            del skipped[next(iter(skipped))]
        skipped[statement.name] = statement

    def begin_copy_in(self) -> None:
        """CopyInResponse: from here the server reads CopyData and swallows
        every Sync that was sent before CopyDone or CopyFail."""
        self.copying = True
        self.open_copy = True
        queue = self.queue
        kept = [queue.popleft()]
        while queue:
            request = queue.popleft()
            if request[0] == COPY_END:
                self.open_copy = False
                self.copying = False
                break
            if request[0] == SYNC:
                self.spare += 1
            else:
                kept.append(request)
        queue.extendleft(reversed(kept))

    def end_copy_in(self, *, good: bool) -> None:
        """The COPY FROM STDIN of the request in turn is over."""
        self.copying = False
        self.open_copy = False
        if good:
            self.spare = 0

    @property
    def copy_wanted(self) -> bool:
        """True while CopyData may be for a COPY that was allowed."""
        if self.copying:
            return True
        return any(
            kind in (QUERY, EXECUTE) and subject.intent is not None and subject.intent.copies_in
            for kind, subject in self.queue
        )

    # What the client sends

    def sync(self) -> None:
        """A Sync passes."""
        if self.open_copy:
            self.spare += 1
            return
        self.names.batch += 1
        self.skipping = False
        self.skipped.clear()
        self.queue.append(ONE_SYNC)

    def copy_end(self) -> bool:
        """CopyDone or CopyFail: True when it is for a COPY that was allowed."""
        if self.open_copy:
            self.open_copy = False
            self.copying = False
            return True
        if not self.copy_wanted:
            return False
        self.queue.append(ONE_COPY_END)
        return True

    def name(self, kind: int, what: int, name: bytes) -> None:
        """Describe (68) or Close (67) of a portal (80) or statement (83)."""
        if what == 80:
            if kind == 68:
                run = self.portals.get(name)
                if run is not None:
                    run.described = True
                self.queue.append((DESCRIBE_PORTAL, run))
            else:
                self.portals.pop(name, None)
                self.queue.append((CLOSE, None))
        elif kind == 68:
            self.queue.append((DESCRIBE_STATEMENT, self.names.now.get(name)))
        else:
            change = Change(name)
            self.names.expect(change, None, self.names.batch)
            self.queue.append((CLOSE, (change, None, self.names.batch)))

    @property
    def settled(self) -> bool:
        """True between two requests, outside of a transaction or within one that has
        not failed, with nothing open that an ordinary request could run into."""
        names = self.names
        return not (
            self.queue
            or self.status == FAILED
            or self.skipping
            or self.copying
            or self.open_copy
            or self.spare
            or self.unsettled != SETTLED
            or self.dirty
            or self.conjured
            or self.discard_batch == names.batch
            or names.changed
            or names.pending
            or names.all_changed
            or names.doubted
        )

    # What the server answers

    def leave_transaction(self) -> None:
        """None is open any more: of portals only cursors WITH HOLD are left."""
        if self.portals:
            self.portals.clear()
        self.cursors.settle()
        self.veiled = False

    def stray(self, kind: int) -> None:
        """An answer that doesn't fit the request in turn, unless that request
        was the end of a COPY which the server never began."""
        if not self.queue or self.queue[0][0] != COPY_END:
            raise lied(f"an answer out of turn (type {chr(kind)})")
        self.queue.popleft()

    def complete(self, run: Run) -> None:
        """A statement of ``run`` is done."""
        intent = run.intent
        if intent is None or intent.defines:
            forget(self.destined.memory)
        if run.learnt and run.done < len(run.learnt):
            change, statement, _ = run.learnt[run.done]
            if change is not None:
                self.names.confirm(change, statement)
        run.done += 1
        if self.copying or self.spare:
            self.end_copy_in(good=True)

    def ready(self, status: int) -> None:
        """ReadyForQuery, with the transaction's ``status`` (I, T, E)."""
        self.status = status
        queue = self.queue
        if self.dirty and status == IDLE:
            forget(self.destined.memory)
            self.dirty = any(
                kind in (QUERY, EXECUTE, BIND) and (run.intent is None or run.intent.defines)
                for kind, run in queue
            )
            self.conjured = self.dirty and self.conjured
        if not queue:
            self.unsettled = SETTLED
            self.rested = True
            self.names.settle()
            if status == IDLE:
                self.leave_transaction()
        if self.copying:
            self.end_copy_in(good=False)
