"""Says whether a recording is what was written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from recorder import framing, records
from recorder.errors import ContradictionError, FormatError
from recorder.log_reader import LogFile
from recorder.reader import Recording
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
    when all of it is. ``records`` is how many before that are good."""

    status: str
    message: str
    session: str
    offset: int | None = None
    records: int = 0
    scope: str = SCOPE


def verify_file(path: Path) -> Verdict:
    """Check a Log file, every byte of it. Raises ``OSError`` only."""
    try:
        log = LogFile(path)
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
    tally, decoder = Tally(_before(recording)), records.Decoder()
    gap: int | None = None
    lost = 0
    try:
        for item in recording.stored():
            body = records.unpack(item.body, item.offset)
            if item.kind == framing.DATA:
                tally.add(decoder.entries(body, item.offset))
                if tally.fault:
                    raise ContradictionError(tally.fault, item.offset)
            elif item.kind == framing.GAP:
                gap = item.offset if gap is None else gap
                lost += body[3] - body[1]
                tally.resume()
        end = recording.end
        counts = tally.counts()
        if end is not None and any(
            said != found and found >= 0 for said, found in zip(end.counts, counts, strict=True)
        ):
            where = recording.size()
            raise ContradictionError("the END's byte counts are not those of the records", where)
    except FormatError as error:
        return _broken(error, session, recording.records)
    count = recording.records
    if end is None:
        message = f"still open; good up to record {count}"
        return Verdict(INCOMPLETE, message, session, None, count)
    if gap is not None:
        message = f"{lost} records are missing after damage to the journal"
        return Verdict(INCOMPLETE, message, session, gap, count)
    if recording.part or end.status == "continued":
        message = f"part {recording.part}, whole in itself; the session has other parts"
        return Verdict(INCOMPLETE, message, session, None, count)
    if end.status == "recovered":
        message = f"authentic up to its last record; {end.reason}"
        return Verdict(INCOMPLETE, message, session, None, count)
    message = f"{count} records, {end.status}: {end.reason}"
    return Verdict(OK, message, session, None, count)


def _before(recording: Recording) -> list[int]:
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
    return Verdict(status, error.reason, session, error.offset, good)
