"""Finds out what may be seen of a masked command's rows.

The steps, each of which may be a question: what are the columns (of a COPY),
where do they come from (the catalog), and what may be seen of them (the plan).
What can't be found out is hidden.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

from protocols.contract import Answer, Done, Errand, Part, Plan, Question, Refuse, Result
from protocols.postgres.catalog import CatalogErrand, Missing, learn, resolve, state
from protocols.postgres.copyout import CopyMasker, columns_errand, copied, unknown, unmaskable
from protocols.postgres.fields import Field
from protocols.postgres.flight import QUERY, Flight
from protocols.postgres.origins import origins_of
from protocols.postgres.portals import HIDDEN, OPEN, Run
from protocols.postgres.refusal import refused_error
from protocols.postgres.rows import RowMasker
from protocols.sql.sources import Sources
from protocols.sql.words import CopyShape, Output
from protocols.sql.words import Statement as SqlStatement

_Scene: TypeAlias = "tuple[int, Sequence[Field] | None, object, bool, bool, bool]"
_MOST_CLEAR: Final = 256
TOO_WIDE: Final = Refuse("a row is too large to be masked")
_UNDESCRIBED: Final = Refuse("its columns are not known, so it can't be masked")
_MISFIT: Final = Refuse("the masks do not fit its columns")
_QUALIFIED: Final = re.compile(r'("([^"]|"")+"|[^".]+)\.("([^"]|"")+"|[^".]+)')

_COLUMNS: Final = 1
_CATALOG: Final = 2
_RESULT: Final = 3


class Sights:
    """Asks for one run at a time; ``asked`` is the open question's number."""

    __slots__ = (
        "_clear",
        "_copied",
        "_count",
        "_fields",
        "_flight",
        "_numbers",
        "_outputs",
        "_run",
        "_shape",
        "_sources",
        "_stage",
        "asked",
    )

    def __init__(self, flight: Flight, numbers: Iterator[int]) -> None:
        self._flight = flight
        self._numbers = numbers
        self.asked = 0
        self._stage = 0
        self._run: Run | None = None
        self._shape: CopyShape | None = None
        self._count = 0
        self._fields: Sequence[Field] = ()
        self._outputs: Sequence[Output] | None = None
        self._sources: Sources | None = None
        self._copied: tuple[Run, int] | None = None
        self._clear: dict[int, tuple[tuple[Part, ...], _Scene]] = {}

    def hide(self, run: Run, refuse: Refuse) -> None:
        """The client is told ``refuse`` at the end of ``run``, and gets no row."""
        run.sight = HIDDEN
        run.refusal = refused_error(refuse, self._flight.opening.session, ran=True)

    def copying(self, run: Run) -> bool:
        """True when the COPY that ``run`` is at has been asked about."""
        return self._copied == (run, run.done)

    def clear(self, run: Run, place: int = 0) -> bool:
        """True when rows of ``run`` (of the statement at ``place``; of a portal there is
        one) would be shown without asking."""
        known = self._clear.get(id(run.parts))
        return known is not None and known[0] is run.parts and known[1] == self._scene(run, place)

    def rows(self, run: Run) -> list[Question]:
        """The first row of ``run`` has come. No questions: ``run.sight`` is
        known now."""
        if self.clear(run, self._place(run)):
            run.sight = OPEN
            return []
        self._run = run
        self._shape = None
        if not run.fields:
            self._refuse(_UNDESCRIBED)
            return []
        statement = self._statement(run)
        self._learn_of(run, statement)
        self._fields = run.fields
        return self._resolve(last=False)

    def copy(self, run: Run, count: int) -> list[Question]:
        """CopyOutResponse has come, for ``count`` columns."""
        self._run = run
        self._copied = (run, run.done)
        statement = self._statement(run)
        shape = statement.copy if statement is not None else None
        if shape is None:
            self._refuse(_UNDESCRIBED)
            return []
        why = unmaskable(shape)
        if why:
            self._refuse(Refuse(why))
            return []
        self._shape = shape
        self._count = count
        self._learn_of(run, statement)
        flight = self._flight
        moved = flight.dirty or flight.displaced
        if moved and not (not flight.dirty and _QUALIFIED.fullmatch(shape.relation)):
            # What a name means to this session, a new one can't tell.
            self._fields = unknown(count, shape)
            return self._resolve(last=False)
        self.asked = next(self._numbers)
        self._stage = _COLUMNS
        talk = columns_errand(flight.opening, flight.destined, shape)
        return [Errand(self.asked, talk, "columns of a COPY")]

    def answer(self, answer: Answer) -> list[Question]:
        """The answer to ``asked``; no new questions when all is known."""
        stage = self._stage
        run = self._run
        if run is None or not self.asked:
            raise KeyError(self.asked)
        memory = self._flight.destined.memory
        if stage == _RESULT:
            if isinstance(answer, Refuse):
                self._refuse(answer)
            elif isinstance(answer, Plan):
                self._plan(run, answer)
            else:
                raise TypeError(f"a Result can't be answered with {type(answer).__name__}")
            self.asked = 0
            return []
        if not isinstance(answer, (Done, Refuse)):
            raise TypeError(f"an Errand can't be answered with {type(answer).__name__}")
        result = answer.result if isinstance(answer, Done) and not answer.error else None
        self.asked = 0
        if stage == _COLUMNS:
            assert self._shape is not None
            self._fields = result if isinstance(result, tuple) else ()
            return self._resolve(last=False)
        learn(memory, result)
        return self._resolve(last=True)

    def _learn_of(self, run: Run, statement: SqlStatement | None) -> None:
        """What the text says of the columns."""
        self._sources = origins_of(self._flight, run, statement, self._place(run))
        self._outputs = None
        if statement is None or statement.execute is not None or run.doubtful:
            return
        # What SHOW says may have been put there by code that can't be read, and
        # EXPLAIN shows what such code gives for constants.
        if statement.verb == "show" and self._flight.murky:
            return
        if statement.verb == "explain" and not run.readable:
            return
        self._outputs = statement.outputs

    def _place(self, run: Run) -> int:
        return run.done if self._flight.queue[0][0] == QUERY else 0

    def _statement(self, run: Run) -> SqlStatement | None:
        """The statement whose result comes now."""
        if run.intent is None:
            return None
        statements = run.intent.statements
        place = self._place(run)
        return statements[place] if place < len(statements) else None

    def _resolve(self, *, last: bool) -> list[Question]:
        flight = self._flight
        memory = flight.destined.memory
        run = self._run
        assert run is not None
        columns = resolve(
            memory, self._fields, self._outputs, self._sources, last=last, dirty=flight.dirty
        )
        self.asked = next(self._numbers)
        if isinstance(columns, Missing):
            self._stage = _CATALOG
            talk = CatalogErrand(flight.opening, flight.destined, columns)
            return [Errand(self.asked, talk, "catalog")]
        if self._shape is not None:
            self._fields = copied(memory, self._shape, self._fields)
            if len(self._fields) != self._count:
                self._fields = unknown(self._count, self._shape)
            columns = resolve(
                memory, self._fields, self._outputs, self._sources, last=True, dirty=flight.dirty
            )
            assert not isinstance(columns, Missing)
        self._stage = _RESULT
        return [Result(self.asked, run.command, columns)]

    def _plan(self, run: Run, plan: Plan) -> None:
        flight = self._flight
        if plan.withhold:
            flight.veiled = True
        if plan.detect is not None:
            flight.detect = plan.detect
        memory = flight.destined.memory
        masker: RowMasker | CopyMasker
        try:
            if self._shape is not None:
                limit = flight.opening.limit
                masker = CopyMasker(self._shape, self._fields, plan, memory, limit=limit)
            else:
                masker = RowMasker(self._fields, plan, memory)
        except ValueError:
            self._refuse(_MISFIT)
            return
        run.sight = OPEN if masker.idle else masker
        intent = run.intent
        if plan.lasting and masker.idle and self._shape is None and intent and not intent.steps:
            if len(self._clear) >= _MOST_CLEAR:
                self._clear.clear()
            # The parts are kept with it: while they live, nothing else has their id.
            self._clear[id(run.parts)] = (run.parts, self._scene(run, self._place(run)))

    def _scene(self, run: Run, place: int) -> _Scene:
        """All that, beside its parts, decides what may be seen of ``run``."""
        flight = self._flight
        return (
            place,
            run.fields,
            state(flight.destined.memory),
            flight.dirty,
            flight.displaced,
            flight.murky,
        )

    def _refuse(self, refuse: Refuse) -> None:
        if self._run is not None:
            self.hide(self._run, refuse)
