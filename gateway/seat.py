"""A session's seat in the straight gear's inner loop (``_gear.c``).

Between two requests that came before and would be let through again, a session goes
aboard: the loop in C then reads both its sockets, puts exactly such requests and their
replies on record, and sends them on. Anything else that comes, and anybody who wants
something of the session, brings it ashore first: what was carried is told to the
conversation and to the log, which then stand where they would if they had done it.

The loop is optional. Without it (no compiler, ``WIREWARDEN_PURE``) there are no seats, and
the session does all that itself, which is what the loop is measured by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from gateway.policy.verdicts import Decision
from gateway.world import World
from protocols.compiled import part
from protocols.contract import Phase, Screen
from protocols.recurring import Carried, Recurring, Refrain
from recorder.session_log import Lent

if TYPE_CHECKING:
    from gateway.session import Session

FRUITLESS = 8
"""Trips that carry nothing before the next one waits; one request that was carried makes
up for some of them."""
WORTH = 4
MOST_STAY = 64
"""Requests that it waits for at most, each of which might have been carried."""
_Gear = getattr(part("gateway._gear"), "Gear", None)


def inner_loop(epoll: int, own: Screen | None) -> Any:
    """A loop that waits on ``epoll``, None where there is none. ``own`` finds the
    gateway's secrets: what it may find something in is Python's to look at."""
    if _Gear is None or (own is not None and not own.needles):
        return None
    return _Gear(epoll, own.needles if own is not None else ())


class Seat:
    """The seat of one session. ``aboard``: the session is in it."""

    __slots__ = (
        "_conversation",
        "_epoch",
        "_fruitless",
        "_gear",
        "_knows",
        "_ride",
        "_session",
        "_stay",
        "aboard",
    )

    def __init__(self, session: Session, gear: Any) -> None:
        self._session = session
        self._conversation = cast(Recurring, session.conversation)
        self._gear = gear
        self._ride: Any = None
        self._epoch: tuple[object, ...] = ()
        self._knows = False
        self._fruitless = 0
        self._stay = 0
        self.aboard = False

    def board(self) -> None:
        """A reply has left, and nothing is behind it: go aboard if the last request may
        come again, or others may that did so before, and nothing else is to be done."""
        refrain = self._conversation.refrain()
        session = self._session
        if refrain is not None:
            epoch, current = refrain.epoch, refrain.current
        elif self._knows and (standing := self._conversation.standing()):
            epoch, current = standing
        else:
            return
        if not session.steady:
            return
        if self._stay:
            self._stay -= 1
            return
        log = session.log
        epoch = (*epoch, log.era)
        if epoch != self._epoch:
            self._epoch = epoch
            if self._ride is not None:
                self._ride.forget()  # what was learnt holds no more
            self._knows = False
        if refrain is None and not self._knows:
            return
        number, *arrived = self._conversation.position
        lent = log.lend(*arrived)
        if lent is None:
            return
        try:
            if self._learn(refrain, lent.start):
                self._take(current, number, lent)
                self.aboard = True
        finally:
            if not self.aboard:
                log.lent = False  # nobody writes it: it can still be ended

    def _learn(self, refrain: Refrain | None, start: int) -> bool:
        """Remember ``refrain``; True if something is known now that may come again."""
        if refrain is None:
            return self._knows
        session = self._session
        decision = session.relay.granted(refrain.text, refrain.parts)
        shape = -1 if decision is None else self._shape(refrain, Phase.RUN, decision)
        if decision is None or shape < 0:
            return self._knows
        prepared = self._shape(refrain, Phase.PREPARE, decision) if refrain.prelude else -1
        if self._ride is None:
            limit = min(session.services.config.limits.message, 1 << 30)
            self._ride = self._gear.ride(session.log.number, start, limit)
        self._ride.learn(
            refrain.name,
            refrain.prelude if prepared >= 0 else None,
            refrain.subject,
            refrain.fields,
            refrain.types,
            refrain.masked,
            int(decision.verdict),
            shape,
            max(prepared, 0),
            decision,
        )
        self._knows = True
        return True

    def _shape(self, refrain: Refrain, phase: Phase, decision: Decision) -> int:
        return self._session.log.shape_of(
            refrain.text,
            phase.value,
            decision.verdict,
            decision.rules,
            decision.reason,
            decision.policy,
            decision.masks,
            decision.shadow,
        )

    def _take(self, current: object, number: int, lent: Lent) -> None:
        session = self._session
        log, legs = session.log, session.legs
        assert legs[0] is not None
        assert legs[1] is not None
        memory, watched = self._conversation.watched
        (first, first_is), (second, second_is) = watched
        self._ride.board(
            session,
            log,
            (legs[0].fd, legs[1].fd),
            number,
            lent.seq,
            lent.arrived,
            lent.left,
            lent.until,
            lent.room,
            lent.segment,
            (memory, first, first_is, second, second_is),
            current,
        )

    def ashore(self) -> None:
        """Come ashore: whoever does anything with the session calls this first."""
        if not self.aboard:
            return
        self.aboard = False
        log, moved, decision, rest = self._ride.leave()
        carried = Carried(*rest)
        session = self._session
        if carried.done:
            self._fruitless = max(0, self._fruitless - WORTH * carried.done)
        elif not moved:
            # A client that says something else in between each time: going aboard costs
            # more than a request, so it is tried ever less often.
            self._fruitless = min(self._fruitless + 1, FRUITLESS + 6)
            if self._fruitless > FRUITLESS:
                self._stay = min(MOST_STAY, 1 << (self._fruitless - FRUITLESS))
        session.moved += moved
        session.log.take_back(*log)
        if carried.masked:
            session.relay.remember(carried.masked, decision)
        self._conversation.catch_up(carried)


def seated(session: Session) -> Seat | None:
    """A seat for ``session``, None where it can have none: another protocol, a clock
    that isn't the machine's, bytes that wait for the disk."""
    gear = session.services.reactor.gear
    if gear is None or not session.listener.kind.recurs:
        return None
    if type(session.services.world) is not World:
        return None
    return Seat(session, gear)
