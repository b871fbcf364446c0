"""What the client's requests amount to: commands, and what an allowed one changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from protocols.contract import Command, Parameter, Part, Phase, Refuse
from protocols.postgres.flight import BIND, CALL, OWN_BATCH, QUERY, SETTLED, Flight
from protocols.postgres.intent import Intent
from protocols.postgres.portals import Run, Statement
from protocols.postgres.steps import expect_changes

STATEMENTS: Final = 10_000
"""The most names of prepared statements that a session may hold."""

LEXER_GUARD: Final = Refuse(
    "client_encoding must stay UTF8 and standard_conforming_strings on,"
    " or the gateway and the server would read different statements",
    "lexer-guard",
)
REBOUND: Final = Refuse("what it runs has been prepared anew since it was judged", "lexer-guard")
CROWDED: Final = Refuse(f"a session may hold {STATEMENTS} prepared statements", "", "busy")
UNMASKABLE: Final = Refuse("the result of a FunctionCall can't be masked")

UNSETTLED: Final = Refuse(
    "send a Sync first: code ran that may have changed how the server reads backslashes",
    "lexer-guard",
)

_FORMS: Final = ("text", "binary")


def bound(
    statement: Statement, values: Sequence[tuple[bytes | None, int]]
) -> tuple[Parameter, ...]:
    """The values of a Bind, with the types that the Parse named."""
    types = statement.types
    if len(types) < len(values):
        types += ("",) * (len(values) - len(types))
    return tuple(
        [
            Parameter(value, _FORMS[form], type_)
            for (value, form), type_ in zip(values, types, strict=False)
        ]
    )


def function_call(
    number: int, oid: int, values: Sequence[tuple[bytes | None, int]]
) -> tuple[Run, Command]:
    """A FunctionCall: it runs a function by its number, without any text, so
    that nothing is known of what it does."""
    why = "runs a function by its number, without any text"
    part = Part("sql.function_call", (), {}, False, why)
    parameters = tuple(Parameter(value, _FORMS[form]) for value, form in values)
    command = Command(
        number, Phase.RUN, f"function call oid {oid}", (part,), parameters, ("function call",)
    )
    return Run(number, None, False, 0), command


def told_of(flight: Flight, intent: Intent, context: tuple[str, ...]) -> tuple[str, ...]:
    """The context of a command. A text that is not told whole does not say all that will
    run. A digest of what it leaves out would let everybody test guesses; chance binds an
    approval to this very message instead."""
    if not intent.hidden:
        return context
    return (*context, flight.opening.chance(16).hex())


def unsettled(flight: Flight, raw: bytes) -> bool:
    """Could the server read ``raw`` otherwise than the gateway does, because of
    code that it has not answered for yet? Only backslashes and bytes beyond ASCII
    mean something else under other settings."""
    return flight.unsettled != SETTLED and (b"\\" in raw or not raw.isascii())


def granted(flight: Flight, run: Run, kind: int) -> None:
    """``run`` is let go on, as a message of ``kind`` (its type byte): what the
    lanes expect of the server and know of names from here on."""
    names = flight.names
    intent = run.intent
    if intent is None or not intent.complete:
        flight.unsettled = names.batch if kind == 66 else OWN_BATCH
    if kind == 66:
        flight.portals[run.name] = flight.last = run
        flight.queue.append((BIND, run))
    else:
        run.batch = names.batch + 1
        names.batch += 2
        if intent is not None and intent.steps:
            expect_changes(flight, run, run.batch)
        flight.queue.append((QUERY if kind == 81 else CALL, run))
    if intent is not None:
        if intent.steps:
            for step in intent.steps:
                if step is not None and step.declares is not None:
                    flight.cursors.add(step.declares, intent)
        if kind == 66 and run.name:
            flight.cursors.add(run.name, intent)
        if intent.opaque:
            names.doubt()
        if intent.defines:
            flight.dirty = True
            flight.conjured = flight.conjured or intent.conjures
        if intent.displaces:
            flight.displaced = True
    if flight.masked and not flight.murky and not run.readable:
        flight.murky = flight.displaced = True
