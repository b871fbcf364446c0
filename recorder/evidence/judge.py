"""What the ledger adds to a verdict about a recording."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from recorder import verify as checks
from recorder.catalog import instant
from recorder.errors import FormatError, MissingKeyError
from recorder.evidence.anchors import Anchor, Trust, ahead, anchors_for, anchors_of
from recorder.evidence.facts import header_digest
from recorder.evidence.glance import Glance, Unsure
from recorder.evidence.inbox import inbox_directory, ledger_directory, read_items, waiting
from recorder.evidence.leaves import Kind, unpack_fields
from recorder.evidence.notes import NoteError, read_note
from recorder.evidence.watch import Entry, LedgerFault, Watch
from recorder.framing import FILE_HEADER
from recorder.live import LiveSession, live_sessions
from recorder.log_reader import LogFile
from recorder.parted import PartedLog, log_of, parts_at
from recorder.reader import Recording, every_log
from recorder.sealed import read_sealed
from recorder.state import log_path, part_of, session_of
from recorder.verify import Verdict
from recorder.wrapped import wrapped_of


def has_ledger(state: Path) -> bool:
    """Is there one, or what is left of one?"""
    directory = ledger_directory(state)
    return (directory / "root.pub").exists() or (directory / "tile").exists()


class Judge:
    """Judges the recordings of one state directory by its ledger, which is
    checked as a whole first. ``LedgerFault`` when it is not good itself.
    ``glance``: by a session's own leaves alone, as far as these will do;
    ``Unsure``, from everything, where they don't."""

    def __init__(
        self, state: Path, trust: Trust, deep: bool = False, *, glance: bool = False
    ) -> None:
        self.state = state
        self._trust = trust
        self.watch: Watch | Glance
        self.anchors: list[Anchor] = []
        self.doubts: list[str] = []
        if glance:
            self.watch = Glance(ledger_directory(state), trust.root)
        else:
            self.watch = Watch(ledger_directory(state), trust.root, deep)
            self.anchors, self.doubts = anchors_of(self.watch, trust)
            told = ahead(self.watch.checkpoint.at, time.time_ns())
            self.doubts += [f"{told} of this one"] if told else []
        self._underway: set[str] | None = None
        self._journals: set[str] = set()
        self._deleting: set[str] = set()

    def _untold(self, verdict: Verdict) -> Verdict:
        """Good in itself, and the ledger does not tell of its end yet: to whoever names a key
        that is not enough. What says so (a journal, the inbox) is signed by nobody."""
        scope = "internally consistent; the ledger does not have its end yet"
        if verdict.status == checks.OK and self.watch.trusted:
            message = f"{verdict.message}; the ledger does not have its end yet"
            return replace(verdict, status=checks.INCOMPLETE, message=message, scope=scope)
        return replace(verdict, scope=scope)

    @property
    def underway(self) -> set[str]:
        """Sessions that a journal or the inbox still holds."""
        if self.watch.partial:
            raise Unsure("a session's own leaves do not tell what is missing")
        if self._underway is None:
            found: set[str] = set()
            done: dict[Path, set[int]] = {}
            for live in live_sessions(self.state / "journal"):
                sealed = done.setdefault(live.path, read_sealed(live.path))
                if live.number not in sealed:
                    found.add(str(live.header["session"]))
            self._journals = set(found)
            for path in waiting(inbox_directory(self.state)):
                try:
                    items = read_items(path)
                except (OSError, FormatError):
                    continue
                for kind, fields in items:
                    if kind is Kind.DELETION:
                        self._deleting.add(str(unpack_fields(kind, fields)["session"]))
                    found.add(str(unpack_fields(kind, fields).get("session", "")))
            self._underway = found
        return self._underway

    @property
    def in_journals(self) -> set[str]:
        """Sessions of which a journal has what is not in a Log. The inbox can't make up for
        records: its leaves are there only when the Log is."""
        return self._journals if self.underway else set()

    def stale(self) -> bool:
        """Whether the ledger has grown since it was read."""
        try:
            return read_note(ledger_directory(self.state) / "checkpoint") != self.watch.raw_note
        except (NoteError, OSError):
            return False

    def judge(self, path: Path) -> Verdict:
        """A Log, with all of its parts, or one part by its name. Raises ``OSError`` only."""
        try:
            log = log_of(path)
        except FormatError:
            verdict = replace(checks.verify_file(path), session=session_of(path))
            part = part_of(path)
            if verdict.status != checks.INCOMPLETE or part is None:
                return verdict
            return self._cut_off(verdict, self.watch.entry(verdict.session), part)
        try:
            verdict = checks.verify(log)
            if verdict.status in (checks.CORRUPT, checks.TAMPERED):
                return verdict
            part = part_of(path)
            if session_of(path) != verdict.session or part is None:
                return _tampered(verdict, 0, 0, "it lies under the name of another session")
            if not _in_place(path, log):
                return _tampered(verdict, 0, 0, "it lies under another day than its own")
            entry = self.watch.entry(verdict.session)
            found = contradiction(log, entry)
            if found is not None:
                return _tampered(verdict, *found)
            if part and 0 not in parts_at(path):
                return self._cut_off(verdict, entry, 0)
            leaf = leaf_of(log, entry)
            if leaf is not None:
                anchors = self.anchors
                if isinstance(self.watch, Glance):
                    anchors = anchors_for(self.watch, leaf, self._trust)
                verdict = dated(vouched(verdict, leaf, self.watch, anchors), log, entry)
                return self._noted(verdict, log)
            if log.end is None:
                return self._cut_off(verdict, entry, verdict.part)
            return self._not_there(verdict, entry)
        finally:
            log.close()

    def judge_open(self, live: LiveSession) -> Verdict:
        """A session that a journal holds: what there is of it."""
        verdict = checks.verify(live)
        if verdict.status in (checks.CORRUPT, checks.TAMPERED):
            return verdict
        entry = self.watch.entry(verdict.session)
        found = contradiction(live, entry)
        if found is not None:
            return _tampered(verdict, *found)
        parts = {} if entry is None else entry.parts
        gone = [part for part in parts if part >= len(live.roots)]
        if gone or verdict.offset is not None:
            return self._cut_off(verdict, entry, min(gone, default=verdict.part))
        if not parts:
            return verdict if verdict.status != checks.OK else self._untold(verdict)
        told = f"its {len(parts)} first parts" if len(parts) > 1 else "its first part"
        found_leaf = max(index for index, _ in parts.values())
        told += f" in the ledger {self.watch.chain.origin} (up to leaf {found_leaf})"
        scope = f"{told}; of the rest it has no leaf yet"
        return replace(self._untold(verdict), scope=scope)

    def _cut_off(self, verdict: Verdict, entry: Entry | None, part: int) -> Verdict:
        """Something is missing from ``part`` on: is that known to have been there?"""
        underway = self.in_journals
        if entry is not None and (entry.deletion is not None or verdict.session in self._deleting):
            return self._gone(verdict.session)  # a deletion that is not through
        leaf = None if entry is None else entry.parts.get(part) or entry.end
        where = verdict.offset or 0 if part == verdict.part else 0
        if leaf is not None:
            message = f"it was cut off: the ledger has more of it (leaf {leaf[0]})"
            if where == 0:
                message = f"part {part} was removed: the ledger has it (leaf {leaf[0]})"
            return _tampered(verdict, part, where, message)
        if verdict.session in underway:
            return self._not_there(verdict, entry)
        message = "the ledger knows its beginning; the rest is neither here nor in a journal"
        return _tampered(verdict, part, where, message)

    def _noted(self, verdict: Verdict, log: LogFile | PartedLog) -> Verdict:
        """With what the ledger says is lost of it, and what is lost without its knowing."""
        message = verdict.message
        gaps = self.watch.gaps.get(verdict.session, [])
        for index, leaf in gaps:
            message += f"; {leaf.text('reason')}, {instant(leaf.at)} (leaf {index})"
        try:
            wrapped_of(log)
        except MissingKeyError as error:
            if not gaps:
                message += f"; its masked originals can't be opened: {error}"
        return replace(verdict, message=message)

    def _not_there(self, verdict: Verdict, entry: Entry | None) -> Verdict:
        if verdict.session in self.underway:
            return self._untold(verdict)
        message = "the ledger does not know it: it was put here, or put in another's place"
        if entry is not None:
            message = "the ledger knows its beginning, and of no such end"
        return _tampered(verdict, verdict.part, 0, message)

    def missing(self) -> list[Verdict]:
        """Sessions that the ledger knows and the disk has not."""
        assert isinstance(self.watch, Watch)
        gone = self.watch.sessions.keys() - set(map(session_of, every_log(self.state)))
        gone = {name for name in gone if self.sealed(name) or name not in self.in_journals}
        if gone:  # one may have been sealed while we looked
            gone -= set(map(session_of, every_log(self.state)))
        return [self._gone(session) for session in sorted(gone)]

    def sealed(self, session: str) -> bool:
        """Had it a Log? Its end is handed over only then."""
        entry = self.watch.entry(session)
        return entry is not None and entry.end is not None

    def gone(self, session: str) -> Verdict | None:
        """The verdict about a session that has no recording, if it was one: by its id, or by
        the start of it where the whole ledger was read."""
        if isinstance(self.watch, Watch):
            begin = session.upper()
            found = [name for name in self.watch.sessions if name.upper().startswith(begin)]
            session = found[0] if len(found) == 1 else session
        return self._gone(session) if self.watch.entry(session) is not None else None

    def _gone(self, session: str) -> Verdict:
        entry = self.watch.entry(session) or Entry()
        scope = f"as the ledger says, {self.watch.chain.origin}"
        if entry.deletion is not None:
            index, leaf = entry.deletion
            message = f"deleted {instant(leaf.at)}: {leaf.text('reason')} (leaf {index})"
            return Verdict(checks.DELETED, message, session, scope=scope)
        if session in self.underway and session in self._deleting:
            # Signed by nobody yet: whoever took it away could have put that there.
            message = "gone; a tombstone waits for the ledger, which does not have it yet"
            return Verdict(checks.INCOMPLETE, message, session, 0, scope=scope)
        place = entry.start or entry.end or next(iter(entry.parts.values()))
        message = f"removed: the ledger has it from {instant(place[1].at)} (leaf {place[0]})"
        return Verdict(checks.TAMPERED, message, session, 0, scope=scope)


def _tampered(verdict: Verdict, part: int, offset: int, message: str) -> Verdict:
    return replace(verdict, status=checks.TAMPERED, message=message, offset=offset, part=part)


def _in_place(path: Path, log: LogFile | PartedLog) -> bool:
    """Whether it is under the day on which it began: a second one elsewhere is no other Log."""
    wanted = log_path(Path(), str(log.header["session"]), log.header["wall"])
    return Path(os.path.abspath(path)).parts[-4:-1] == wanted.parts[:-1]


def _roots(recording: Recording) -> dict[int, bytes]:
    """Of the parts that were read through."""
    if isinstance(recording, LogFile):
        return {recording.part: recording.root} if recording.end is not None else {}
    return dict(enumerate(recording.roots))


def contradiction(recording: Recording, entry: Entry | None) -> tuple[int, int, str] | None:
    """Part, byte and why: where what was read through is not what the ledger says."""
    if entry is None:
        return None
    if entry.start is not None and recording.part == 0 and recording.header_body:
        index, leaf = entry.start
        if leaf.raw("digest") != header_digest(recording.header_body):
            return 0, FILE_HEADER, f"its header is not that which the ledger has (leaf {index})"
    said = dict(entry.parts)
    if entry.end is not None:
        said[entry.end[1].number("parts") - 1] = entry.end
    for part, root in _roots(recording).items():
        if part in said and said[part][1].raw("root") != root:
            text = f"another Log in its place: the ledger has one of root (leaf {said[part][0]})"
            return part, FILE_HEADER, text
        if entry.end is not None and part > max(said):
            return part, 0, f"the ledger has its end before this part (leaf {entry.end[0]})"
    return None


def leaf_of(log: LogFile | PartedLog, entry: Entry | None) -> int | None:
    """The number of the leaf that vouches for all of ``log``, which was read through and
    does not contradict the ledger."""
    if entry is None or log.end is None:
        return None
    if log.end.status == "continued":
        found = entry.parts.get(log.part)
    else:
        found = entry.end
    return None if found is None else found[0]


def vouched(verdict: Verdict, index: int, watch: Watch | Glance, anchors: list[Anchor]) -> Verdict:
    """A good Log whose end is leaf ``index``."""
    covering = [anchor for anchor in anchors if anchor.size > index]
    known = f"in the ledger {watch.chain.origin} (leaf {index})"
    if not watch.trusted:
        known += ", whose root key was taken from beside it"
    if watch.partial:
        known += "; of the ledger only its own leaves were read (--log: all of it)"
    if covering:
        first = min(covering, key=lambda anchor: anchor.at)
        scope = f"{known}; anchored {instant(first.at)} by {first.by}: unaltered since then"
        status = checks.ANCHORED if verdict.status == checks.OK else verdict.status
        return replace(verdict, status=status, scope=scope)
    return replace(verdict, scope=f"{known}; {unanchored(watch, anchors)}")


def dated(verdict: Verdict, log: LogFile | PartedLog, entry: Entry | None) -> Verdict:
    """Says so where the ledger had a session before it began by its own clock."""
    wall = log.header.get("wall")
    if entry is None or entry.start is None or type(wall) is not int:
        return verdict
    told = ahead(wall, entry.start[1].at)
    return replace(verdict, scope=f"{verdict.scope}; {told} when it began") if told else verdict


def unanchored(watch: Watch | Glance, anchors: list[Anchor]) -> str:
    """Since when nobody outside vouches for the ledger."""
    if anchors:
        since = instant(max(anchor.at for anchor in anchors))
    elif watch.chain.epochs:
        since = "its beginning " + instant(watch.chain.epochs[0].at)
    else:
        since = "its beginning"
    return (
        f"not externally anchored since {since}: "
        "whoever held this machine could have rewritten what came after"
    )


__all__ = ["Judge", "LedgerFault", "contradiction", "has_ledger", "unanchored", "vouched"]
