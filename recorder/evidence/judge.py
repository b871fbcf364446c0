"""What the ledger adds to a verdict about a recording."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from recorder import verify as checks
from recorder.catalog import instant
from recorder.errors import FormatError
from recorder.evidence.anchors import Anchor, Trust, anchors_of
from recorder.evidence.facts import header_digest
from recorder.evidence.inbox import inbox_directory, ledger_directory, read_items, waiting
from recorder.evidence.leaves import Kind, unpack_fields
from recorder.evidence.watch import Entry, LedgerFault, Watch
from recorder.framing import FILE_HEADER
from recorder.live import live_sessions
from recorder.log_reader import LogFile
from recorder.reader import every_log
from recorder.sealed import read_sealed
from recorder.state import LOG_SUFFIX
from recorder.verify import Verdict


def has_ledger(state: Path) -> bool:
    """Is there one, or what is left of one?"""
    directory = ledger_directory(state)
    return (directory / "root.pub").exists() or (directory / "tile").exists()


class Judge:
    """Judges the recordings of one state directory by its ledger, which is
    checked as a whole first. ``LedgerFault`` when it is not good itself."""

    def __init__(self, state: Path, trust: Trust, deep: bool = False) -> None:
        self.state = state
        self.watch = Watch(ledger_directory(state), trust.root, deep)
        self.anchors, self.doubts = anchors_of(self.watch, trust)
        self._underway: set[str] | None = None
        self._deleting: set[str] = set()

    @property
    def underway(self) -> set[str]:
        """Sessions that a journal or the inbox still holds."""
        if self._underway is None:
            found: set[str] = set()
            done: dict[Path, set[int]] = {}
            for live in live_sessions(self.state / "journal"):
                sealed = done.setdefault(live.path, read_sealed(live.path))
                if live.number not in sealed:
                    found.add(str(live.header["session"]))
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

    def judge(self, path: Path) -> Verdict:
        """A finished Log. Raises ``OSError`` only."""
        try:
            log = LogFile(path)
        except FormatError:
            return checks.verify_file(path)
        try:
            verdict = checks.verify(log)
            if verdict.status in (checks.CORRUPT, checks.TAMPERED):
                return verdict
            if path.name != verdict.session + LOG_SUFFIX:
                message = "it lies under the name of another session"
                return replace(verdict, status=checks.TAMPERED, message=message, offset=0)
            entry = self.watch.sessions.get(verdict.session)
            found = contradiction(log, entry)
            if found is not None:
                offset, message = found
                return replace(verdict, status=checks.TAMPERED, message=message, offset=offset)
            if entry is None or entry.end is None:
                return self._not_there(verdict, entry)
        finally:
            log.close()
        return self._noted(vouched(verdict, entry.end[0], self.watch, self.anchors))

    def _noted(self, verdict: Verdict) -> Verdict:
        """With what the ledger says is lost of it."""
        message = verdict.message
        for index, leaf in self.watch.gaps.get(verdict.session, []):
            message += f"; {leaf.text('reason')}, {instant(leaf.at)} (leaf {index})"
        return replace(verdict, message=message)

    def _not_there(self, verdict: Verdict, entry: Entry | None) -> Verdict:
        if verdict.session in self.underway:
            scope = "internally consistent; the ledger does not have its end yet"
            return replace(verdict, scope=scope)
        message = "the ledger does not know it: it was put here, or put in another's place"
        if entry is not None:
            message = "the ledger knows its beginning, and of no such end"
        return replace(verdict, status=checks.TAMPERED, message=message, offset=0)

    def missing(self) -> list[Verdict]:
        """Sessions that the ledger knows and the disk has not."""
        gone = self.watch.sessions.keys() - {path.stem for path in every_log(self.state)}
        gone = {name for name in gone if self.sealed(name) or name not in self.underway}
        if gone:  # one may have been sealed while we looked
            gone -= {path.stem for path in every_log(self.state)}
        return [self._gone(session) for session in sorted(gone)]

    def sealed(self, session: str) -> bool:
        """Had it a Log? Its end is handed over only then."""
        entry = self.watch.sessions.get(session)
        return entry is not None and entry.end is not None

    def gone(self, session: str) -> Verdict | None:
        """The verdict about a session that has no recording, if it was one."""
        return self._gone(session) if session in self.watch.sessions else None

    def _gone(self, session: str) -> Verdict:
        entry = self.watch.sessions[session]
        scope = f"as the ledger says, {self.watch.chain.origin}"
        if entry.deletion is not None:
            index, leaf = entry.deletion
            message = f"deleted {instant(leaf.at)}: {leaf.text('reason')} (leaf {index})"
            return Verdict(checks.DELETED, message, session, scope=scope)
        if session in self.underway and session in self._deleting:
            message = "deleted; the ledger does not have its tombstone yet"
            return Verdict(checks.DELETED, message, session, scope=scope)
        place = entry.start or entry.end or next(iter(entry.parts.values()))
        message = f"removed: the ledger has it from {instant(place[1].at)} (leaf {place[0]})"
        return Verdict(checks.TAMPERED, message, session, 0, scope=scope)


def contradiction(log: LogFile, entry: Entry | None) -> tuple[int, str] | None:
    """Where a Log that was read through is not what the ledger says."""
    if entry is None:
        return None
    if entry.start is not None and log.part == 0:
        index, leaf = entry.start
        if leaf.raw("digest") != header_digest(log.header_body):
            return FILE_HEADER, f"its header is not that which the ledger has (leaf {index})"
    if entry.end is None:
        return None
    index, leaf = entry.end
    if log.end is None:
        return log.size(), f"it was cut off: the ledger has its end (leaf {index})"
    if leaf.raw("root") != log.root:
        return FILE_HEADER, f"another Log in its place: the ledger has one of root (leaf {index})"
    return None


def vouched(verdict: Verdict, index: int, watch: Watch, anchors: list[Anchor]) -> Verdict:
    """A good Log whose end is leaf ``index``."""
    covering = [anchor for anchor in anchors if anchor.size > index]
    known = f"in the ledger {watch.chain.origin} (leaf {index})"
    if not watch.trusted:
        known += ", whose root key was taken from beside it"
    if covering:
        first = min(covering, key=lambda anchor: anchor.at)
        scope = f"{known}; anchored {instant(first.at)} by {first.by}: unaltered since then"
        status = checks.ANCHORED if verdict.status == checks.OK else verdict.status
        return replace(verdict, status=status, scope=scope)
    return replace(verdict, scope=f"{known}; {unanchored(watch, anchors)}")


def unanchored(watch: Watch, anchors: list[Anchor]) -> str:
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
