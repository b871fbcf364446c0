"""Copies what a state directory has into an object store, and lets local copies go that are
there. A copy counts once it was read back and is the same; only then may the local one go, and a
note of where it is stays in its place (``recorder.away``). Each file is looked at under the lock
that deletion takes, so that nothing is put back that was just deleted."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recorder.away import Away, away_of, note_of, put_note
from recorder.catalog import Line
from recorder.errors import FormatError
from recorder.holds import locked
from recorder.index.answer import home_of
from recorder.index.upkeep import day_folders
from recorder.live import live_sessions
from recorder.parted import files_of, open_part
from recorder.recordings import AbsentError, OtherObjectError, Recordings
from recorder.retention import Retention, ended
from recorder.segment import fsync_directory
from recorder.state import KEYS_SUFFIX, LOG_SUFFIX, sessions_directory
from recorder.verify import CORRUPT, TAMPERED, verify

CACHE = "uploaded.json"
"""What days were copied whole, when their folders last changed. It can be deleted."""
_YOUNG = 2_000_000_000
_PIECE = 1 << 20
Notice = Callable[[str], None]


def copied_to(state: Path) -> str:
    """The URL of the store that ``state`` was copied to last; "" if to none that is known."""
    return str(_cached(state).get("store", ""))


def _cached(state: Path) -> dict[str, Any]:
    """``store``, and ``days`` that it has whole; nothing where it can't be read."""
    try:
        told = json.loads((state / CACHE).read_bytes())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


class Uploading:
    """One state directory and one store. ``notice`` hears of what is left out; then ``trouble``
    is True. ``RecordingsError`` where the store fails, ``OSError`` where the disk does."""

    def __init__(self, state: Path, store: Recordings, notice: Notice) -> None:
        self.trouble = False
        self._state = state
        self._store = store
        self._notice = notice
        self._home = home_of(state)

    # -- copies ---------------------------------------------------------------

    def copy(self) -> Iterator[int]:
        """Copy every file that is not there yet; yields the size of each that was."""
        done = self._done()
        for folder in day_folders(sessions_directory(self._state)):
            day = folder.relative_to(self._state).as_posix()
            changed = folder.stat().st_mtime_ns
            if done.get(day) == changed:
                continue
            # Before it is listed: what arrives later may not show in a time that is as young.
            settled = datetime.now(UTC).timestamp() * 1e9 - changed > _YOUNG
            whole = yield from self._day(folder, f"{self._home}/{day}")
            if whole and settled:
                done[day] = changed
                self._note(done)

    def _day(self, folder: Path, prefix: str) -> Generator[int, None, bool]:
        there = self._store.names(prefix)
        whole = True
        names = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
        for name in names:
            if not name.endswith((LOG_SUFFIX, KEYS_SUFFIX)):
                continue
            path, key = folder / name, f"{prefix}/{name}"
            try:
                if there.get(key) == path.stat().st_size:
                    continue
                if name.endswith(LOG_SUFFIX) and not self._good(path):
                    self._leave(f"{name} does not verify, and is not copied")
                    whole = False
                    continue
                with locked(self._state, shared=False):
                    size = path.stat().st_size
                    if self._store.upload(path, key):
                        yield size
            except FileNotFoundError:
                continue  # deleted, or gone away, meanwhile
            except OtherObjectError as error:
                self._leave(str(error))
                whole = False
        return whole

    def _good(self, path: Path) -> bool:
        try:
            log = open_part(path)
        except FormatError:
            return False
        try:
            return verify(log).status not in (CORRUPT, TAMPERED)
        finally:
            log.close()

    def _leave(self, why: str) -> None:
        self.trouble = True
        self._notice(why)

    def _done(self) -> dict[str, int]:
        told = _cached(self._state)
        try:
            days = told["days"] if told["store"] == self._store.url else {}
            return {str(day): int(changed) for day, changed in days.items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _note(self, days: dict[str, int]) -> None:
        aside = self._state / f".{CACHE}.{os.getpid()}"
        aside.write_text(json.dumps({"store": self._store.url, "days": days}))
        os.replace(aside, self._state / CACHE)

    # -- room -------------------------------------------------------------------

    def free(self, lines: list[Line], rules: Retention, now: datetime) -> Iterator[int]:
        """Let local copies go of sessions that ended longer ago than ``keep_local``; yields the
        size of each session's. What a journal still has, and what the store does not hold as it
        is here, stays."""
        unsealed = {str(s.header["session"]) for s in live_sessions(self._state / "journal")}
        for line in lines:
            most = rules.rule_of(line).keep_local
            path = Path(line.path)
            if most is None or line.status in ("open", "damaged") or line.session in unsealed:
                continue
            # Of another gateway's sessions in a shared index the path is below its name.
            if now - ended(line) <= most or not path.is_relative_to(self._state):
                continue
            size = 0
            try:
                for file in files_of(path):
                    size += self._let_go(file, now)
            except (OtherObjectError, AbsentError) as error:
                self._leave(f"{error}; the local copy stays")
            if size:
                yield size

    def _let_go(self, path: Path, now: datetime) -> int:
        with locked(self._state, shared=False):
            try:
                found = path.stat()
            except FileNotFoundError:
                return 0
            key = f"{self._home}/{path.relative_to(self._state).as_posix()}"
            digest = _digest(path)
            if self._store.digest(key) != (digest, found.st_size):
                raise OtherObjectError(f"{key}: the store holds something else")
            told = now.isoformat(timespec="seconds").replace("+00:00", "Z")
            note = Away(
                self._store.url, key, found.st_size, digest, found.st_ino, found.st_mtime_ns, told
            )
            put_note(path, note)
            if away_of(path) != note:
                raise OSError(f"{note_of(path)} is not what was written")
            path.unlink()
            fsync_directory(path.parent)
            return found.st_size


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            found.update(piece)
    return found.hexdigest()
