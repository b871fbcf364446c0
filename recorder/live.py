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
from recorder.log_reader import End, Stored, gap_end, read_end
from recorder.scan import Damage, OpenSegment
from recorder.segment import BALLAST, segment_numbers, segment_path
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
            for found in segment.records():
                if isinstance(found, Damage):
                    return
                yield found
    except (FileNotFoundError, FormatError):
        return  # sealed and deleted meanwhile, or only just being made


class LiveSession:
    """A session in a journal; the same surface as ``LogFile``."""

    live = True
    part = 0

    def __init__(self, directory: Path, segment: int, number: int, header: dict[str, Any]) -> None:
        self.path = directory
        self.header = header
        self.end: End | None = None
        self.records = 0
        self.chunks = 0
        self._segment = segment
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
        return LiveSession(self.path, self._segment, self._number, self.header)

    def size(self) -> int:
        """Bytes on record are not known without reading."""
        return 0

    def noticed(self, record: Framed, tally: Tally, decoder: records.Decoder) -> None:
        """Told of each record with events, and the END, by ``live_sessions``."""
        body = records.unpack(record.body, record.offset)
        if record.kind == framing.END:
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
        """Every DATA and GAP record that is flushed."""
        expected, last = 1, 0
        self.records = 0
        for path in _segments(self.path, self._segment):
            for found in _read(path):
                if found.kind in (framing.COMMIT, framing.HEADER):
                    continue
                number, seq, at = records.prefix(found.body, found.offset)
                if number != self._number or seq < expected:
                    continue
                if seq != expected or at < last:
                    raise ContradictionError("a record is out of its order", found.offset)
                expected, last = seq + 1, at
                if found.kind == framing.END:
                    self.end = read_end(records.unpack(found.body), found.offset)
                    return
                item = Stored(found.kind, found.body, found.offset)
                if found.kind == framing.GAP:
                    expected = gap_end(item)
                self.records += 1
                yield item


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
                        header = header_of(record)
                        segment = int(path.stem) if path.stem.isdecimal() else 0
                        live = LiveSession(directory, segment, number, header)
                        found[number] = (live, Tally(), records.Decoder())
                    elif number in found:
                        session, tally, decoder = found[number]
                        session.noticed(record, tally, decoder)
                except FormatError:
                    continue  # verify is the place to complain
        for live, _, _ in found.values():
            yield live
