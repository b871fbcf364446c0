"""Prepared statements and cursors as SQL names them: what a text runs by name,
and what running it will do to names."""

from __future__ import annotations

from protocols.postgres.flight import Flight
from protocols.postgres.intent import Change, Intent
from protocols.postgres.portals import Learnt, Run, Runs, Statement, Unsure


def runs_of(flight: Flight, intent: Intent | None) -> Runs | Unsure:
    """What ``intent`` runs by name, in order; ``UNSURE`` while the server must
    first say what a name means (the lane waits)."""
    if intent is None:
        return ()
    here: dict[bytes, Statement | None] = {}
    declared: dict[bytes, Intent] = {}
    gone = False
    found: list[Statement | Intent | None] = []
    for step in intent.steps:
        if step is None:
            continue
        if step.runs is not None:
            if step.runs in here or gone:
                found.append(here.get(step.runs))
                continue
            known = flight.meaning(step.runs)
            if isinstance(known, Unsure):
                return known
            found.append(known)
        elif step.fetches is not None:
            if step.fetches in declared:
                found.append(declared[step.fetches])
            else:
                found.extend(flight.cursors.find(step.fetches))
        elif step.declares is not None:
            declared[step.declares] = intent
        elif step.change is not None:
            if step.change.everything:
                here.clear()
                gone = True
            else:
                here[step.change.name] = _stated(step.change, step.meaning, 0)
    return tuple(found)


def expect_changes(flight: Flight, run: Run, batch: int) -> None:
    """Running ``run`` will change names: note it, statement by statement."""
    names = flight.names
    learnt: list[Learnt] = []
    for step in run.intent.steps if run.intent is not None else ():
        change = step.change if step is not None else None
        if step is None or change is None:
            learnt.append((None, None, batch))
            continue
        statement = _stated(change, step.meaning, batch)
        names.expect(change, statement, batch)
        learnt.append((change, statement, batch))
    run.learnt = tuple(learnt)


def _stated(change: Change, meaning: Intent | None, batch: int) -> Statement | None:
    return None if meaning is None else Statement(change.name, meaning, (), batch)
