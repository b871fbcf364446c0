"""What a recorded git session came to, gathered from its events and its client leg."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from recorder.errors import FormatError
from recorder.git_story import Line, What, lines
from recorder.reader import Recording
from recorder.records import CommandEntry, Event
from recorder.streams import Told

MOST: Final = 200
"""Of each: updates, objects wanted, options, refusals. More are counted only."""
_REFS_MAX: Final = 20_000


@dataclass(slots=True)
class Update:
    """One ref update. ``forced``, ``commits`` and ``lost`` are None where they are not
    known; ``update`` then is "" or a word of the push. ``report`` is what the client
    was told of it: "ok", "ng" or "" for nothing, ``why`` the reason; ``ours``: it was
    the gateway that told it."""

    repository: str
    ref: str
    old: str
    new: str
    update: str = ""
    forced: bool | None = None
    commits: int | None = None
    lost: int | None = None
    report: str = ""
    why: str = ""
    ours: bool = False


@dataclass(slots=True)
class Held:
    """An approval: its id, its last state, and those who said yes or no."""

    id: str
    state: str
    yes: list[str]
    no: list[str]
    reasons: list[str]


@dataclass(slots=True)
class GitFacts:
    """Everything that ``show`` says. Counts are of all, lists of the first ``MOST``."""

    command_line: str = ""
    repository: str = ""
    service: str = ""
    updates: list[Update] = field(default_factory=list)
    updates_count: int = 0
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """Old, new, ref as the client asked: where no event says more."""
    asked_count: int = 0
    options: list[str] = field(default_factory=list)
    wants: list[str] = field(default_factory=list)
    wants_count: int = 0
    limits: list[str] = field(default_factory=list)
    refs: int = 0
    pack_in: int = 0
    pack_out: int = 0
    verdict: int = 0
    rules: tuple[str, ...] = ()
    reason: str = ""
    approval: Held | None = None
    refusal: str = ""
    refused: list[str] = field(default_factory=list)
    refused_count: int = 0
    unpack: str = ""
    errors: list[str] = field(default_factory=list)
    exit: str = ""
    open: bool = False
    """The session goes on, or has no end on record."""
    broken: str = ""
    """Why not all of it could be read."""


def gather(recording: Recording) -> GitFacts:
    """Read all of ``recording``; what is after damage is missing."""
    reader = _Reader()
    try:
        for item in lines(recording):
            if isinstance(item, Told):
                reader.told(item.entry)
            elif isinstance(item, Line):
                reader.line(item)
    except FormatError as error:
        reader.facts.broken = str(error)
    reader.facts.open = recording.end is None
    return reader.finish()


class _Reader:
    def __init__(self) -> None:
        self.facts = GitFacts()
        self._names: dict[str, str] = {}
        self._reports: dict[str, tuple[str, str, bool]] = {}
        self._wanted: set[str] = set()

    def finish(self) -> GitFacts:
        facts = self.facts
        for update in facts.updates:
            update.report, update.why, update.ours = self._reports.get(update.ref, ("", "", False))
        if not facts.updates:
            for old, new, ref in facts.asked:
                update = Update(facts.repository, ref, old, new)
                update.report, update.why, update.ours = self._reports.get(ref, ("", "", False))
                facts.updates.append(update)
            facts.updates_count = facts.asked_count
        return facts

    # -- events ------------------------------------------------------------

    def told(self, entry: CommandEntry | Event) -> None:
        if isinstance(entry, CommandEntry):
            self._command(entry)
            return
        facts, fields = self.facts, entry.fields
        if entry.kind == "push" and "more" in fields:
            facts.updates_count += _number(fields, "more") or 0
        elif entry.kind == "push":
            facts.updates_count += 1
            facts.refusal = facts.refusal or _text(fields, "refused")
            if len(facts.updates) < MOST:
                facts.updates.append(_update(fields))
        elif entry.kind == "destination":
            facts.repository = _text(fields, "repository") or _text(fields, "database")
        elif entry.kind == "approval":
            facts.approval = _held(fields)
        elif entry.kind == "refusal":
            facts.refusal = _text(fields, "reason") or facts.refusal
        elif entry.kind == "aside":
            # What only the operator was told: the upstream could not be reached at all.
            facts.refusal = facts.refusal or _text(fields, "message")
        elif entry.kind == "identity":
            # Clients offer one key after another: those before the good one say nothing.
            others = [what for what in facts.refused if not what.startswith("key ")]
            facts.refused_count -= len(facts.refused) - len(others)
            facts.refused = others
        elif entry.kind == "refused":
            facts.refused_count += 1
            if len(facts.refused) < MOST:
                told = [_text(fields, key) for key in ("what", "line", "why")]
                facts.refused.append(": ".join(part for part in told if part))

    def _command(self, entry: CommandEntry) -> None:
        # A later one counts more: the listing comes first, then what was wanted.
        # But what was once blocked or held stays so.
        facts = self.facts
        if entry.verdict >= facts.verdict:
            facts.verdict, facts.rules, facts.reason = entry.verdict, entry.rules, entry.reason

    # -- the client leg ----------------------------------------------------

    def line(self, line: Line) -> None:
        facts, words = self.facts, line.words
        if line.what is What.PACK:
            if line.server:
                facts.pack_out += line.size
            else:
                facts.pack_in += line.size
        elif line.what is What.REF:
            facts.refs += 1
            if len(self._names) < _REFS_MAX and words[1] != "capabilities^{}":
                known = self._names.get(words[0])
                if known is None or known == "HEAD":
                    self._names[words[0]] = words[1]
        elif line.what is What.WANT:
            self._want(words[0])
        elif line.what is What.ASK:
            self._ask(*words)
        elif line.what is What.UPDATE:
            facts.asked_count += 1
            if len(facts.asked) < MOST:
                facts.asked.append((words[0], words[1], words[2]))
        elif line.what is What.OPTION and len(facts.options) < MOST:
            facts.options.append(words[0])
        elif line.what is What.REPORT:
            self._report(line)
        elif line.what in (What.ERROR, What.END) and len(facts.errors) < MOST:
            facts.errors.append(words[0])
        elif line.what is What.EXEC:
            facts.command_line = words[0]
            for service in ("upload-pack", "receive-pack", "upload-archive"):
                if words[0].startswith((f"git-{service} ", f"git {service} ")):
                    facts.service = service
        elif line.what is What.EXIT:
            facts.exit = " ".join(words)
        elif line.what is What.LOST and not facts.broken:
            facts.broken = words[0]

    def _want(self, wanted: str) -> None:
        facts = self.facts
        if wanted in self._wanted:
            return  # version 2 says it again in each round
        if len(self._wanted) < _REFS_MAX:
            self._wanted.add(wanted)
        facts.wants_count += 1
        if len(facts.wants) < MOST:
            facts.wants.append(self._names.get(wanted, wanted[:7]))

    def _ask(self, word: str, value: str) -> None:
        facts = self.facts
        if word == "want-ref":
            self._want(value) if value in self._names else self._want_ref(value)
            return
        told = {
            "deepen": "depth {}",
            "deepen-since": "since {}",
            "deepen-not": "not {}",
            "filter": "filter {}",
            "argument": "{}",
        }.get(word)
        if told is not None and len(facts.limits) < MOST:
            limit = told.format(value)
            if limit not in facts.limits:
                facts.limits.append(limit)

    def _want_ref(self, ref: str) -> None:
        if ref not in self._wanted and len(self._wanted) < _REFS_MAX:
            self._wanted.add(ref)
            self.facts.wants_count += 1
            if len(self.facts.wants) < MOST:
                self.facts.wants.append(ref)

    def _report(self, line: Line) -> None:
        word, name, why = line.words
        if word == "unpack":
            self.facts.unpack = f"{name} {why}".strip()
        elif len(self._reports) < _REFS_MAX:
            self._reports[name] = (word, why, line.ours)


def _text(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    return value if isinstance(value, str) else ""


def _number(fields: Mapping[str, Any], key: str) -> int | None:
    value = fields.get(key)
    return value if type(value) is int else None


def _update(fields: Mapping[str, Any]) -> Update:
    forced = fields.get("forced")
    return Update(
        repository=_text(fields, "repository") or _text(fields, "repo"),
        ref=_text(fields, "ref"),
        old=_text(fields, "old"),
        new=_text(fields, "new"),
        update=_text(fields, "update"),
        forced=forced if isinstance(forced, bool) else None,
        commits=_number(fields, "commits"),
        lost=_number(fields, "lost"),
    )


def _held(fields: Mapping[str, Any]) -> Held:
    found = Held(_text(fields, "id"), _text(fields, "state"), [], [], [])
    people = fields.get("approvers")
    for person in people[:MOST] if isinstance(people, list) else []:
        if isinstance(person, dict):
            (found.yes if person.get("approve") is True else found.no).append(
                _text(person, "subject")
            )
            found.reasons.append(_text(person, "reason"))
    return found
