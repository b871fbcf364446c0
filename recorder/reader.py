"""Opens recordings: a Log file, or a session that is still in a journal."""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path
from typing import NamedTuple

from recorder import framing, records
from recorder.away import SUFFIX as AWAY
from recorder.away import note_of
from recorder.errors import UnknownSessionError
from recorder.live import LiveSession, live_sessions
from recorder.log_reader import LogFile
from recorder.parted import PartedLog, log_of, unfinished
from recorder.records import Entry
from recorder.state import LOG_SUFFIX, session_of, sessions_directory

Recording = LogFile | PartedLog | LiveSession


class Record(NamedTuple):
    """A decoded record: ``at`` in nanoseconds since the session's start.
    ``gap`` is the number of records that are missing before the next one."""

    seq: int
    at: int
    entries: list[Entry]
    gap: int
    offset: int


def decoded(recording: Recording) -> Iterator[Record]:
    """The records of a recording. Raises ``FormatError`` where it breaks,
    after yielding all that is before."""
    decoder = records.Decoder()
    for item in recording.stored():
        body = records.unpack(item.body, item.offset)
        if item.kind == framing.DATA:
            entries = decoder.entries(body, item.offset)
            yield Record(body[1], body[2], entries, 0, item.offset)
        elif item.kind == framing.GAP:
            yield Record(body[1], body[2], [], body[3] - body[1], item.offset)


def every_log(state: Path) -> Iterator[Path]:
    """Paths of all Logs, oldest day first; also of those that are away. Of a session in parts
    it is that of its first; more of it may still be in a journal."""
    root = sessions_directory(state)
    found = {*root.glob(f"[0-9]*/[0-9]*/[0-9]*/[!.]*{LOG_SUFFIX}")}
    away = root.glob(f"[0-9]*/[0-9]*/[0-9]*/[!.]*{LOG_SUFFIX}{AWAY}")
    last = Path()
    for path in sorted(found | {path.with_suffix("") for path in away}):
        # A dot sorts before letters and digits, and "agr" before "p0001".
        if session_of(path) != session_of(last) or path.parent != last.parent:
            last = path
            yield path


def open_recording(state: Path, name: str) -> Recording:
    """A recording by path, by the session's id, or by the start of it.

    ``UnknownSessionError`` when there is none or more than one; ``OSError``
    and ``FormatError`` from opening.
    """
    path = Path(name)
    if path.suffix == LOG_SUFFIX or "/" in name or path.is_file():
        if not path.exists() and not note_of(path).exists():
            raise UnknownSessionError(f"no such file: {name}")
        return log_of(path)
    wanted = name.upper()
    if not wanted.isascii() or not wanted.isalnum():
        raise UnknownSessionError(f"not a session's id: {name}")
    logs = {session_of(p): p for p in every_log(state)}
    logs = {session: p for session, p in logs.items() if session.upper().startswith(wanted)}
    for session, path in logs.items():
        if session.upper() == wanted:
            return _whole(state, path)
    live = {
        str(s.header["session"]): s
        for s in live_sessions(state / "journal")
        if str(s.header["session"]).upper().startswith(wanted)
    }
    for session, recording in live.items():
        if session.upper() == wanted:
            return recording
    names = sorted({*logs, *live})
    if not names:
        raise UnknownSessionError(f"no session {name} in {state}")
    if len(names) > 1:
        some = ", ".join(names[:5])
        raise UnknownSessionError(f"{name} is the start of {len(names)} sessions: {some}")
    return _whole(state, logs[names[0]]) if names[0] in logs else live[names[0]]


def _whole(state: Path, path: Path) -> Recording:
    """A Log, or where it goes on in a journal, all of both."""
    log = log_of(path)
    if isinstance(log, PartedLog) and log.peek_end() is None:
        found = live_of(state, session_of(path))
        if found is not None:
            log.close()
            return found
        log.close()
        return log_of(path)  # its end may have come meanwhile
    return log


def goes_on(path: Path, live: Container[str]) -> bool:
    """Whether the Log at ``path`` is the beginning of a session that is in a journal (``live``
    has its id), and not all of it."""
    return session_of(path) in live and unfinished(path)


def live_of(state: Path, session: str) -> LiveSession | None:
    """A session that is in a journal."""
    live = (s for s in live_sessions(state / "journal") if s.header["session"] == session)
    return next(live, None)
