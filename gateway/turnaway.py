"""Turning a client away in its own words, where no session can be recorded.

With a full disk or a broken recorder nothing may be proven, dialled or moved.
What is left is the greeting, and the refusal in the protocol's words: bytes of
ours that carry nobody's data.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import trio

from gateway import tls
from gateway.carriers import received
from gateway.leg import Leg, LegLost
from gateway.listening import Listener
from protocols.contract import Opening, Proof, Question, Refuse, Upgrade
from protocols.errors import WireError
from protocols.wire import Move, Side

if TYPE_CHECKING:
    from gateway.services import Services

SECONDS = 5.0
AT_ONCE = 256
"""Clients that are told why at the same time; more are just closed."""


class Turnaway:
    """Says no to clients, a few at a time."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._count = 0

    async def refuse(
        self, sock: socket.socket, listener: Listener, peer: str, refuse: Refuse
    ) -> None:
        """Greet the client of ``sock`` just far enough to be heard; close."""
        leg: Leg | None = None
        try:
            if self._count < AT_ONCE:
                self._count += 1
                try:
                    leg = received(self._services, listener, sock, peer)
                    with trio.move_on_after(SECONDS):
                        await self._speak(leg, listener, refuse)
                finally:
                    self._count -= 1
        except (LegLost, WireError, OSError):
            pass
        except Exception as error:
            self._services.crash("turnaway", error)
        finally:
            if leg is not None:
                leg.close()  # and with it the socket, or whoever speaks SSH on it
            else:
                sock.close()

    async def _speak(self, leg: Leg, listener: Listener, refuse: Refuse) -> None:
        conversation = listener.kind.start(
            Opening(
                session=self._services.world.ulid(),
                chance=self._services.world.chance,
                tls=listener.tls,
                limit=1 << 16,
            )
        )
        questions: list[Question] = []
        while True:
            for span in conversation.moves():
                if span.move is Move.SEND and span.side is Side.CLIENT:
                    leg.queue(span.raw)
            while not leg.flush():
                await trio.lowlevel.wait_writable(leg.sock)
            if conversation.closing:
                return
            if questions:
                question = questions.pop(0)
                if isinstance(question, Upgrade):
                    context = listener.tls_context()
                    await tls.shake(
                        leg, context, server_side=True, name=None, unread=question.unread
                    )
                    questions += conversation.answer(question.number, tls.upgraded(leg))
                elif isinstance(question, Proof):
                    questions += conversation.answer(question.number, refuse)
                else:
                    return
                continue
            data = leg.read()
            if data is None:
                await trio.lowlevel.wait_readable(leg.sock)
            elif not data:
                return
            else:
                questions = conversation.receive(Side.CLIENT, data)
