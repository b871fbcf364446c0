"""How long a session may take to come in, and may stand idle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from protocols.contract import Refuse

if TYPE_CHECKING:
    from gateway.session import Session


async def entrance(session: Session) -> None:
    """A client that dawdles over TLS or its proof costs a slot only so long,
    and an upstream that lets nobody in keeps nobody waiting for ever."""
    limits = session.services.config.limits
    with trio.move_on_after(limits.greeting):
        await session.proven.wait()
    if not session.proven.is_set():
        session.dismiss(Refuse("the client did not prove itself in time", kind="identity"))
        return
    await trio.sleep(limits.greeting + limits.dial)
    if not session.conversation.ready:
        session.dismiss(Refuse("the upstream did not let us in in time", kind="upstream"))


async def idle(session: Session, seconds: float) -> None:
    """Idle: nothing moves, nothing waits for people and nothing runs upstream.
    A transaction that is left open counts as idle, a long query does not."""
    while True:
        session.ashore()
        seen = session.moved
        await trio.sleep(seconds)
        session.ashore()
        if session.moved == seen and not (session.relay.holding or session.conversation.owed):
            session.dismiss(Refuse(f"idle for {seconds:g} s", kind="shutdown"))
