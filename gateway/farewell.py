"""How a session's legs are left: with what was still to be said to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from gateway.leg import Leg, LegLost
from protocols.errors import WireError
from protocols.wire import Move, Side

if TYPE_CHECKING:
    from gateway.session import Session

FAREWELL_SECONDS = 5.0
LINGER_SECONDS = 1.0
LINGER_BYTES = 64 << 20
LINGER_ON_RECORD = 1 << 20


async def farewell(session: Session) -> None:
    """Give what is queued a last chance to leave; the upstream first, so that
    it is free while the client is waited for."""
    session.ashore()
    for side in (Side.UPSTREAM, Side.CLIENT):
        leg = session.legs[side]
        if leg is None or leg.fd < 0:
            continue
        session.services.reactor.detach(leg)
        if session._gone[side]:
            continue
        with trio.move_on_after(FAREWELL_SECONDS):
            try:
                while not leg.flush():
                    await trio.lowlevel.wait_writable(leg.sock)
                if side is Side.CLIENT and not session._failed:
                    await _linger(session, leg)
            except LegLost:
                pass
        if side is Side.UPSTREAM:
            leg.close()


async def _linger(session: Session, leg: Leg) -> None:
    """Hear a client out that is still sending. Closed upon unread bytes, TCP
    sends a reset, which takes the last word away from it. What comes is put
    on record, up to a bound, and moves nowhere."""
    heard = 0
    leg.finish()
    with trio.move_on_after(LINGER_SECONDS):
        while not session._ended[Side.CLIENT] and heard < LINGER_BYTES:
            data = leg.read()
            if data is None:
                await trio.lowlevel.wait_readable(leg.sock)
                continue
            session._ended[Side.CLIENT] = not data
            heard += len(data)
            if data and heard <= LINGER_ON_RECORD and not session._failed:
                try:
                    session.conversation.receive(Side.CLIENT, data)
                except WireError:
                    pass  # it was refused for that already
                session.log.spans([s for s in session.conversation.moves() if s.move is Move.TAKE])
    if heard > LINGER_ON_RECORD:
        session.note("unheard", {"side": "client", "bytes": heard - LINGER_ON_RECORD})
