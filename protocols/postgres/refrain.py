"""Requests that may come again as they are: prepared statements, bound and run alone.

What such a request is on the wire, ``_refrain.h`` says: Bind of the unnamed portal,
Describe of it (or not), Execute, Sync.  ``found`` says whether the last one was of that
kind, and would be let through again whatever its parameters; ``carry`` puts one into
flight that others have carried, just as the client's lane would have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocols.postgres.catalog import basis
from protocols.postgres.flight import DESCRIBE_PORTAL, EXECUTE, Flight
from protocols.postgres.frames import read_bind
from protocols.postgres.portals import NAME, OPEN, Run
from protocols.postgres.requests import granted
from protocols.postgres.shadows import KEY as FUNCTIONS
from protocols.recurring import Refrain
from protocols.wire import Side

if TYPE_CHECKING:
    from protocols.postgres.clientlane import ClientLane
    from protocols.postgres.serverlane import ServerLane

_DESCRIBE = b"D\0\0\0\6P\0"
_TYPE_MOST = 20
_PLAIN_BIND = 66


def stands(flight: Flight) -> tuple[dict[object, object], tuple[tuple[object, object], ...]]:
    """What of the target's memory refrains depend on: its catalog, its functions."""
    memory = flight.destined.memory
    return memory, (basis(memory), (FUNCTIONS, memory.get(FUNCTIONS)))


def idle(client: ClientLane, server: ServerLane) -> bool:
    """True when neither lane has bytes, and neither waits for anything."""
    return not (
        client._buf or client._chunks or client._left or client.waiting or client.over
        or server._buf or server._chunks or server._left or server.asked
        or server._mute or server._said or server.over
    )  # fmt: skip


def caught_up(
    client: ClientLane, server: ServerLane, arrived: tuple[int, int], masked: int
) -> None:
    """Others carried the bytes of both sides up to ``arrived``, whole requests and whole
    replies; the last of them whose results are looked at was the command ``masked``."""
    outbox = client._outbox
    client._base = outbox.arrived[Side.CLIENT] = arrived[Side.CLIENT]
    server._base = outbox.arrived[Side.UPSTREAM] = arrived[Side.UPSTREAM]
    if masked:
        client.last_masked = masked


def found(flight: Flight, run: Run, client: ClientLane, server: ServerLane) -> Refrain | None:
    """``run``, which is over, as a refrain."""
    statement, intent = run.statement, run.intent
    if statement is None or intent is None or run.name or run.runs or not flight.settled:
        return None
    name = statement.name
    if len(name) > NAME or flight.names.now.get(name) is not statement:
        return None
    if (
        intent.steps
        or not intent.complete
        or intent.opaque
        or intent.hidden
        or intent.defines
        or intent.displaces
        or intent.copies_in
        or run.learnt
        or run.parts is not intent.parts
        or not run.readable
        # By what is known now: since the Bind, others may have learnt of new functions.
        or client._doubts.shaded(intent, (), intent.parts) is not intent.parts
    ):
        return None
    fields: bytes | None = None
    if run.masked:
        if run.sight is OPEN and server._sights.clear(run):
            fields = run.described_as
        elif run.sight is not None or run.fields != ():
            return None  # rows, and they have to be looked at each time
    types = tuple([f"{type_ or 'binary'}:".encode() for type_ in statement.types])
    if any(len(type_) > _TYPE_MOST for type_ in types):
        return None
    _, watched = stands(flight)
    return Refrain(
        name,
        intent.text,
        intent.parts,
        types,
        run.masked,
        fields,
        (flight.names.epoch, flight.displaced, flight.murky, *[value for _, value in watched]),
    )


def carry(flight: Flight, request: bytes, number: int, masked: bool) -> None:
    """``request`` was sent to the server, as the command ``number``."""
    end = 1 + int.from_bytes(request[1:5], "big")
    _, source, _ = read_bind(request, 5, end)
    names = flight.names
    statement = names.now[source]
    intent = statement.intent
    run = Run(number, intent, False, names.batch)
    run.statement = statement
    run.parts = intent.parts
    if masked:
        run.masked = True
        run.sight = None
        flight.veiled = True
    granted(flight, run, _PLAIN_BIND)
    if request.startswith(_DESCRIBE, end):
        run.described = True
        flight.queue.append((DESCRIBE_PORTAL, run))
    flight.queue.append((EXECUTE, run))
    flight.rested = False
    flight.sync()
