"""What every command that takes recordings has in common."""

from __future__ import annotations

import argparse
import atexit
import shutil
import sys
import tempfile
from itertools import count
from pathlib import Path

from recorder import recordings
from recorder.away import there
from recorder.errors import UnknownSessionError
from recorder.index import answer
from recorder.index.content import DamagedIndex
from recorder.index.database import DatabaseTrouble
from recorder.index.tables import Kept
from recorder.log_reader import End
from recorder.reader import Recording, open_recording
from recorder.recordings import AbsentError, Recordings, RecordingsError, recordings_store
from recorder.render import safe
from recorder.state import LOG_SUFFIX, keys_path, part_path
from recorder.store import StoreError, store_of_environment

OK, ERROR, USAGE, INCOMPLETE, DAMAGED, MISSING_KEY = 0, 1, 2, 3, 4, 6


def add_id(parser: argparse.ArgumentParser) -> None:
    """The argument that names one recording."""
    parser.add_argument(
        "id", metavar="ID", help="a session's id or the start of it, a path to a Log, or - (stdin)"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help="one JSON object per line")


def path_of_stdin() -> Path:
    """A copy of stdin in a file, gone at exit: reading needs to seek."""
    with tempfile.NamedTemporaryFile(suffix=".agr", delete=False) as copy:
        atexit.register(Path(copy.name).unlink, missing_ok=True)
        shutil.copyfileobj(sys.stdin.buffer, copy)
        return Path(copy.name)


def recording_of(args: argparse.Namespace) -> Recording:
    """Open what ``args.id`` names."""
    if args.id == "-":
        return open_recording(args.dir, str(path_of_stdin()))
    return open_recording(args.dir, place_of(args.dir, args.id))


def place_of(state: Path, name: str) -> str:
    """``name``, or the path of the one finished Log that an index knows by it: of many,
    to look for one in every folder is slow. Errs towards ``name``."""
    if name.endswith(LOG_SUFFIX) or not name.isalnum() or Path(name).exists():
        return name
    if not (state / answer.NAME).exists() and not shared_index():
        return name
    index = answer.opened(state, complain)
    if index is None:
        return name
    try:
        found = index.named(name.upper())
    except (DatabaseTrouble, DamagedIndex):
        return name
    finally:
        index.database.close()
    if len(found) != 1:
        return name
    if found[0].home != index.home:
        return str(_fetched(name, found[0]))
    path = state / found[0].place
    # Only the whole of an id: a shorter one may be that of an open session, too.
    return str(path) if path.stem.upper() == name.upper() and there(path) else name


def shared_index() -> bool:
    """Whether several gateways share one."""
    try:
        return bool(store_of_environment().index)
    except StoreError:
        return False


def _fetched(name: str, kept: Kept) -> Path:
    """A copy of another gateway's Log, all of its files, gone at exit."""
    try:
        store = recordings_store()
        if store is None:
            raise UnknownSessionError(
                f"{name} is of another gateway ({kept.home}), and {recordings.URL} names no store"
            )
        folder = Path(tempfile.mkdtemp(prefix="recorder-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        log = Path(kept.home) / kept.place
        _copy(store, log, folder)
        for part in count(1):
            try:
                _copy(store, part_path(log, part), folder)
            except AbsentError:
                break
        try:
            _copy(store, keys_path(log), folder)
        except AbsentError:
            pass  # it has none, or they were erased
    except RecordingsError as error:
        raise UnknownSessionError(f"{name} is of another gateway: {error}") from None
    return folder / log.name


def _copy(store: Recordings, place: Path, folder: Path) -> None:
    path = folder / place.name
    try:
        with path.open("wb") as copy:
            store.fetch(place.as_posix(), copy)
    except RecordingsError:
        path.unlink()
        raise


def told_end(end: End | None, who: str = "the session") -> int:
    """The exit code of what was read to ``end``; says so where that is no regular one."""
    if end is not None and end.status != "recovered":
        return OK
    complain(f"{who} has no regular end: there may have been more")
    return INCOMPLETE


def complain(text: str) -> None:
    """A message on stderr; safe for a terminal whatever was quoted in it."""
    print(f"recorder: {safe(text, keep_lines=True)}", file=sys.stderr)
