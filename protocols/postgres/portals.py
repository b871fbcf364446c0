"""What the server knows by name: prepared statements and portals.

A name means what the server thinks it means, and the server learns of changes
only when it gets to them, and of none that it skips.  So two maps: ``sure``,
what the server has confirmed, and ``now``, what it has if all that is in
flight succeeds.  Within one batch (up to Sync) ``now`` is exact for whatever
comes later in that batch: a failure before it would skip it too.  Across
batches a name with changes in flight may mean several texts; ``find`` then
says ``UNSURE`` and the lane waits until the server has spoken.

Names are cut to 63 bytes, for that is how the server's tables compare them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, TypeAlias

from protocols.contract import Part
from protocols.postgres.fields import Field
from protocols.postgres.intent import Change, Intent
from protocols.sql.findings import not_prepared

NAME: Final = 63
MEANINGS: Final = 16
"""More texts for one cursor are not told apart: it counts as unknown."""
_HOLD: Final = re.compile(rb"\bhold\b", re.IGNORECASE)


class Statement:
    """A prepared statement: by Parse, or by PREPARE in SQL. ``announced`` are the types
    that its Parse named, ``types`` those that the server told, once it was asked."""

    __slots__ = ("announced", "batch", "context", "intent", "name", "types")

    def __init__(self, name: bytes, intent: Intent, types: tuple[str, ...], batch: int) -> None:
        self.name = name
        self.intent = intent
        self.types = types
        self.announced = types
        self.batch = batch
        self.context = (name.decode("utf-8", "surrogateescape"),)

    def same(self, other: Statement) -> bool:
        """True when it makes no difference to a judge which of them runs."""
        return self.intent.raw == other.intent.raw and self.types == other.types


class Sight:
    """What may be seen of rows: ``OPEN`` all, ``HIDDEN`` none. Anything else
    in its place masks them."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


OPEN: Final = Sight("open")
HIDDEN: Final = Sight("hidden")


class Run:
    """Something that runs: a Query, or a portal from its Bind on.

    ``sight`` is None until it is known what may be seen of its rows.
    ``learnt`` is what running it does to names, one entry per statement;
    ``parts`` is what it was judged by; ``statement`` what a portal was bound to;
    ``described_as`` the body of its RowDescription, where that was looked at.
    """

    __slots__ = (
        "batch",
        "command",
        "described",
        "described_as",
        "done",
        "fields",
        "intent",
        "learnt",
        "masked",
        "name",
        "parts",
        "refusal",
        "runs",
        "sight",
        "statement",
    )

    def __init__(self, command: int, intent: Intent | None, masked: bool, batch: int) -> None:
        self.command = command
        self.intent = intent
        self.masked = masked
        self.batch = batch
        self.sight: object = None if masked else OPEN
        self.fields: tuple[Field, ...] | None = None
        self.described = False
        self.described_as = b""
        self.done = 0
        self.refusal: bytes = b""
        self.name = b""
        self.learnt: tuple[Learnt, ...] = ()
        self.runs: Runs = ()
        self.parts: tuple[Part, ...] = ()
        self.statement: Statement | None = None

    @property
    def doubtful(self) -> bool:
        """May a function in it be another than it seems?"""
        intent = self.intent
        return intent is None or (not intent.steps and self.parts is not intent.parts)

    @property
    def readable(self) -> bool:
        """Is all that it does known?"""
        return self.intent is not None and all(part.complete for part in self.parts)


Learnt: TypeAlias = "tuple[Change | None, Statement | None, int]"
"""A change to a name (None: no change), the statement that the name means
after it (None: nothing), and the batch that it was sent in."""


Runs: TypeAlias = "tuple[Statement | Intent | None, ...]"
"""What a text runs by name: prepared statements, and the texts that cursors
were declared with. None is one that the gateway hasn't seen."""


class Unsure:
    """The type of ``UNSURE``."""

    __slots__ = ()


UNSURE: Final = Unsure()


class Names:
    """The prepared statements of a session, as its server sees them.

    ``batch`` counts the units that fail as a whole: it grows with each Sync
    and around each Query. ``doubted`` are the names that were there when code
    ran that can't be read: it may have prepared anything under them.
    """

    __slots__ = (
        "all_changed",
        "alls",
        "batch",
        "changed",
        "doubted",
        "epoch",
        "now",
        "pending",
        "sure",
    )

    def __init__(self) -> None:
        self.sure: dict[bytes, Statement] = {}
        self.now: dict[bytes, Statement] = {}
        self.changed: dict[bytes, int] = {}
        self.pending: dict[bytes, int] = {}
        self.all_changed = 0
        self.alls = 0
        self.batch = 1
        self.epoch = 0
        """Another whenever a name may have come to mean something else, but for the
        unnamed statement, which each Parse of it replaces."""
        self.doubted: set[bytes] = set()

    def find(self, name: bytes, flying: Iterable[Learnt] | None) -> Statement | Unsure | None:
        """What ``name`` means to a message sent now. ``flying`` are the
        changes that the server hasn't confirmed, in order; None when they are
        too many to go through, which makes a name in flight ``UNSURE``."""
        name = name[:NAME]
        if not self.changed and not self.all_changed:
            return self.now.get(name)
        last = max(self.changed.get(name, 0), self.all_changed)
        if last in (0, self.batch):
            return self.now.get(name)
        if flying is None:
            return UNSURE
        known = self.sure.get(name)
        for change, statement, _ in flying:
            if change is not None and change.name[:NAME] == name and statement is not None:
                if known is not None and not known.same(statement):
                    return UNSURE
                known = statement
        return known

    def expect(self, change: Change, statement: Statement | None, batch: int) -> None:
        """A change was sent in ``batch``; note what it means if it succeeds."""
        if change.name or statement is None:
            self.epoch += 1
        if change.everything:
            self.all_changed = batch
            self.alls += 1
            self.now = {b"": self.now[b""]} if b"" in self.now else {}
            return
        name = change.name[:NAME]
        self.changed[name] = batch
        self.pending[name] = self.pending.get(name, 0) + 1
        if self.doubted:
            self.doubted.discard(name)
        if statement is None:
            self.now.pop(name, None)
        else:
            self.now[name] = statement

    def doubt(self) -> None:
        """Code runs that can't be read. A name that is prepared after it is
        what it says: preparing one that exists fails."""
        self.epoch += 1
        self.doubted.update(name for name in self.now if name)

    def confirm(self, change: Change, statement: Statement | None) -> None:
        """The server said that it made this change."""
        if not change.everything:
            self.confirm_name(change.name[:NAME], statement)
            return
        self.sure = {b"": self.sure[b""]} if b"" in self.sure else {}
        self.alls -= 1
        if self.alls <= 0:
            self.all_changed = 0

    def confirm_name(self, name: bytes, statement: Statement | None) -> None:
        """The same for one name. With no other change to it in flight it is
        certain again."""
        if statement is None:
            self.sure.pop(name, None)
        else:
            self.sure[name] = statement
        left = self.pending.get(name, 0) - 1
        if left > 0:
            self.pending[name] = left
        else:
            self.pending.pop(name, None)
            self.changed.pop(name, None)

    def recount(self, flying: Iterable[Learnt]) -> None:
        """Changes that were sent were skipped: build ``now`` again."""
        self.epoch += 1
        self.now = dict(self.sure)
        self.settle()
        for change, statement, batch in flying:
            if change is not None:
                self.expect(change, statement, batch)

    def renew(self, statement: Statement) -> None:
        """A Parse of the unnamed statement was sent, and confirmed: ``statement``."""
        self.sure[b""] = self.now[b""] = statement

    def settle(self) -> None:
        """Nothing is in flight: what is sure is all there is."""
        if self.changed or self.all_changed:
            self.changed.clear()
            self.pending.clear()
            self.all_changed = self.alls = 0


class Cursors:
    """What the cursors and named portals of a session may return.

    A name keeps every text that it was given, until the transaction is over:
    which of them succeeded doesn't matter then. Errs to more.
    """

    __slots__ = ("_texts",)

    def __init__(self) -> None:
        self._texts: dict[bytes, list[Intent]] = {}

    def add(self, name: bytes, intent: Intent) -> None:
        """``name`` may return what ``intent`` says."""
        texts = self._texts.setdefault(name[:NAME], [])
        if intent not in texts:
            texts.append(intent)

    def find(self, name: bytes) -> Runs:
        """What ``name`` may return."""
        texts = self._texts.get(name[:NAME])
        return tuple(texts) if texts and len(texts) <= MEANINGS else (None,)

    def settle(self) -> None:
        """No transaction is open: only cursors WITH HOLD are left."""
        if self._texts:
            self._texts = {
                name: kept
                for name, texts in self._texts.items()
                if (kept := [t for t in texts if _HOLD.search(t.raw)])
            }

    def __bool__(self) -> bool:
        return bool(self._texts)


def judged(intent: Intent, runs: Runs, doubted: set[bytes]) -> tuple[Part, ...]:
    """The parts of ``intent``, and of what it runs by name; what is unknown or
    doubted there makes it incomplete."""
    parts: list[Part] = []
    excused = [
        not_prepared(x.name.decode("utf-8", "surrogateescape"))
        for x in runs
        if isinstance(x, Statement)
    ]
    for part in intent.parts:
        if not part.complete and part.why_incomplete in excused:
            # All that was missing is what it runs, and that follows.
            parts.append(Part(part.action, part.effects, part.facts, True))
        else:
            parts.append(part)
    why = ""
    for found in runs:
        if found is None:
            why = "runs a prepared statement or cursor that the gateway has not seen"
            continue
        inner = found if isinstance(found, Intent) else found.intent
        if inner is not intent:
            parts.extend(inner.parts)
        if isinstance(found, Statement) and found.name in doubted:
            why = "code that can't be read may have prepared another statement of that name"
    if why:
        parts.append(Part("sql.execute", (), {}, False, why))
    return tuple(parts)
