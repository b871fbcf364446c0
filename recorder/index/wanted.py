"""Which sessions, and which of their items, are asked for. An index only narrows;
what is said here decides, so that answers are the same without one."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import re2

from recorder.catalog import VERDICT_NAMES, Line
from recorder.index.grams import branches, folded, groups, words
from recorder.index.items import Item
from recorder.records import CommandEntry, Event

_EDGES = re.compile(r"[\^$]|\\[AzBC]")
"""In a pattern: what may ask for the beginning or the end of a text."""
_TOLD = 200
"""Characters of why a text is no pattern: it repeats the text."""
_TERM = re.compile(r'"([^"]*)"|(\S+)')


class Pattern:
    """An RE2 pattern (``fixed``: a plain text). ``ValueError`` if it is none."""

    def __init__(self, source: str, *, ignore_case: bool = False, fixed: bool = False) -> None:
        options = re2.Options()
        options.case_sensitive = not ignore_case
        options.log_errors = False
        # Where its groups are is of no interest, and with hundreds of them takes minutes.
        options.never_capture = True
        try:
            self._compiled = re2.compile(re2.escape(source) if fixed else source, options)
        except re2.error as error:
            why = error.args[0] if error.args else ""
            told = why.decode("utf-8", "replace") if isinstance(why, bytes) else str(why)
            raise ValueError(f"not a pattern: {told[:_TOLD]}") from None
        self.branches = ((folded(source),),) if fixed else branches(source, ignore_case)
        """What matches has all the texts of one of these in it; () where that is not known."""
        if fixed and ignore_case and not source.isascii():
            self.branches = ()
        self._joins = fixed or _EDGES.search(source) is None

    def found_in(self, texts: Collection[str]) -> bool:
        """Whether one of ``texts`` matches."""
        if len(texts) > 1 and not self.may_be_in(texts):
            return False
        search = self._compiled.search
        return any(search(_searched(text)) for text in texts)

    def may_be_in(self, texts: Iterable[str]) -> bool:
        """Whether one of many may match: one search over all of them, as a search for each
        costs more by itself. Errs towards yes: what says where a text begins or ends is told
        by a search of each alone."""
        return not self._joins or bool(self._compiled.search(_searched("\n".join(texts))))


def _searched(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


class Words:
    """Words that must all be there, in any order and case: ``users``, ``"from users"`` (one after
    the other), ``sel*`` (the start of a word). ``ValueError`` where there is no word in it."""

    def __init__(self, source: str) -> None:
        self._terms: list[str] = []
        self.literals: list[str] = []
        for quoted, single in _TERM.findall(source):
            term = words(quoted or single)
            if term:
                open_end = "" if (quoted or single).endswith("*") else "\0"
                self._terms.append("\0" + "\0".join(term) + open_end)
                self.literals += term
        if not self._terms:
            raise ValueError("there is no word to look for")

    def found_in(self, texts: Collection[str]) -> bool:
        """Whether ``texts`` together have them."""
        there = "\0" + "\0".join(word for text in texts for word in [*words(text), ""]) + "\0"
        return all(term in there for term in self._terms)


@dataclass(frozen=True)
class Wanted:
    """None and empty mean any. ``verdict``, ``rule``, ``text`` and ``pattern`` are all about the
    same item; the rest is about the session. ``approval`` is an id, a state, or who decided."""

    principal: str | None = None
    group: str | None = None
    run: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    target: str | None = None
    database: str | None = None
    protocol: str | None = None
    status: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    denied: bool = False
    held: bool = False
    masked: bool = False
    approval: str | None = None
    verdict: str | None = None
    rule: str | None = None
    text: Words | None = None
    pattern: Pattern | None = None

    def session(self, line: Line) -> bool:
        """Whether the session is one. About approvals, ask ``approved`` too."""
        return (
            self.principal in (None, line.principal)
            and (self.group is None or self.group in line.groups)
            and self.run in (None, line.run)
            and self.target in (None, line.target)
            and self.database in (None, line.database)
            and self.protocol in (None, line.protocol)
            and self.status in (None, line.status)
            and all(line.tags.get(key) == value for key, value in self.tags)
            and (self.since is None or line.begun >= self.since)
            and (self.until is None or line.begun < self.until)
            and bool(line.blocked or not self.denied)
            and bool(line.held or not self.held)
            and bool(line.masked or not self.masked)
        )

    def approved(self, names: Collection[str]) -> bool:
        """Whether a session with these ``approval_names`` is one."""
        return self.approval is None or self.approval in names

    @property
    def about_items(self) -> bool:
        """Whether a session is one only if an item is."""
        some = (self.verdict, self.rule, self.text, self.pattern)
        return any(value is not None for value in some)

    def item(self, item: Item) -> bool:
        """Whether the item is one."""
        if self.verdict is not None or self.rule is not None:
            entry = item.entry
            if not isinstance(entry, CommandEntry):
                return False
            if self.verdict is not None and self.verdict != verdict_word(entry.verdict):
                return False
            if self.rule is not None and self.rule not in entry.rules:
                return False
        if self.text is None and self.pattern is None:
            return True
        texts = item.texts()
        return (self.text is None or self.text.found_in(texts)) and (
            self.pattern is None or self.pattern.found_in(texts)
        )

    @cached_property
    def grams(self) -> tuple[tuple[str, ...], ...]:
        """The text of such an item has all of one of these in it; () where that is not known."""
        words = self.text.literals if self.text else []
        either = self.pattern.branches if self.pattern else ()
        found = [groups([*words, *branch], len(either)) for branch in either or ((),)]
        return tuple(found) if all(found) else (groups(words),) if groups(words) else ()

    def marks(self) -> Iterator[tuple[str, str]]:
        """The marks (``marks_of``) that such a session has."""
        for kind in ("principal", "group", "run", "target", "database", "protocol", "status"):
            value = getattr(self, kind)
            if value is not None:
                yield kind, value
        for key, value in self.tags:
            yield "tag", f"{key}={value}"
        for flag in ("denied", "held", "masked"):
            if getattr(self, flag):
                yield "with", flag
        for kind in ("approval", "verdict", "rule"):
            value = getattr(self, kind)
            if value is not None:
                yield kind, value


def verdict_word(verdict: int) -> str:
    """``allow``, ``mask``, ``hold``, ``block``, or the number of another."""
    return VERDICT_NAMES[verdict] if verdict < len(VERDICT_NAMES) else str(verdict)


def marks_of(line: Line) -> Iterator[tuple[str, str]]:
    """What a session can be chosen by, as far as its row tells."""
    for kind in ("principal", "run", "target", "database", "protocol", "status"):
        yield kind, getattr(line, kind)
    for group in line.groups:
        yield "group", group
    for key, value in line.tags.items():
        yield "tag", f"{key}={value}"
    for flag, count in (("denied", line.blocked), ("held", line.held), ("masked", line.masked)):
        if count:
            yield "with", flag


def approval_names(item: Item) -> Iterator[str]:
    """By what an approval is looked for."""
    entry = item.entry
    if isinstance(entry, Event) and entry.kind == "approval":
        people: Any = entry.fields.get("approvers")
        found = [entry.fields.get("id"), entry.fields.get("state")]
        found += (
            [p.get("subject") for p in people if isinstance(p, dict)]
            if (isinstance(people, list))
            else []
        )
        yield from (name for name in found if isinstance(name, str) and name)
