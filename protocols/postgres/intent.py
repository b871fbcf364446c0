"""What a text means to the wire: its parts, and what it does to names.

This is the seam to ``protocols.sql``; the query phase knows statements only in
these words.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from protocols.contract import EffectKind, Part
from protocols.sql.analyse import analyse
from protocols.sql.credentials import in_bytes, typed, without
from protocols.sql.findings import unparsed
from protocols.sql.sources import Sources
from protocols.sql.template import Recalled, template
from protocols.sql.words import Statement as SqlStatement

_CACHED: Final = 4096
"""Texts up to this many bytes are remembered, 2048 of them."""

_LEXER: Final = frozenset(("client_encoding", "standard_conforming_strings"))
_OPAQUE: Final = frozenset(("sql.do", "sql.call", "sql.unparsed"))
_TEMPORARY: Final = re.compile(rb"temp|u&", re.IGNORECASE)
"""What a text has in it that makes something temporary; U& can spell pg_temp."""
_CONJURES: Final = re.compile(
    rb"function|aggregate|routine|procedure|extension|schema", re.IGNORECASE
)
_PATHS: Final = frozenset(("search_path", "*"))


class Change(NamedTuple):
    """A change to what a name means; ``everything``: all names are dropped."""

    name: bytes
    everything: bool = False


class Step(NamedTuple):
    """What one statement has to do with names: the prepared statement that
    it ``runs``, a ``change`` after which a name has ``meaning``, the cursor
    that it ``fetches`` from or ``declares``."""

    runs: bytes | None = None
    change: Change | None = None
    meaning: Intent | None = None
    fetches: bytes | None = None
    declares: bytes | None = None


class Intent:
    """A text, understood as far as it can be. Immutable once made, but for
    ``sources``, which remembers by place what each statement reads, and
    ``undone``, its parts when some of the names that it calls are doubtful.
    ``conjures``: it may bring functions into being.

    ``steps`` has one entry per statement, () when none has to do with names.
    ``copies_in``: it may read CopyData.  ``guarded``: it changes a setting
    that the lexer depends on.  ``opaque``: code runs that may do anything to
    names.  ``defines``: it may change what the catalog says.  ``paths``: it
    changes what unqualified names mean.  ``hidden``: where ``raw`` has credentials;
    ``text`` has none of them.
    """

    __slots__ = (
        "complete",
        "conjures",
        "copies_in",
        "defines",
        "displaces",
        "guarded",
        "hidden",
        "opaque",
        "parts",
        "raw",
        "sources",
        "statements",
        "steps",
        "text",
        "undone",
        "unqualified",
    )

    def __init__(
        self,
        raw: bytes,
        text: str,
        parts: tuple[Part, ...],
        statements: tuple[SqlStatement, ...] = (),
        unqualified: frozenset[str] = frozenset(),
        *,
        like: Intent | None = None,
    ) -> None:
        self.raw = raw
        self.parts = parts
        if like is None:
            places = typed(text)
            self.hidden = in_bytes(text, places)
            self.text = without(text, places) if places else text
            self.statements = statements
            self.complete = all(part.complete for part in parts)
            self.guarded = any(
                effect.kind is EffectKind.CONTROL
                and effect.of == "setting"
                and effect.object in _LEXER
                for part in parts
                for effect in part.effects
            )
            self.opaque = any(part.action in _OPAQUE and not part.complete for part in parts)
            self.defines = self.opaque or any(
                part.facts.get("is_ddl") is not False for part in parts
            )
            paths = any(
                changed is None or (isinstance(changed, tuple) and not _PATHS.isdisjoint(changed))
                for changed in (part.facts.get("sets") for part in parts)
            )
            self.displaces = (
                paths or self.opaque or (self.defines and _TEMPORARY.search(raw) is not None)
            )
            self.sources: dict[int, Sources | None] = {}
            self.unqualified = unqualified.union(*(s.unqualified for s in statements))
            self.conjures = self.opaque or (self.defines and _CONJURES.search(raw) is not None)
            self.undone: dict[frozenset[str], tuple[Part, ...]] = {}
            self.copies_in = self.opaque or any(
                s.copy is not None and s.copy.direction == "in" and s.copy.via == "stdio"
                for s in statements
            )
            steps = tuple(_step(s) for s in statements)
            self.steps: tuple[Step | None, ...] = steps if any(steps) else ()
            return
        self.text = text
        # One by one: a loop over the names takes four times as long.
        self.complete = like.complete
        self.conjures = like.conjures
        self.copies_in = like.copies_in
        self.defines = like.defines
        self.displaces = like.displaces
        self.guarded = like.guarded
        self.hidden = like.hidden
        self.opaque = like.opaque
        self.sources = like.sources
        self.statements = like.statements
        self.steps = like.steps
        self.undone = like.undone
        self.unqualified = like.unqualified

    def reworded(self, raw: bytes, text: str) -> Intent:
        """The same meaning in another text (see ``protocols.sql.template``)."""
        return Intent(raw, text, self.parts, like=self)


def _step(statement: SqlStatement) -> Step | None:
    if statement.execute is not None:
        return Step(runs=_name(statement.execute))
    if statement.prepare is not None:
        prepared = statement.prepare
        meaning = Intent(
            prepared.text.encode("utf-8", "surrogateescape"),
            prepared.text,
            prepared.parts,
            unqualified=statement.unqualified,
        )
        return Step(change=Change(_name(prepared.name)), meaning=meaning)
    if statement.deallocate is not None:
        name = statement.deallocate
        return Step(change=Change(_name(name), everything=not name))
    if statement.discard == "all":
        return Step(change=Change(b"", everything=True))
    if statement.verb == "fetch":
        return Step(fetches=_name(statement.name))
    if statement.verb == "declare":
        return Step(declares=_name(statement.name))
    return None


def _name(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def study(raw: bytes) -> Intent:
    """What ``raw``, the text of a Query or Parse without its NUL, means."""
    known = _young.get(raw)
    if known is not None:
        return known
    intent = _old.get(raw)
    if intent is None:
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            part = unparsed("the text is not UTF-8")
            intent = Intent(raw, raw.decode("utf-8", "surrogateescape"), (part,))
        else:
            like = _recalled.find(text)
            if like is not None:
                return like.reworded(raw, text)
            intent = _studied(raw, text)
    if len(raw) <= _CACHED:
        _remember(raw, intent)
    return intent


def _studied(raw: bytes, text: str) -> Intent:
    shape = template(text)
    if shape is not None:
        known = _shapes.get(shape)
        if known is not None:
            _recalled.keep(text, shape, known)
            return known.reworded(raw, text)
    analysis = analyse(text)
    intent = Intent(raw, text, analysis.parts, analysis.statements)
    if shape is not None and len(analysis.statements) == 1 and not intent.steps:
        if len(_shapes) >= _MOST:
            _shapes.clear()
        _shapes[shape] = intent
        _recalled.keep(text, shape, intent)
    return intent


def _remember(raw: bytes, intent: Intent) -> None:
    """The texts that came last are known by themselves."""
    if len(_young) >= _MOST // 2:
        _old.clear()
        _old.update(_young)
        _young.clear()
    _young[raw] = intent


_MOST: Final = 2048
_young: Final[dict[bytes, Intent]] = {}
_old: Final[dict[bytes, Intent]] = {}
"""What was understood of the last texts, by the text."""
_shapes: Final[dict[str, Intent]] = {}
"""What was understood of a text with this template."""
_recalled: Final[Recalled[Intent]] = Recalled(_MOST)
"""The same, found sooner."""
