"""Deletes sessions whose time is over, and only those that nothing speaks for."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from recorder.away import AwayError, away_of, note_of, stat_of
from recorder.catalog import Line, describe
from recorder.errors import FormatError
from recorder.evidence.inbox import deletion_leaf, hand_over, inbox_directory
from recorder.holds import holds, locked
from recorder.index.answer import home_of
from recorder.live import live_sessions
from recorder.parted import PartedLog, files_of, log_of
from recorder.recordings import Recordings
from recorder.retention import Retention, ended
from recorder.segment import fsync_directory
from recorder.state import LOG_SUFFIX, keys_path
from recorder.tombstones import Tombstone, put_tombstone, tombstones
from recorder.verify import CORRUPT, INCOMPLETE, TAMPERED, verify


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to become of a session whose time is over, and why."""

    line: Line
    delete: bool
    why: str


class Pruning:
    """One look at a state directory. ``delete_after`` stands for what the rules say of it, but
    never for less than they keep. ``copies``: an object store that may have the Logs, too."""

    def __init__(
        self,
        state: Path,
        retention: Retention,
        by: str,
        *,
        delete_after: timedelta | None = None,
        now: datetime | None = None,
        copies: Recordings | None = None,
    ) -> None:
        self._state = state
        self._retention = retention
        self._by = by
        self._most = delete_after
        self._copies = copies
        self._now = now or datetime.now(UTC)
        # Recovery would make their Logs again.
        journals = live_sessions(state / "journal")
        self._unsealed = {str(session.header["session"]) for session in journals}

    def choices(self, lines: Collection[Line]) -> Iterator[Choice]:
        """About each of ``lines`` whose time is over, whether it may go. Reads every byte of
        those that may. Raises ``HoldError``, ``OSError``."""
        for line in lines:
            over = self._over(line)
            if over:
                against = self._against(line)
                yield Choice(line, not against, against or over)

    def _over(self, line: Line) -> str:
        rule = self._retention.rule_of(line)
        most = rule.delete_after if self._most is None else self._most
        if line.status == "open" or most is None:
            return ""
        age = self._now - ended(line)
        if age <= most or age <= rule.keep:
            return ""
        return f"{rule.name}: ended {age.days} days ago, kept at most {_told(most)}"

    def _against(self, line: Line) -> str:
        """Why it must stay, however old; "" for nothing."""
        if line.session in self._unsealed or not line.path.endswith(LOG_SUFFIX):
            return "a journal still has it"
        for hold in holds(self._state):
            if hold.covers(line):
                return f"{hold.id} of {hold.by}: {hold.reason}"
        return self._unfit(Path(line.path), line)[0]

    def _unfit(self, path: Path, line: Line) -> tuple[str, str, str]:
        """Why the file is no whole Log of that session; or "", its root and what it is."""
        try:
            log = log_of(path)
        except FileNotFoundError:
            return "it is gone", "", ""
        except FormatError as error:
            return f"it does not verify: {error}", "", ""
        except AwayError as error:
            return f"it can't be looked at: {error}", "", ""
        try:
            verdict = verify(log)
            if log.end is None and isinstance(log, PartedLog) and verdict.status == INCOMPLETE:
                # A deletion that was begun: its last parts are gone already.
                stones = [s for s in tombstones(self._state) if s.line.session == line.session]
                if stones and describe(log) == line:
                    return "", stones[-1].root, stones[-1].verified
            if verdict.status in (CORRUPT, TAMPERED) or log.end is None:
                return f"it does not verify: {verdict.status}: {verdict.message}", "", ""
            if describe(log) != line:
                return "it is not what the list says", "", ""
            return "", log.root.hex(), verdict.status
        except (ValueError, OverflowError) as error:
            return f"it does not verify: {error}", "", ""
        except AwayError as error:
            return f"it can't be looked at: {error}", "", ""
        finally:
            log.close()

    def delete(self, choice: Choice) -> str:
        """Delete a session: its tombstone first. "" when it is done, else why not. Raises
        ``HoldError``, ``TombstoneError``, ``RecordingsError``, ``OSError``."""
        line = choice.line
        path = Path(line.path)
        with locked(self._state):
            for hold in holds(self._state):
                if hold.covers(line):
                    return f"{hold.id} of {hold.by}: {hold.reason}"
            why, root, verified = self._unfit(path, line)
            if why:
                return why
            at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            files = files_of(path)
            size = sum(stat_of(file).size for file in files)
            stone = Tombstone(line, root, size, verified, at, choice.why, self._by)
            # A crash after the tombstone: it is said already.
            told = any(
                (old.line.session, old.root) == (line.session, root)
                for old in tombstones(self._state)
            )
            if not told:
                put_tombstone(self._state, stone)
            inbox = inbox_directory(self._state)
            if inbox.is_dir():
                hand_over(inbox, [deletion_leaf(line.session, bytes.fromhex(root), choice.why)])
            # First the copies: where that fails, the next run finds the session again.
            self._delete_copy(keys_path(path))
            keys_path(path).unlink(missing_ok=True)
            for file in reversed(files):  # the first part last: by it the session is found
                note = away_of(file)
                self._delete_copy(file)
                if note is None or file.exists():
                    os.unlink(file)
                if note is not None:
                    os.unlink(note_of(file))
            fsync_directory(path.parent)
        return ""

    def _delete_copy(self, file: Path) -> None:
        """What a note says is not believed here: another Log's key would delete that one's."""
        if self._copies is not None:
            place = file.relative_to(self._state).as_posix()
            self._copies.delete(f"{home_of(self._state)}/{place}")


def _told(time: timedelta) -> str:
    hours = int(time.total_seconds() // 3600)
    return f"{hours // 24} days" if hours % 24 == 0 else f"{hours} hours"
