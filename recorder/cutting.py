"""Cuts what a journal holds of one session into its Log: one file, or several parts.

The sealer gives the records of one part; recovery gives all that is left of a session in a
journal. Where to go on, the files say that are there (FORMAT.md, section 6.1): a part that is
whole is not written again, and what the journal still holds of it counts for nothing. So doing
it twice, or after a crash at any point, gives the same files.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from recorder import framing, records
from recorder.errors import FormatError
from recorder.framing import Framed
from recorder.header import header_of
from recorder.log_reader import End, LogFile
from recorder.log_writer import LogWriter, settle_anew
from recorder.state import log_path, part_path
from recorder.tally import Tally
from recorder.verify import INCOMPLETE, OK, verify
from recorder.wrapped import put_keys

RECOVERED = "the gateway died; recovered from its journal"


class Before(NamedTuple):
    """A part that is there, and what follows from it for the next one."""

    part: int
    header: dict[str, Any]
    end: End
    root: bytes


@dataclass
class Cut:
    """What became of a session's records: the files that hold them now, in order, the root of
    the last, and whether records are left that no file could take (their HEADER is lost)."""

    paths: list[Path] = field(default_factory=list)
    root: bytes = b""
    left: bool = False


def cut(
    sessions: Path,
    found: Iterable[Framed],
    ended: bool = True,
    *,
    end: list[Any] | None = None,
    previous: bytes = b"",
    pause: float = 0.0,
    durable: bool = True,
) -> Cut:
    """Write the Log of the session whose records are ``found``, in order, below ``sessions``.

    ``end`` is the END for a part that the journal goes on after; else the last file gets the END
    that is among the records, or, where ``ended`` says that none is, one with the status
    ``recovered``; every record is decoded then, to count bytes. ``previous``: the root of the
    part before the first, where the file is not to be asked. A jump in sequence numbers becomes
    a GAP. ``pause``: seconds to sleep per MiB, for the sake of other threads. A file that is
    there is left as it is; one that is damaged is set aside as ``.damaged`` and written again.
    Raises ``OSError``, ``FormatError``.
    """
    cutter = _Cutter(sessions, ended, previous, durable)
    size = 0
    try:
        for record in found:
            cutter.take(record)
            size += len(record.body)
            if pause and size >= 1 << 20:
                size = 0
                time.sleep(pause)
        cutter.close(end)
        return cutter.done
    finally:
        if cutter.writer is not None:
            cutter.writer.abandon()


class _Cutter:
    def __init__(self, sessions: Path, ended: bool, previous: bytes, durable: bool) -> None:
        self.done = Cut()
        self.writer: LogWriter | None = None
        self._sessions = sessions
        self._ended = ended
        self._previous = previous
        self._durable = durable
        self._before: Before | None = None
        self._over = False
        self._early = False  # records came before any HEADER
        self._heard = -1  # sequence number of the last HEADER
        self._number = 0
        self._part = 0
        self._header: dict[str, Any] = {}
        self._path = Path()
        self._expected = 0
        self._last = 0
        self._tally, self._decoder = Tally(), records.Decoder()

    # ---- records ---------------------------------------------------------

    def take(self, record: Framed) -> None:
        if record.kind == framing.HEADER:
            self._boundary(record)
        elif record.kind == framing.KEYS:
            if self._heard >= 0:
                # Also where the Log is there: a crash may have left it without them.
                path = self._path_of(self._header, 0)
                put_keys(path, self._header["session"], record.body, self._durable)
        elif not self._over:
            self._add(record)

    def _add(self, record: Framed) -> None:
        _, seq, at = records.prefix(record.body, record.offset)
        if seq < self._expected:
            return  # in a part that is there; or said twice: an END in the segment and the ballast
        if self.writer is None:
            if self._before is None:
                self._early = True
                return
            self._begin_anyway()
            if self.writer is None:
                return
        self._reach(seq)
        self._expected, self._last = seq + 1, at
        if record.kind == framing.END:
            self._finish(records.unpack(record.body, record.offset))
            return
        self.writer.add(record.kind, record.body)
        if not self._ended and record.kind == framing.DATA:
            body = records.unpack(record.body, record.offset)
            self._tally.add(self._decoder.entries(body, record.offset))

    def _reach(self, seq: int) -> None:
        if seq > self._expected and self.writer is not None:
            body = [self._number, self._expected, self._last, seq, "the journal was damaged"]
            self.writer.add(framing.GAP, bytes(records.packer().pack(body)))
            self._tally.resume()
            self._expected = seq

    # ---- parts -----------------------------------------------------------

    def _boundary(self, record: Framed) -> None:
        header = header_of(record)
        number, seq, at = records.prefix(record.body, record.offset)
        if seq <= self._heard:
            return  # said again, in a later segment
        self._heard = seq
        self._header, self._number = header, number
        if self._over or seq < self._expected:
            return
        if self.writer is not None:
            self._reach(seq)
            self._finish([number, seq, at, "continued", records.CONTINUED,
                          _counts(header), _summary(header)])  # fmt: skip
        before = self._before
        if before is not None and before.end.seq == seq:
            self._begin(before.part + 1, seq, at, record.body)
            return
        hint = header.get("part", 0)
        part = hint if type(hint) is int and hint >= 0 else 0
        earlier = self._earlier(part, seq)
        if earlier is not None and earlier.end.seq != seq:
            earlier = None  # not the part before this one
        if self._early and earlier is None:
            self.done.left = True
        if before is not None and part <= before.part:
            part = before.part + 1
        self._before = earlier or before
        self._begin(part, seq, at, record.body)

    def _earlier(self, part: int, seq: int) -> Before | None:
        """The part before ``part``, if it is there."""
        if not part:
            return None
        path = self._path_of(self._header, part - 1)
        try:
            log = LogFile(path)
        except (FormatError, OSError):
            return None
        try:
            end, root = log.peek_root()
            return None if end is None else Before(part - 1, log.header, end, root)
        finally:
            log.close()

    def _begin(self, part: int, seq: int, at: int, body: bytes) -> None:
        header = self._header
        if part:
            header = {k: v for k, v in header.items() if k not in records.OF_PARTS}
            more = {"part": part, "counts": _counts(self._header)}
            header |= {**more, "summary": _summary(self._header)}
            before = self._before
            root = self._previous
            if before is not None:
                root = before.root if before.part == part - 1 else b""
            if root:
                header["previous"] = root
            body = records.packer().pack([self._number, seq, at, framing.VERSION, header])
        self._previous = b""
        self._part = part
        self._path = path = self._path_of(header, part)
        there = self._there(path, header) if path.exists() else None
        if there is not None:
            self._done(there)
            return
        self.writer = LogWriter(path, header["session"], body, part)
        self._expected, self._last = seq + 1, at
        self._tally, self._decoder = Tally(_counts(header)), records.Decoder()
        summary = _summary(header)
        self._tally.verdicts = summary.pop("verdicts", [0, 0, 0, 0])
        self._tally.summary = summary

    def _begin_anyway(self) -> None:
        """The HEADER is lost, but the part before it tells what was in it."""
        before = self._before
        assert before is not None
        end = before.end
        self._header = {**before.header, "counts": list(end.counts), "summary": end.summary}
        self._begin(before.part + 1, end.seq, end.at, b"")

    def _finish(self, end: list[Any]) -> None:
        assert self.writer is not None
        root = self.writer.finish(end, self._durable)
        self.writer = None
        counts = (end[5][0], end[5][1], end[5][2], end[5][3])
        said = End(end[3], end[4], counts, end[6], end[1], end[2])
        self._done(Before(self._part, self._header, said, root))

    def _done(self, part: Before) -> None:
        self._before = part
        self._over = part.end.status != "continued"
        self._expected = part.end.seq
        self.done.paths.append(self._path)
        self.done.root = part.root

    def close(self, end: list[Any] | None) -> None:
        """All records were taken."""
        if self._over:
            return
        if self._heard < 0:
            raise FormatError("its header is lost", 0)
        if end is not None:
            if self.writer is not None:
                self._finish(end)
            return
        if self.writer is None:
            self._begin_anyway()
        if self.writer is not None:
            counts = [max(0, count) for count in self._tally.counts()]
            summary = {**self._tally.summary, "verdicts": self._tally.verdicts}
            self._finish([self._number, self._expected, self._last, "recovered", RECOVERED,
                          counts, summary])  # fmt: skip

    # ---- files -----------------------------------------------------------

    def _path_of(self, header: dict[str, Any], part: int) -> Path:
        return part_path(log_path(self._sessions, header["session"], header["wall"]), part)

    def _there(self, path: Path, header: dict[str, Any]) -> Before | None:
        """The part if it is there, whole; else it is set aside."""
        try:
            log = LogFile(path)
        except FormatError:
            pass
        else:
            try:
                if _without(log.header) != _without(header):
                    raise FormatError("another session of the same id has its Log already", 0)
                # A crash can leave a name without all of its bytes: look at each.
                if (
                    verify(log).status in (OK, INCOMPLETE)
                    and log.end is not None
                    and log.header == header
                ):
                    settle_anew(path)
                    return Before(self._part, log.header, log.end, log.root)
            finally:
                log.close()
        os.rename(path, path.with_name(path.name + ".damaged"))
        return None


def _without(header: dict[str, Any]) -> dict[str, Any]:
    """A header without what depends on the part before."""
    return {key: value for key, value in header.items() if key != "previous"}


def _counts(header: dict[str, Any]) -> list[int]:
    counts = header.get("counts")
    if isinstance(counts, list) and len(counts) == 4 and all(type(n) is int for n in counts):
        return counts
    return [0, 0, 0, 0]


def _summary(header: dict[str, Any]) -> dict[str, Any]:
    """A copy."""
    found = header.get("summary")
    summary = dict(found) if isinstance(found, dict) else {}
    verdicts = summary.get("verdicts")
    if isinstance(verdicts, list):
        summary["verdicts"] = list(verdicts)
    return summary
