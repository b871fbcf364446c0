"""recorder tail: what happens now, as soon as it is safely on record."""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from pathlib import Path

from recorder.commands.opening import DAMAGED, ERROR, INCOMPLETE, OK, add_json, complain
from recorder.errors import FormatError, UnknownSessionError
from recorder.live import LiveSession, live_sessions
from recorder.reader import Recording, decoded, open_recording
from recorder.records import StoredSpan
from recorder.render import Printer, one_line
from recorder.segment import BALLAST, segment_numbers, segment_path
from recorder.state import LOG_SUFFIX, log_path, session_of, sessions_directory
from recorder.timeline import line, objects

EVERY = 0.25
_MISSED = 20
"""Looks in a row that find nothing, after which a session is taken to be gone."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "tail",
        help="what happens now",
        description="Prints events and commands with verdicts, of one session or of all that are "
        "open; with -f it goes on with what comes, new sessions too, until Ctrl-C or until the "
        "one session ends.",
    )
    parser.add_argument("id", metavar="ID", nargs="?", help="a session (default: all open ones)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    parser.add_argument("-n", type=int, default=10, metavar="N", help="of each, begin with the "
        "last N (default 10)")  # fmt: skip
    add_json(parser)
    parser.set_defaults(do=run)


class _Watch:
    """Where each session was read to."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.out = Printer()
        self.seen: dict[str, int] = {}
        self.over: set[str] = set()
        self.code = OK

    def look(self, recording: Recording, last: int | None = None) -> None:
        """Print what is new; of a session's first look only the ``last`` entries."""
        session = str(recording.header["session"])
        seen = self.seen.get(session, -1)
        lines: list[tuple[str, dict[str, object]]] = []
        try:
            for record in decoded(recording):
                if record.seq <= seen:
                    continue
                seen = record.seq
                for entry, value in zip(
                    (e for e in record.entries if not isinstance(e, StoredSpan)),
                    (v for v in objects(record, False) if v["event"] != "gap"),
                    strict=False,
                ):
                    lines.append((f"{record.at / 1e9:10.3f}  {line(entry)}", value))
        except FormatError as error:
            self.code = max(self.code, INCOMPLETE if error.torn else DAMAGED)
            lines.append((f"            ({one_line(str(error))})", {"event": "damage"}))
            self.over.add(session)
        end = recording.end
        if end is not None and session not in self.over:
            self.over.add(session)
            told: dict[str, object] = {"seq": end.seq, "at": end.at / 1e9, "event": "end",
                "status": end.status, "reason": end.reason}  # fmt: skip
            lines.append((f"{end.at / 1e9:10.3f}  end  {end.status}: {one_line(end.reason)}", told))
        self.seen[session] = seen
        if lines and isinstance(recording, LiveSession):
            _settle(recording)
        for text, value in lines if last is None else lines[max(0, len(lines) - last) :]:
            if self.args.json:
                self.out.json("event", {"session": session, **value})
            else:
                name = "" if self.args.id else f"{session}  "
                self.out.line(name + text)
        self.out.out.flush()


def _settle(recording: LiveSession) -> None:
    """Wait until what was read of its journal is on the disk, where it was promised that nothing
    goes on before that: what is shown is not to be gone after a power cut."""
    if recording.header.get("durability") != "disk":
        return
    paths = [segment_path(recording.path, n) for n in segment_numbers(recording.path)]
    for path in (*paths, recording.path / BALLAST):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # its sessions were sealed meanwhile, durably
        try:
            os.fdatasync(fd)
        finally:
            os.close(fd)


def run(args: argparse.Namespace) -> int:
    """Follow."""
    watch = _Watch(args)
    state: Path = args.dir
    if args.id:
        recording = open_recording(state, args.id)
        session = str(recording.header["session"])
        watch.look(recording, max(0, args.n))
        missed = 0
        while args.follow and session not in watch.over:
            time.sleep(EVERY)
            missed = 0 if _finish(watch, state, session) else missed + 1
            if missed > _MISSED:
                complain(f"{one_line(session)} is gone: it was deleted, or its part is missing")
                return ERROR
        return watch.code
    first = True
    known = _recent(state)  # over before we came
    while True:
        live = list(live_sessions(state / "journal"))
        names = {str(s.header["session"]) for s in live}
        for recording in live:
            if first and recording.peek_end() is not None:
                watch.over.add(str(recording.header["session"]))  # still in the journal
            elif str(recording.header["session"]) not in watch.over:
                watch.look(recording, max(0, args.n) if first else None)
        for session in set(watch.seen) - names - watch.over:
            _finish(watch, state, session)
        # A session may begin and end between two looks: of that there is only its Log.
        logs = _recent(state)
        for session in sorted(logs - known - names - set(watch.seen)):
            _finish(watch, state, session)
        known |= logs
        first = False
        if not args.follow:
            return watch.code
        time.sleep(EVERY)


def _recent(state: Path) -> set[str]:
    """Sessions with Logs that began today or yesterday (UTC)."""
    now = time.time_ns()
    found = set()
    for wall in (now, now - 86_400 * 10**9):
        folder = log_path(sessions_directory(state), "x", wall).parent
        with contextlib.suppress(OSError):
            found |= {session_of(path) for path in folder.glob(f"[!.]*{LOG_SUFFIX}")}
    return found


def _finish(watch: _Watch, state: Path, session: str) -> bool:
    """A session that is in no journal any more was sealed: its rest is in its Log. False while
    there is none."""
    try:
        watch.look(_again(state, session))
    except (UnknownSessionError, FormatError):
        return False  # between journal and Log: the next look finds it
    except OSError:
        return False  # deleted meanwhile
    return True


def _again(state: Path, session: str) -> Recording:
    return open_recording(state, session)
