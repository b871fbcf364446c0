"""Cuts finished sessions out of the journal, one Log each."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recorder import framing, records
from recorder.errors import FormatError, RecorderError
from recorder.evidence.inbox import Item, hand_over, inbox_directory, sealed_leaves
from recorder.framing import Framed
from recorder.header import header_of
from recorder.log_reader import LogFile
from recorder.log_writer import LogWriter, settle
from recorder.scan import Damage, OpenSegment, Places
from recorder.sealed import note_sealed
from recorder.segment import segment_numbers, segment_path
from recorder.state import log_path
from recorder.tally import Tally
from recorder.verify import INCOMPLETE, OK, verify
from recorder.wrapped import put_keys

if TYPE_CHECKING:
    from recorder.journal import Journal
    from recorder.session_log import SessionLog

FAULTS_MAX = 100
_LOOK = 0.5  # seconds between looks for segments that can go
_SETTLE = 8.0  # seconds after which most file systems have written by themselves
_RETRY = 5.0  # seconds until a Log that could not be written is tried again


def write_log(
    sessions: Path,
    found: Iterable[Framed],
    ended: bool,
    pause: float = 0.0,
    durable: bool = True,
) -> Path:
    """Write the Log of the session whose records are ``found``, in order.

    ``ended`` says that an END is among them; else the Log gets one with the
    status ``recovered``, and every record is decoded to count its bytes. A
    jump in sequence numbers becomes a GAP. ``pause``: seconds to sleep per
    MiB, for the sake of other threads. Does nothing if the Log is there;
    one that is damaged is set aside as ``.damaged`` and written again.
    Raises ``OSError``, ``FormatError``.
    """
    each = iter(found)
    first = next(each)
    header = header_of(first)
    path = log_path(sessions, header["session"], header["wall"])
    second = next(each, None)
    if second is not None and second.kind == framing.KEYS:
        # Also where the Log is there: a crash may have left it without them.
        put_keys(path, header["session"], second.body, durable)
    elif second is not None:
        each = itertools.chain((second,), each)
    if path.exists() and _is_there(path, header):
        return path
    writer = LogWriter(path, header["session"], first.body)
    try:
        number, expected, last = records.prefix(first.body, first.offset)
        expected += 1
        tally, decoder = Tally(), records.Decoder()
        size = 0
        for record in each:
            _, seq, at = records.prefix(record.body, record.offset)
            if seq < expected:
                continue  # said twice: the same END in the segment and the ballast
            if seq > expected:
                writer.add(framing.GAP, _gap(number, expected, last, seq))
                tally.resume()
            expected, last = seq + 1, at
            if record.kind == framing.END:
                writer.finish(records.unpack(record.body, record.offset), durable)
                return path
            writer.add(record.kind, record.body)
            if not ended and record.kind == framing.DATA:
                body = records.unpack(record.body, record.offset)
                tally.add(decoder.entries(body, record.offset))
            size += len(record.body)
            if pause and size >= 1 << 20:
                size = 0
                time.sleep(pause)
        counts = [max(0, count) for count in tally.counts()]
        summary = {**tally.summary, "verdicts": tally.verdicts}
        reason = "the gateway died; recovered from its journal"
        writer.finish([number, expected, last, "recovered", reason, counts, summary])
        return path
    finally:
        writer.abandon()


def _is_there(path: Path, header: dict[str, Any]) -> bool:
    try:
        log = LogFile(path)
    except FormatError:
        pass
    else:
        try:
            if log.header != header:
                raise FormatError("another session of the same id has its Log already", 0)
            # A crash can leave a name without all of its bytes: look at each.
            if verify(log).status in (OK, INCOMPLETE) and log.end is not None:
                settle([path])
                return True
        finally:
            log.close()
    os.rename(path, path.with_name(path.name + ".damaged"))
    return False


def tell_ledger(sessions: Path, paths: list[Path], more: Iterable[Item] = ()) -> None:
    """Hand the leaves of finished Logs over, where a ledger is kept. ``OSError``."""
    inbox = inbox_directory(sessions.parent)
    if inbox.is_dir():
        hand_over(inbox, [*sealed_leaves(paths), *more])


def _gap(number: int, missing: int, at: int, following: int) -> bytes:
    body = [number, missing, at, following, "the journal was damaged"]
    return bytes(records.packer().pack(body))


class Sealer:
    """A thread of its own beside the writer: cuts Logs, deletes segments that
    nothing needs, and makes the journal durable at intervals.

    ``faults`` are sentences about what it could not do, for the operator. The list
    only grows, each sentence is in it once, and it ends at ``FAULTS_MAX``.
    """

    def __init__(self, journal: Journal, interval: float) -> None:
        self._journal = journal
        self._interval = interval
        self._queue: queue.SimpleQueue[SessionLog | None] = queue.SimpleQueue()
        self._waiting: dict[int, SessionLog] = {}
        self._later: list[tuple[float, SessionLog]] = []
        self._places = Places(journal.directory)
        self._look_again = 0.0
        self._sync_next = 0.0
        self._settling: list[tuple[float, Path, int]] = []
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self.faults: list[str] = []
        self.sealed = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def add(self, log: SessionLog) -> None:
        """An ended session whose END is flushed."""
        self._waiting[log.number] = log
        self._queue.put(log)

    def stop(self) -> None:
        """Finish what is queued, and end the thread."""
        self._queue.put(None)
        self._thread.join()
        self._places.close()

    def _run(self) -> None:
        going, now = True, 0.0
        while going:
            try:
                log = self._queue.get(timeout=self._interval)
            except queue.Empty:
                pass
            else:
                if log is None:
                    going = False
                else:
                    self._seal(log)
            now = time.monotonic()
            if now >= self._sync_next:
                self._sync_next = now + self._interval
                self._sync()
            if now >= self._look_again:
                self._look_again = now + _LOOK
                self._settle(now)
                self._delete_segments()
            while self._later and (not going or self._later[0][0] <= now):
                self._seal(self._later.pop(0)[1], last=not going)
        self._settle(now + 2 * _SETTLE)
        self._delete_segments()

    def _sync(self) -> None:
        journal = self._journal
        if journal.written != journal.durable:
            with contextlib.suppress(RecorderError):
                journal.sync()  # on failure the writer learns of it at its next flush

    def _seal(self, log: SessionLog, last: bool = False) -> None:
        try:
            found = self._records(log)
            path = write_log(self._journal.sessions, found, True, 0.0005, durable=False)
        except Exception as error:
            # Whatever it is, one session must not stop the sealing of others. The
            # journal keeps this one; recovery will try again at the latest.
            self._fault(f"session {log.session} is not sealed yet: {error}")
            if not last:
                self._later.append((time.monotonic() + _RETRY, log))
            return
        self.sealed += 1
        # Not out of ``_waiting`` yet: first the Log must be durable.
        self._settling.append((time.monotonic() + _SETTLE, path, log.number))

    def _records(self, log: SessionLog) -> Iterator[Framed]:
        if log.places is not None:
            yield from self._places.read(log.places)
            return
        for number in log.segments:
            with OpenSegment(segment_path(self._journal.directory, number)) as segment:
                yield from records_of(segment, log.number)

    def _settle(self, now: float) -> None:
        due = [item for item in self._settling if item[0] <= now]
        if not due:
            return
        del self._settling[: len(due)]
        try:
            settle(path for _, path, _ in due)
            # Before the journal may forget them: a kill must not lose their leaves.
            tell_ledger(self._journal.sessions, [path for _, path, _ in due])
            note_sealed(self._journal.directory, [number for _, _, number in due])
        except OSError as error:
            # They stay in ``_waiting``, so that the journal keeps them too.
            self._fault(f"Logs could not be made durable: {error}")
            return
        for _, _, number in due:
            self._waiting.pop(number, None)

    def _delete_segments(self) -> None:
        # The order of reads matters: a session is waiting before it is not open.
        current, needed = self._journal.segments_in_use()
        for log in tuple(self._waiting.values()):
            needed.update(log.segments)
        directory = self._journal.directory
        done = [n for n in segment_numbers(directory) if n < current and n not in needed]
        if not done:
            return
        try:
            for number in done:
                segment_path(directory, number).unlink(missing_ok=True)
        except OSError as error:
            self._fault(f"segments could not be deleted: {error}")

    def _fault(self, text: str) -> None:
        """Note it once: what is tried again and again would fill the list."""
        if len(self.faults) < FAULTS_MAX and text not in self.faults:
            self.faults.append(text)
            if len(self.faults) == FAULTS_MAX - 1:
                self.faults.append("further faults of the sealer are not told")


def records_of(segment: OpenSegment, session: int) -> Iterator[Framed]:
    """The records of one session in a segment; ``FormatError`` at damage."""
    for record in segment.records():
        if isinstance(record, Damage):
            raise FormatError(record.reason, record.start)
        if record.kind != framing.COMMIT and records.prefix(record.body)[0] == session:
            yield record
