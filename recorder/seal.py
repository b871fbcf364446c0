"""Cuts sessions out of the journal, into Logs and parts of Logs, while others go on."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from recorder import framing, records
from recorder.cutting import cut
from recorder.errors import FormatError, RecorderError
from recorder.evidence.inbox import Item, hand_over, inbox_directory, sealed_leaves
from recorder.framing import Framed
from recorder.log_writer import settle
from recorder.scan import Damage, OpenSegment, Places
from recorder.sealed import note_sealed
from recorder.segment import segment_numbers, segment_path

if TYPE_CHECKING:
    from recorder.journal import Journal
    from recorder.session_log import Portion

FAULTS_MAX = 100
_LOOK = 0.5  # seconds between looks for segments that can go
_SETTLE = 8.0  # seconds after which most file systems have written by themselves
_QUIET = 1.0  # seconds without a Log after which a few of them need not wait for that
_FEW = 8
_RETRY = 5.0  # seconds until a Log that could not be written is tried again


class _Settling(NamedTuple):
    """A file that is written. ``due`` is when to make it durable, ``written`` what of the
    journal has to be durable first."""

    due: float
    written: int
    path: Path
    done: Portion


def tell_ledger(sessions: Path, paths: list[Path], more: Iterable[Item] = ()) -> None:
    """Hand the leaves of finished Logs over, where a ledger is kept. ``OSError``."""
    inbox = inbox_directory(sessions.parent)
    if inbox.is_dir():
        hand_over(inbox, [*sealed_leaves(paths), *more])


class Sealer:
    """A thread of its own beside the writer: cuts Logs, part by part, deletes segments
    that nothing needs, and makes the journal durable at intervals.

    ``faults`` are sentences about what it could not do, for the operator. The list
    only grows, each sentence is in it once, and it ends at ``FAULTS_MAX``.
    """

    def __init__(self, journal: Journal, interval: float) -> None:
        self._journal = journal
        self._interval = interval
        self._queue: queue.SimpleQueue[tuple[int, Portion] | None] = queue.SimpleQueue()
        self._fresh: deque[tuple[int, Portion]] = deque()
        self._waiting: dict[tuple[int, int], Portion] = {}
        self._later: dict[int, tuple[float, list[Portion]]] = {}
        self._roots: dict[int, bytes] = {}
        self._places = Places(journal.directory)
        self._look_again = 0.0
        self._sync_next = 0.0
        self._settling: list[_Settling] = []
        self._busy = 0.0
        self._unsettled: set[int] = set()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self.faults: list[str] = []
        self.sealed = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def hold(self, done: Portion) -> None:
        """A part that takes nothing more; its segments are needed until it is durable."""
        self._waiting[done.number, done.part] = done

    def add(self, done: Portion) -> None:
        """A part that is held, and all of whose records are flushed."""
        self._queue.put((self._journal.written, done))

    def stop(self) -> None:
        """Finish what is queued, and end the thread."""
        self._queue.put(None)
        self._thread.join()
        self._places.close()

    def _run(self) -> None:
        going, now = True, 0.0
        while going:
            try:
                item = self._queue.get(timeout=self._interval)
            except queue.Empty:
                pass
            else:
                if item is None:
                    going = False
                else:
                    self._fresh.append(item)
            now = time.monotonic()
            if now >= self._sync_next:
                self._sync_next = now + self._interval
                self._sync()
            # A Log before its session is durable could be left half by a power cut that
            # takes the session out of the journal too: nobody would write it again.
            while self._fresh and self._fresh[0][0] <= self._journal.durable:
                self._take(self._fresh.popleft()[1])
            if now >= self._look_again:
                self._look_again = now + _LOOK
                # Where little goes on, a sync each is cheap, and an auditor who comes at
                # once finds the ledger to know what there is.
                quiet = now - self._busy >= _QUIET and len(self._settling) <= _FEW
                self._settle(now + _SETTLE if quiet else now)
                self._delete_segments()
            for number, (due, _) in list(self._later.items()):
                if not going or due <= now:
                    self._try_again(number, last=not going)
        self._settle(now + 2 * _SETTLE)
        self._delete_segments()

    def _sync(self) -> None:
        journal = self._journal
        if journal.written != journal.durable:
            with contextlib.suppress(RecorderError):
                journal.sync()  # on failure the writer learns of it at its next flush

    def _take(self, done: Portion) -> None:
        if done.number in self._later:
            self._later[done.number][1].append(done)  # each part needs the root of the one before
        elif not self._seal(done):
            self._later[done.number] = (time.monotonic() + _RETRY, [done])

    def _try_again(self, number: int, last: bool) -> None:
        _, some = self._later.pop(number)
        while some and self._seal(some[0]):
            del some[0]
        if some and not last:
            self._later[number] = (time.monotonic() + _RETRY, some)

    def _seal(self, done: Portion) -> bool:
        try:
            made = cut(
                self._journal.sessions, self._records(done), end=done.end,
                previous=self._roots.get(done.number, b""), pause=0.0005, durable=False,
            )  # fmt: skip
        except Exception as error:
            # Whatever it is, one session must not stop the sealing of others. The
            # journal keeps this one; recovery will try again at the latest.
            part = f" (part {done.part})" if done.part else ""
            self._fault(f"session {done.session}{part} is not sealed yet: {error}")
            return False
        if done.end is None:
            self.sealed += 1
            self._roots.pop(done.number, None)
        else:
            self._roots[done.number] = made.root
        # Not out of ``_waiting`` yet: first the file must be durable, and what the
        # journal has after it: a part that goes on must not be the last thing known.
        self._busy = time.monotonic()
        due = self._busy + _SETTLE
        self._settling.append(_Settling(due, self._journal.written, made.paths[-1], done))
        return True

    def _records(self, done: Portion) -> Iterator[Framed]:
        if done.places is not None:
            yield from self._places.read(done.places)
            return
        stop = None if done.end is None else done.end[1]
        for number in done.segments:
            with OpenSegment(segment_path(self._journal.directory, number)) as segment:
                yield from records_of(segment, done.number, done.first, stop)

    def _settle(self, now: float) -> None:
        durable = self._journal.durable
        due = [item for item in self._settling if item.due <= now and item.written <= durable]
        if not due:
            return
        self._settling = [item for item in self._settling if item not in due]
        numbers = [item.done.number for item in due if item.done.end is None]
        try:
            settle(item.path for item in due)
            # Before the journal may forget them: a kill must not lose their leaves.
            tell_ledger(self._journal.sessions, [item.path for item in due])
            note_sealed(self._journal.directory, (n for n in numbers if n not in self._unsettled))
        except OSError as error:
            # They stay in ``_waiting``, so that the journal keeps them too; and recovery
            # must not take their sessions for finished.
            self._unsettled.update(item.done.number for item in due)
            self._fault(f"Logs could not be made durable: {error}")
            return
        for item in due:
            self._waiting.pop((item.done.number, item.done.part), None)

    def _delete_segments(self) -> None:
        # The order of reads matters: a part is waiting before its session lets go of it.
        current, needed = self._journal.segments_in_use()
        for done in tuple(self._waiting.values()):
            needed.update(done.segments)
        directory = self._journal.directory
        gone = [n for n in segment_numbers(directory) if n < current and n not in needed]
        if not gone:
            return
        try:
            for number in gone:
                segment_path(directory, number).unlink(missing_ok=True)
        except OSError as error:
            self._fault(f"segments could not be deleted: {error}")

    def _fault(self, text: str) -> None:
        """Note it once: what is tried again and again would fill the list."""
        if len(self.faults) < FAULTS_MAX and text not in self.faults:
            self.faults.append(text)
            if len(self.faults) == FAULTS_MAX - 1:
                self.faults.append("further faults of the sealer are not told")


def records_of(
    segment: OpenSegment, session: int, first: int = 0, stop: int | None = None
) -> Iterator[Framed]:
    """The records of one session in a segment, from ``first`` and before ``stop`` (sequence
    numbers); ``FormatError`` at damage."""
    for record in segment.records():
        if isinstance(record, Damage):
            raise FormatError(record.reason, record.start)
        if record.kind != framing.COMMIT:
            number, seq, _ = records.prefix(record.body)
            if number == session and seq >= first and (stop is None or seq < stop):
                yield record
