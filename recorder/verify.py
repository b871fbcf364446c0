"""Says whether a recording is what was written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from recorder import framing, records
from recorder.errors import ContradictionError, FormatError
from recorder.live import LiveSession
from recorder.log_reader import LogFile
from recorder.parted import PartedLog, later_parts, log_of
from recorder.reader import Recording
from recorder.state import part_of
from recorder.tally import Tally

ANCHORED = "OK"
OK = "OK-UNANCHORED"
INCOMPLETE = "INCOMPLETE"
CORRUPT = "CORRUPT"
TAMPERED = "TAMPERED"
UNKNOWN_KEY = "UNKNOWN-KEY"
DELETED = "DELETED-BY-POLICY"

SCOPE = (
    "internally consistent; not externally anchored: "
    "whoever could rewrite the whole file could have"
)
EXIT = {
    ANCHORED: 0,
    OK: 0,
    DELETED: 0,
    INCOMPLETE: 3,
    CORRUPT: 4,
    TAMPERED: 4,
    UNKNOWN_KEY: 6,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """``offset`` is the byte at which the recording stops being good, None
    when all of it is; ``part`` is the part whose file that is. ``records`` is
    how many before that are good."""

    status: str
    message: str
    session: str
    offset: int | None = None
    records: int = 0
    scope: str = SCOPE
    part: int = 0


def verify_file(path: Path) -> Verdict:
    """Check a Log, every byte of it, with all of its parts. Raises ``OSError`` only."""
    try:
        log = log_of(path)
    except FormatError as error:
        return _broken(error, "", 0)
    try:
        return verify(log)
    finally:
        log.close()


def verify(recording: Recording) -> Verdict:
    """Check an opened recording. A live one is checked up to what is
    flushed, and is INCOMPLETE because it has no END."""
    session = str(recording.header["session"])
    walk = _Walk()
    parts = 1
    try:
        if isinstance(recording, PartedLog):
            for log in recording.logs():
                try:
                    walk.read(log)
                except FormatError as error:
                    error.part = log.part
                    raise
                finally:
                    recording.records += log.records
            parts = len(recording.roots)
        else:
            walk.read(recording)
        end = recording.end
        _check_alone(recording)
    except FormatError as error:
        return _broken(error, session, recording.records)
    count = recording.records
    if end is None:
        message = f"still open; good up to record {count}"
        return Verdict(INCOMPLETE, message, session, None, count)
    if walk.gap is not None:
        message = f"{walk.lost} records are missing after damage to the journal"
        part, offset = walk.gap
        return Verdict(INCOMPLETE, message, session, offset, count, part=part)
    if recording.part or end.status == "continued":
        message = f"part {recording.part}, whole in itself; the session has other parts"
        return Verdict(INCOMPLETE, message, session, None, count, part=recording.part)
    if end.status == "recovered":
        message = f"authentic up to its last record; {end.reason}"
        return Verdict(INCOMPLETE, message, session, None, count)
    told = f"{count} records in {parts} parts" if parts > 1 else f"{count} records"
    return Verdict(OK, f"{told}, {end.status}: {end.reason}", session, None, count)


def _check_alone(recording: Recording) -> None:
    """``ContradictionError`` where a part lies beside a Log that is the whole session."""
    if not isinstance(recording, LogFile) or recording.end is None or recording.part:
        return
    later = later_parts(recording.path) if part_of(recording.path) == 0 else ()
    if later and recording.end.status != "continued":
        error = ContradictionError("a part follows the end of the session", 0)
        error.part = max(later)
        raise error


class _Walk:
    """Reads a Log, a part of one, or a session in a journal, and checks what its records
    add up to. ``gap`` is the part and the byte of the first gap."""

    def __init__(self) -> None:
        self.gap: tuple[int, int] | None = None
        self.lost = 0

    def read(self, recording: LogFile | LiveSession) -> None:
        tally, decoder = Tally(_before(recording)), records.Decoder()
        for item in recording.stored():
            body = records.unpack(item.body, item.offset)
            if item.kind == framing.DATA:
                tally.add(decoder.entries(body, item.offset))
                if tally.fault:
                    raise ContradictionError(tally.fault, item.offset)
            elif item.kind == framing.GAP:
                self.gap = self.gap or (recording.part, item.offset)
                self.lost += body[3] - body[1]
                tally.resume()
        end = recording.end
        if end is not None and any(
            said != found and found >= 0
            for said, found in zip(end.counts, tally.counts(), strict=True)
        ):
            where = recording.size()
            raise ContradictionError("the END's byte counts are not those of the records", where)


def _before(recording: LogFile | LiveSession) -> list[int]:
    """The byte counts that a part starts from."""
    counts = recording.header.get("counts")
    if isinstance(counts, list) and len(counts) == 4 and all(type(n) is int for n in counts):
        return counts
    return [0, 0, 0, 0]


def _broken(error: FormatError, session: str, good: int) -> Verdict:
    if isinstance(error, ContradictionError):
        status = TAMPERED
    elif error.torn:
        status = INCOMPLETE
    else:
        status = CORRUPT
    return Verdict(status, error.reason, session, error.offset, good, part=error.part)
