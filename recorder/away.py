"""Logs that are not here any more, but in an object store: a small file in the place of each,
``<name>.agr.away``, says where. Whoever opens such a Log gets what the store has, compared with
what was put there."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

from recorder.errors import ContradictionError, FormatError
from recorder.files import open_file, read_file
from recorder.segment import fsync_directory, write_all

SUFFIX = ".away"
SCHEMA = "wirewarden.away/1"
_MOST = 1 << 16


class AwayError(OSError):
    """A Log is in a store that does not give it, or its note can't be read."""


@dataclass(frozen=True, slots=True)
class Away:
    """Where a Log is: ``store`` is the URL, ``key`` what it is called there. ``sha256`` (hex) and
    ``size`` are of its bytes, ``inode`` and ``mtime`` of the file that was here: by them an index
    knows it. ``freed``: when, RFC 3339 in UTC."""

    store: str
    key: str
    size: int
    sha256: str
    inode: int
    mtime: int
    freed: str


class Stat(NamedTuple):
    """Of a Log's file, which may be away. ``mtime`` in nanoseconds."""

    inode: int
    size: int
    mtime: int


def note_of(path: Path) -> Path:
    """Where the note about a Log lies."""
    return path.with_name(path.name + SUFFIX)


def away_of(path: Path) -> Away | None:
    """What the note about a Log says; None if there is none. Raises ``AwayError``."""
    try:
        raw = read_file(note_of(path), _MOST)
    except FileNotFoundError:
        return None
    except FormatError as error:
        raise AwayError(f"{note_of(path)} can't be read: {error}") from None
    try:
        told = json.loads(raw)
        if told.pop("schema") != SCHEMA:
            raise ValueError("it is of another version")
        note = Away(**told)
        if not all(type(getattr(note, f.name)).__name__ == f.type for f in fields(Away)):
            raise ValueError("it is malformed")
        if note.key.rpartition("/")[2] != path.name:
            raise ValueError("it names another Log")
        return note
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise AwayError(f"{note_of(path)} can't be read: {error}") from None


def stat_of(path: Path) -> Stat:
    """Of the Log that is there, else as it was when it went away. ``FileNotFoundError``,
    ``AwayError``."""
    try:
        found = path.stat()
    except FileNotFoundError:
        note = away_of(path)
        if note is None:
            raise
        return Stat(note.inode, note.size, note.mtime)
    return Stat(found.st_ino, found.st_size, found.st_mtime_ns)


def there(path: Path) -> bool:
    """Whether there is such a Log, here or away."""
    return path.exists() or note_of(path).exists()


def put_note(path: Path, note: Away) -> None:
    """Say of a Log where it is, durably. The Log may still be there."""
    place = note_of(path)
    aside = place.with_name(f".{place.name}.{os.getpid()}")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, json.dumps({"schema": SCHEMA, **asdict(note)}).encode() + b"\n")
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(aside, place)
    fsync_directory(place.parent)


def open_log(path: Path) -> int:
    """A descriptor of a Log's bytes, wherever they are. ``FileNotFoundError`` where there is no
    such Log; ``AwayError`` where its store does not give it; ``ContradictionError`` where that
    gives something else, or what is there is no file."""
    for _ in range(2):
        try:
            return open_file(path)
        except FileNotFoundError:
            note = away_of(path)
            if note is not None:
                return _brought(path, note)
    if path.is_symlink():
        raise ContradictionError("here is a symbolic link that leads nowhere, and no Log", 0)
    raise FileNotFoundError(f"no such Log: {path}")


def _brought(path: Path, note: Away) -> int:
    """From the store that is configured and no other: whoever can write beside a Log could have
    an auditor's machine ask anybody, with its credentials."""
    from recorder.recordings import RecordingsError, recordings_store
    from recorder.store import RECORDINGS

    with tempfile.TemporaryFile() as copy:
        try:
            store = recordings_store()
            if store is None or store.url != note.store:
                said = f"{path.name} is in {note.store}, which is not the store that is configured"
                raise AwayError(f"{said} (set {RECORDINGS} to it, if you trust it)")
            digest, size = store.fetch(note.key, copy, note.size)
        except RecordingsError as error:
            raise AwayError(f"{path.name} is in {note.store}: {error}") from None
        if (digest, size) != (note.sha256, note.size):
            raise ContradictionError("the store holds something else than was put there", 0)
        copy.flush()
        return os.dup(copy.fileno())
