"""Errands: small conversations of the gateway's own with an upstream.

A mask needs to know the table behind a column, a cancel needs a connection of
its own. The protocol writes the talk; here it is given a connection, the target's
credential and an end in time. Only that it was run, and how it ended, is on the
session's record: its bytes belong to no leg of the session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from gateway import tls
from gateway.carriers import reached
from gateway.dial import DialError
from gateway.leg import Leg, LegLost
from protocols.contract import (
    Answer,
    Challenge,
    Done,
    Errand,
    Examine,
    Question,
    Refuse,
    Talk,
    Upgrade,
)
from protocols.errors import WireError
from protocols.wire import Move, Side

if TYPE_CHECKING:
    from gateway.relay import Relay

ERRAND_SECONDS = 20.0
MOST_BYTES = 64 << 20
"""What an errand may read before it counts as runaway."""


async def run_errand(relay: Relay, errand: Errand) -> Done:
    """Run ``errand`` to its end for ``relay``'s target; never raises for a fault
    of the upstream: ``Done.error`` tells it."""
    assert relay.target is not None
    error = ""
    talk, seconds = errand.talk, errand.seconds or ERRAND_SECONDS
    with trio.move_on_after(seconds) as scope:
        try:
            leg = await reached(relay.services, relay.target, relay.services.config.limits.dial)
            try:
                await _converse(relay, leg, talk, errand.most or MOST_BYTES)
                error = talk.error
            finally:
                leg.close()
        except (DialError, LegLost, WireError) as failed:
            error = str(failed)
    if scope.cancelled_caught:
        error = f"no end within {seconds:g} s"
    relay.session.note("errand", {"purpose": errand.purpose, "error": error})
    return Done(result=None if error else talk.result, error=error)


async def _converse(relay: Relay, leg: Leg, talk: Talk, most: int) -> None:
    """Until ``talk`` closes. An upstream that leaves while something is looked into
    takes nothing away that it has said, and leaves nothing unanswered."""
    total = 0
    ended = False
    questions: list[Question] = []
    while True:
        while True:
            for span in talk.moves():
                if span.move is Move.SEND and span.side is Side.UPSTREAM:
                    leg.queue(span.raw)
            try:
                while not leg.flush():
                    await trio.lowlevel.wait_writable(leg.sock)
            except LegLost:
                leg.discard()  # it hears no more, but may have said why
            if not questions:
                break
            question = questions.pop(0)
            questions += talk.answer(question.number, await _answer(relay, leg, question))
        if talk.closing or ended:
            return
        lost: LegLost | None = None
        try:
            data = leg.read()
        except LegLost as error:
            data, lost = b"", error
        if data is None:
            await trio.lowlevel.wait_readable(leg.sock)
            continue
        total += len(data)
        if total > most:
            raise LegLost("the upstream sends without end")
        questions = talk.receive(Side.UPSTREAM, data)
        if lost is not None and not questions and not talk.closing:
            raise lost
        ended = not data


async def _answer(relay: Relay, leg: Leg, question: Question) -> Answer:
    if isinstance(question, Upgrade):
        context, name = relay.tls_context(question)
        try:
            await tls.shake(leg, context, server_side=False, name=name, unread=question.unread)
        except LegLost as error:
            return Refuse(f"no TLS with the upstream: {error}", kind="upstream")
        return tls.upgraded(leg)
    if isinstance(question, Challenge | Examine):
        return await relay.later(question)
    raise TypeError(f"an errand can't ask {type(question).__name__}")
