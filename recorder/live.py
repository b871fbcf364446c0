"""Reads sessions that are not sealed yet, straight from journals, up to what
is flushed. Holds no lock and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recorder import framing, records
from recorder.errors import ContradictionError, FormatError
from recorder.framing import Framed
from recorder.header import header_of
from recorder.log_reader import End, LogFile, Stored, gap_end, read_end
from recorder.parted import check_join, open_part
from recorder.records import OF_PARTS
from recorder.scan import Damage, OpenSegment
from recorder.segment import BALLAST, segment_numbers, segment_path
from recorder.state import log_path, part_path, sessions_directory
from recorder.tally import Tally


def _segments(directory: Path, first: int = 0) -> Iterator[Path]:
    for number in segment_numbers(directory):
        if number >= first:
            yield segment_path(directory, number)
    if (directory / BALLAST).exists():
        yield directory / BALLAST


def _read(path: Path) -> Iterator[Framed]:
    """Records up to the first damage: there the writer is at work, or there
    is something for recovery to judge."""
    try:
        with OpenSegment(path) as segment:
            for found in segment.records(salvage=False):
                if isinstance(found, Damage):
                    return
                yield found
    except (FileNotFoundError, FormatError):
        return  # sealed and deleted meanwhile, or only just being made


class LiveSession:
    """A session in a journal; the same surface as ``LogFile``."""

    live = True
    part = 0

    def __init__(
        self, directory: Path, segment: int, number: int, header: dict[str, Any], seq: int = 0
    ) -> None:
        self.path = directory
        self.header = {k: v for k, v in header.items() if k not in OF_PARTS}
        self.log = log_path(
            sessions_directory(directory.parent.parent), header["session"], header["wall"]
        )
        """Where its Log is to be; parts of it may be there already."""
        self.header_body = b""
        """As of a ``LogFile``; nothing where the journal has the HEADER of a later part only."""
        self.end: End | None = None
        self.records = 0
        self.chunks = 0
        self.roots: list[bytes] = []
        """Of the parts of its Log that were read through."""
        self._segment = segment
        self._seq = seq
        self._number = number
        self._end: End | None = None
        self._summary: dict[str, Any] | None = None

    @property
    def number(self) -> int:
        """The session's number in its journal."""
        return self._number

    def close(self) -> None:
        """Nothing is kept open."""

    def again(self) -> LiveSession:
        """A second reader of the same session, with a place of its own."""
        other = LiveSession(self.path, self._segment, self._number, self.header, self._seq)
        other.header_body = self.header_body
        return other

    def size(self) -> int:
        """Bytes on record are not known without reading."""
        return 0

    def noticed(self, record: Framed, tally: Tally, decoder: records.Decoder) -> None:
        """Told of each record with events, and the END, by ``live_sessions``."""
        body = records.unpack(record.body, record.offset)
        if record.kind == framing.HEADER:
            # Before a part of its own: what was counted up to there.
            summary = body[4].get("summary") if len(body) > 4 else None
            if isinstance(summary, dict):
                tally.summary = dict(summary)
                verdicts = tally.summary.pop("verdicts", None)
                if isinstance(verdicts, list) and len(verdicts) == 4:
                    tally.verdicts = list(verdicts)
                self._summary = {**tally.summary, "verdicts": tally.verdicts}
        elif record.kind == framing.END:
            self._end = read_end(body, record.offset)
        elif record.kind == framing.DATA:
            tally.add(decoder.entries(body, record.offset))
            # Only records with something new are read here, so that commands
            # are counted once per kind: a lower bound, never 0 for some.
            self._summary = {**tally.summary, "verdicts": tally.verdicts}

    def peek_end(self) -> End | None:
        """The END, if it was written; it waits for the sealer then."""
        return self._end

    @property
    def summary(self) -> dict[str, Any]:
        """What is known of who and where."""
        return self._summary or {}

    def stored(self) -> Iterator[Stored]:
        """Every DATA and GAP record that is flushed: first those in parts of its Log, then
        the journal's. What is cut and taken from the journal meanwhile is in a part then."""
        self.records, self.end, self.roots = 0, None, []
        parts = _Parts(self)
        yield from parts.read()
        while self.end is None:
            before = parts.expected
            yield from self._rest(parts)
            if self.end is None:
                yield from parts.read()
            if parts.expected == before:
                return

    def _rest(self, parts: _Parts) -> Iterator[Stored]:
        """What is in the journal."""
        last = 0
        for path in _segments(self.path, self._segment):
            for found in _read(path):
                if found.kind in (framing.COMMIT, framing.KEYS):
                    continue
                number, seq, at = records.prefix(found.body, found.offset)
                if number != self._number or seq < parts.expected:
                    continue
                if seq > parts.expected:
                    yield from parts.read()
                    if self.end is not None:
                        return
                    if seq < parts.expected:
                        continue
                if seq > parts.expected and found.kind == framing.HEADER:
                    raise parts.missing()
                if found.kind == framing.HEADER:
                    if header_of(found)["session"] != self.header["session"]:
                        return  # of the journal after this one
                    parts.expected, last = seq + 1, at
                    continue
                if seq != parts.expected or at < last:
                    raise ContradictionError("a record is out of its order", found.offset)
                parts.expected, last = seq + 1, at
                if found.kind == framing.END:
                    self.end = read_end(records.unpack(found.body), found.offset)
                    return
                item = Stored(found.kind, found.body, found.offset)
                if found.kind == framing.GAP:
                    parts.expected = gap_end(item)
                self.records += 1
                yield item


class _Parts:
    """The parts of a session's Log that are there, and where the records after them begin."""

    def __init__(self, session: LiveSession) -> None:
        self.expected = 0
        self._session = session
        self._part = 0
        self._before: LogFile | None = None

    def missing(self) -> FormatError:
        """For a part that is neither there nor in the journal."""
        error = FormatError("the part that follows is missing", 0, torn=True)
        error.part = self._part
        return error

    def read(self) -> Iterator[Stored]:
        """Records, from ``expected`` on, of parts that were not read yet."""
        session = self._session
        while session.end is None:
            try:
                log = open_part(part_path(session.log, self._part))
            except FileNotFoundError:
                return
            except FormatError as error:
                error.part = self._part
                raise
            try:
                if self._before is not None:
                    check_join(self._before, log)
                for item in log.stored():
                    seq = records.prefix(item.body)[1]
                    if seq >= self.expected:
                        session.records += 1
                        self.expected = seq + 1
                        yield item
            except FormatError as error:
                error.part = self._part
                raise
            finally:
                log.close()
            self._before, self._part = log, self._part + 1
            session.roots.append(log.root)
            if log.end is not None:
                self.expected = max(self.expected, log.end.seq)
                if log.end.status != "continued":
                    session.end = log.end


def live_sessions(journals: Path) -> Iterator[LiveSession]:
    """Every session in the journals below ``journals``, sealed or not."""
    if not journals.is_dir():
        return
    for directory in sorted(journals.iterdir()):
        if not directory.is_dir():
            continue
        found: dict[int, tuple[LiveSession, Tally, records.Decoder]] = {}
        for path in _segments(directory):
            for record in _read(path):
                if record.kind == framing.COMMIT or (
                    record.kind == framing.DATA and not record.flags & framing.EVENTS
                ):
                    continue
                try:
                    number = records.prefix(record.body)[0]
                    if record.kind == framing.HEADER:
                        header, seq = header_of(record), records.prefix(record.body)[1]
                        segment = int(path.stem) if path.stem.isdecimal() else 0
                        if number not in found or seq == 0:
                            live = LiveSession(directory, segment, number, header, seq)
                            live.header_body = record.body if seq == 0 else b""
                            found[number] = (live, Tally(), records.Decoder())
                        session, tally, decoder = found[number]
                        session.noticed(record, tally, decoder)
                    elif number in found:
                        session, tally, decoder = found[number]
                        session.noticed(record, tally, decoder)
                except FormatError:
                    continue  # verify is the place to complain
        for live, _, _ in found.values():
            yield live
