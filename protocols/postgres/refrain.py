"""Requests that may come again as they are: statements that are bound and run alone.

What such a request is on the wire, ``_refrain.h`` says: Parse of the unnamed statement
(or not), Bind of the unnamed portal, Describe of it (or not), Execute, Sync.  ``found``
says whether the last one was of that kind, and would be let through again whatever its
parameters; ``caught_up`` puts both lanes, and what they share, where requests that
others have carried would have left them.
"""

from __future__ import annotations

from struct import pack
from typing import TYPE_CHECKING

from protocols.postgres.catalog import basis
from protocols.postgres.fields import parse_row_description
from protocols.postgres.flight import DESCRIBE_PORTAL, EXECUTE, IDLE, PARSE, Flight
from protocols.postgres.frames import frame
from protocols.postgres.intent import Change
from protocols.postgres.portals import NAME, OPEN, Run, Statement
from protocols.postgres.requests import granted
from protocols.postgres.shadows import KEY as FUNCTIONS
from protocols.recurring import Carried, Refrain, Rows
from protocols.wire import Side

if TYPE_CHECKING:
    from protocols.postgres.clientlane import ClientLane
    from protocols.postgres.serverlane import ServerLane

_PARSE = ord("P")
_BIND = ord("B")
_DESCRIBE = b"D\0\0\0\6P\0"
_TYPE_MOST = 20
_PRELUDE_MOST = 4096
"""A longer Parse is looked at each time."""


def stands(flight: Flight) -> tuple[dict[object, object], tuple[tuple[object, object], ...]]:
    """What of the target's memory refrains depend on: its catalog, its functions."""
    memory = flight.destined.memory
    return memory, (basis(memory), (FUNCTIONS, memory.get(FUNCTIONS)))


def epoch(flight: Flight) -> tuple[object, ...]:
    """Another one: what was found to be a refrain is none any more."""
    _, watched = stands(flight)
    return flight.names.epoch, flight.displaced, flight.murky, *[value for _, value in watched]


def idle(client: ClientLane, server: ServerLane) -> bool:
    """True when neither lane has bytes, and neither waits for anything."""
    return not (
        client._buf or client._chunks or client._left or client.waiting or client.over
        or server._buf or server._chunks or server._left or server.asked
        or server._mute or server._said or server.over
    )  # fmt: skip


def found(flight: Flight, run: Run, client: ClientLane, server: ServerLane) -> Refrain | None:
    """``run``, which is over, as a refrain."""
    statement, intent = run.statement, run.intent
    if statement is None or intent is None or run.name or run.runs or not flight.settled:
        return None
    name = statement.name
    known = flight.names.now
    if len(name) > NAME or known.get(name) is not statement:
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
    return Refrain(
        name,
        _prelude(statement),
        statement,
        known.get(b""),
        intent.text,
        intent.parts,
        types,
        run.masked,
        fields,
        epoch(flight),
    )


def _prelude(statement: Statement) -> bytes:
    """The Parse that makes ``statement`` anew: one without a name can be replaced."""
    raw, types = statement.intent.raw, statement.announced
    if statement.name or statement.types != types or len(raw) + 4 * len(types) > _PRELUDE_MOST:
        return b""
    oids = [int(type_ or "0") for type_ in types]
    return frame(_PARSE, b"\0" + raw + b"\0" + pack(f">H{len(oids)}I", len(oids), *oids))


def caught_up(flight: Flight, client: ClientLane, server: ServerLane, carried: Carried) -> None:
    """Others carried whole requests and whole replies."""
    outbox = client._outbox
    client._base = outbox.arrived[Side.CLIENT] = carried.arrived[Side.CLIENT]
    server._base = outbox.arrived[Side.UPSTREAM] = carried.arrived[Side.UPSTREAM]
    if carried.masked:
        client.last_masked = carried.masked
    if carried.done:
        _replied(flight, carried)
    if carried.owed:
        _owed(flight, carried)


def _replied(flight: Flight, carried: Carried) -> None:
    """What ``carried.done`` requests have left behind."""
    names = flight.names
    batch = names.batch
    names.batch += carried.done
    renewed = carried.renewed
    if renewed is not None:
        assert isinstance(renewed, Statement)
        names.renew(_anew(renewed, batch + carried.renewed_after))
    if carried.rested:
        flight.leave_transaction()
    if carried.veiled:
        flight.veiled = True
    flight.status = carried.status
    if carried.status == IDLE or carried.owed:
        return
    # Within a transaction the portal stays, and may be run once more.
    if not carried.request:
        flight.portals.pop(b"", None)
        return
    run = flight.portals[b""] = _run(flight, carried, names.batch - 1)
    run.done = 0 if carried.suspended else 1
    run.described = carried.rows != Rows.UNTOLD
    if run.masked:
        run.fields = ()
        if carried.rows == Rows.CAME:
            run.sight = OPEN
        if carried.rows != Rows.NONE:
            run.described_as = carried.fields or b""
            run.fields = parse_row_description(run.described_as)


def _owed(flight: Flight, carried: Carried) -> None:
    """The last request was sent to the server, just as the client's lane would have."""
    names, request = flight.names, carried.request
    at = 0
    if request[0] == _PARSE:
        assert isinstance(carried.subject, Statement)
        statement = _anew(carried.subject, names.batch)
        names.expect(Change(b""), statement, names.batch)
        flight.queue.append((PARSE, statement))
        at = 1 + int.from_bytes(request[1:5], "big")
    run = _run(flight, carried, names.batch)
    if run.masked:
        flight.veiled = True
    granted(flight, run, _BIND)
    if request.startswith(_DESCRIBE, at + 1 + int.from_bytes(request[at + 1 : at + 5], "big")):
        run.described = True
        flight.queue.append((DESCRIBE_PORTAL, run))
    flight.queue.append((EXECUTE, run))
    flight.rested = False
    flight.sync()


def _anew(statement: Statement, batch: int) -> Statement:
    """The same, by a later Parse."""
    return Statement(statement.name, statement.intent, statement.announced, batch)


def _run(flight: Flight, carried: Carried, batch: int) -> Run:
    """The portal of the last request, at its Bind."""
    subject = carried.subject
    assert isinstance(subject, Statement)
    statement = flight.names.now[subject.name]
    number = carried.number - 1
    run = Run(number, statement.intent, False, batch)
    run.statement = statement
    run.parts = statement.intent.parts
    if carried.masked == number:
        run.masked = True
        run.sight = None
    return run
