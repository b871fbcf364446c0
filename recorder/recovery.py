"""What a journal does before it starts: finish what a crash left.

Every session that is in a segment gets its Log; one without an END gets one
that says ``recovered``. A torn tail (normal after kill -9) is kept beside its
segment as ``.torn`` and cut off. Anything else that is no record, or damage
below the place up to which the journal is known to have been durable, is
corruption: the segment is kept as ``.corrupt``, and what it still holds is
saved. Doing it again changes nothing; a crash within it does no harm.
"""

from __future__ import annotations

import fcntl
import os
from array import array
from dataclasses import dataclass, field
from pathlib import Path

from recorder import framing, records
from recorder.cutting import cut
from recorder.errors import FormatError
from recorder.evidence.inbox import gap_leaf
from recorder.framing import FILE_HEADER
from recorder.scan import Damage, OpenSegment, Places
from recorder.seal import tell_ledger
from recorder.sealed import NAME, read_sealed
from recorder.segment import (
    BALLAST,
    BALLAST_NUMBER,
    fsync_directory,
    segment_numbers,
    segment_path,
)
from recorder.state import sessions_directory


@dataclass
class Recovery:
    """What was found and done. ``notices`` are sentences for the operator."""

    next_segment: int = 1
    logs: list[Path] = field(default_factory=list)
    recovered: list[Path] = field(default_factory=list)
    torn: list[Path] = field(default_factory=list)
    corrupt: list[Path] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


class _Session:
    __slots__ = ("ended", "headed", "places")

    def __init__(self) -> None:
        self.places = array("Q")
        self.headed = False
        self.ended = False


class _Scan:
    """One pass over all segments of a journal."""

    def __init__(self) -> None:
        self.sessions: dict[int, _Session] = {}
        self.damage: dict[int, list[Damage]] = {}
        self.sizes: dict[int, int] = {}
        self.durable = (0, 0)

    def read(self, path: Path, number: int) -> None:
        with OpenSegment(path) as segment:
            self.sizes[number] = segment.size()
            if segment.head.number != number:
                raise FormatError("the file is not the segment that its name says", 12)
            for record in segment.records():
                if isinstance(record, Damage):
                    self.damage.setdefault(number, []).append(record)
                elif record.kind == framing.COMMIT:
                    body = records.unpack(record.body, record.offset)
                    if len(body) >= 2 and all(type(item) is int for item in body[:2]):
                        self.durable = max(self.durable, (body[0], body[1]))
                else:
                    self._note(number, record)

    def _note(self, number: int, record: framing.Framed) -> None:
        session = self.sessions.setdefault(records.prefix(record.body)[0], _Session())
        session.places.append(number << 32 | record.offset)
        session.headed = session.headed or record.kind == framing.HEADER
        session.ended = session.ended or record.kind == framing.END


def recover(directory: Path, sessions: Path) -> Recovery:
    """Recover the journal in ``directory``, whose lock the caller holds.
    Raises ``OSError``."""
    result = Recovery()
    numbers = segment_numbers(directory)
    taken = [int(path.name[:8]) for path in directory.glob("????????.agj*") if _numbered(path)]
    result.next_segment = max([*taken, 0]) + 1
    scan = _Scan()
    unreadable: list[int] = []
    for number in numbers:
        path = segment_path(directory, number)
        try:
            scan.read(path, number)
        except FormatError as error:
            if path.stat().st_size <= FILE_HEADER and number == numbers[-1]:
                path.unlink()  # died while it made the file: nothing was ever in it
                continue
            unreadable.append(number)
            result.notices.append(f"{path.name} can't be read: {error}")
    _read_ballast(directory, scan)
    for number in read_sealed(directory):
        scan.sessions.pop(number, None)  # what deleted segments left of it
    corrupt = {*unreadable, *_judge_damage(directory, numbers, scan, result)}
    corrupt |= _write_logs(directory, sessions, scan, result)
    gaps = [
        gap_leaf("", f"journal {directory.name}, segment {number}, is corrupt")
        for number in corrupt
    ]
    tell_ledger(sessions, result.logs, gaps)
    for number in segment_numbers(directory):
        path = segment_path(directory, number)
        if number in corrupt:
            kept = path.with_name(path.name + ".corrupt")
            os.rename(path, kept)
            result.corrupt.append(kept)
        else:
            path.unlink()
    (directory / BALLAST).unlink(missing_ok=True)
    (directory / NAME).unlink(missing_ok=True)
    fsync_directory(directory)
    return result


def recover_idle(state: Path) -> dict[str, Recovery]:
    """Recover the journals of workers that do not run (there may be fewer
    than last time), by worker. For the supervisor, before it starts any.
    Raises ``OSError``."""
    found = {}
    root = state / "journal"
    for directory in sorted(root.iterdir()) if root.is_dir() else []:
        if not directory.is_dir():
            continue
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found[directory.name] = recover(directory, sessions_directory(state))
        except BlockingIOError:
            continue
        finally:
            os.close(lock)
    return found


def _numbered(path: Path) -> bool:
    return path.name[:8].isascii() and path.name[:8].isdecimal()


def _read_ballast(directory: Path, scan: _Scan) -> None:
    path = directory / BALLAST
    if path.exists():
        try:
            scan.read(path, BALLAST_NUMBER)
        except FormatError:
            return  # it was never used, or sessions end as recovered instead
        scan.damage.pop(BALLAST_NUMBER, None)  # the room that is left


def _judge_damage(directory: Path, numbers: list[int], scan: _Scan, result: Recovery) -> list[int]:
    """Cut torn tails off; returns the numbers of corrupt segments."""
    corrupt = []
    for number in numbers:
        path = segment_path(directory, number)
        found = scan.damage.get(number, [])
        if found and number == numbers[-1] and found[-1].tail:
            damage = found[-1]
            if (number, damage.start) >= scan.durable:
                found = found[:-1]
                result.torn.append(_cut(path, damage))
                result.notices.append(f"{path.name} had a torn tail at byte {damage.start}")
        for damage in found:
            result.notices.append(
                f"{path.name} is corrupt from byte {damage.start} to {damage.stop}: {damage.reason}"
            )
        size = scan.sizes.get(number, 0)
        short = number == scan.durable[0] and size < scan.durable[1]
        if short:
            result.notices.append(
                f"{path.name} ends at byte {size}, but was durable up to {scan.durable[1]}"
            )
        if found or short:
            corrupt.append(number)
    return corrupt


def _cut(path: Path, damage: Damage) -> Path:
    kept = path.with_name(path.name + ".torn")
    with OpenSegment(path) as segment, open(kept, "wb") as copy:
        at = damage.start
        while block := segment.pread(1 << 20, at):
            copy.write(block)
            at += len(block)
        copy.flush()
        os.fsync(copy.fileno())
    os.truncate(path, damage.start)
    return kept


def _write_logs(directory: Path, sessions: Path, scan: _Scan, result: Recovery) -> set[int]:
    """Returns the numbers of segments that hold what no Log could take."""
    places = Places(directory)
    kept: set[int] = set()
    try:
        for number, session in sorted(scan.sessions.items()):
            try:
                if not session.headed:
                    raise FormatError("its header is lost", 0)
                done = cut(sessions, places.read(session.places), session.ended)
            except FormatError as error:
                result.notices.append(
                    f"session {number} of {directory.name} has no Log, its "
                    f"{len(session.places)} records stay in quarantine: {error}"
                )
                kept.update(place >> 32 for place in session.places)
                continue
            result.logs += done.paths
            if not session.ended:
                result.recovered.append(done.paths[-1])
            if done.left:
                result.notices.append(
                    f"session {number} of {directory.name} lacks a part: its header is lost, "
                    "and its records stay in quarantine"
                )
                kept.update(place >> 32 for place in session.places)
    finally:
        places.close()
    return kept
