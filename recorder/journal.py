"""The journal: one append-only write-ahead log per worker process.

``spans``, ``command``, ``event`` and ``end`` of session logs collect; ``flush``
writes all of it with one write. Only after ``flush`` returned may bytes move
to a peer. After any failure to write the journal refuses everything: it writes
the END of each open session into the ballast, and every call raises.

One thread calls everything except ``sync`` and ``state``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from array import array
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn

from crc32c import crc32c
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from recorder import framing, records
from recorder.errors import RecorderError
from recorder.fields import writable
from recorder.header import is_session_id
from recorder.originals import Keeper, Originals
from recorder.recovery import Recovery, recover
from recorder.seal import Sealer
from recorder.segment import (
    BALLAST,
    Ballast,
    Segment,
    fsync_directory,
    make_directory,
    segment_path,
)
from recorder.session_log import PLACES_MAX, Portion, SessionLog
from recorder.state import sessions_directory, worker_directory
from recorder.wrapped import in_header, keys_body

State = Literal["ok", "low", "critical"]

PART_SIZE = 8 << 20
PART_SECONDS = 600.0
_IDLE_EVERY = 60_000_000_000
_IDLE_SEGMENTS = 4
"""How many segments back an idle session may hold one."""
_PIECES = 1000  # one writev takes at most IOV_MAX (1024) pieces
_DATA = framing.word(framing.DATA)
_JOIN_MAX = 1 << 16
_MASK = framing.MASK
_bound = framing.BOUND.pack
_record = framing.RECORD.pack


class Ground(NamedTuple):
    """Where others may write records of logs that are lent: at ``end`` of the segment of that
    ``seed`` and number, open as ``fd``, whose places start at ``base``; ``room`` is how many
    bytes may go in before it has to be told of."""

    fd: int
    end: int
    base: int
    seed: int
    segment: int
    room: int


def _nobody() -> None:
    """No log is lent."""


class Journal:
    """``directory`` is the state directory; this worker's segments lie in
    ``directory/journal/<worker>``, finished Logs in ``directory/sessions``.

    ``clock`` gives monotonic and ``wall`` Unix nanoseconds, ``chance(n)`` n
    random bytes. ``auditors`` are the public keys that originals behind masks
    (and, when they are only withheld, the keys of their commitments) are
    wrapped to. ``credentials`` "seal" seals to them what upstreams are shown, which
    is else not kept at all. ``sealer`` starts the thread that cuts Logs and calls ``sync``
    every ``commit_interval`` seconds; without it both happen when the journal
    is next opened, or by hand. A session's part ends after ``part_size`` bytes of
    records or ``part_seconds``, whichever comes first. ``low`` and ``critical`` are bytes of free
    space (``low`` None: 1 GiB or a twentieth of the disk, whichever is more).
    Raises ``RecorderError`` when another process writes there, or when there
    is no room.
    """

    def __init__(
        self,
        directory: Path,
        *,
        gateway: str,
        clock: Callable[[], int],
        wall: Callable[[], int],
        chance: Callable[[int], bytes],
        worker: str = "0",
        segment_bytes: int = 64 << 20,
        ballast_bytes: int = 8 << 20,
        auditors: Sequence[X25519PublicKey] = (),
        originals: Originals | None = None,
        credentials: Originals = "withhold",
        sealer: bool = True,
        commit_interval: float = 0.1,
        low: int | None = None,
        critical: int = 256 << 20,
        part_size: int = PART_SIZE,
        part_seconds: float = PART_SECONDS,
    ) -> None:
        self.directory = worker_directory(directory, worker)
        self.sessions = sessions_directory(directory)
        self.clock = clock
        self.wall = wall
        self.dirty: list[SessionLog] = []
        self.open_sessions: dict[int, SessionLog] = {}
        self.part_size = max(1, part_size)
        self.part_time = max(1, int(part_seconds * 1e9))
        self.recall: Callable[[], None] = _nobody
        """Has every log that is lent taken back, before the journal itself writes to
        logs: who lends them puts it here."""
        self.written = 0
        """Bytes flushed since the start, over all segments: what ``sync``
        counts in."""
        self._gateway = gateway
        self._chance = chance
        self._segment_bytes = segment_bytes
        self._auditors = tuple(auditors)
        self._originals: Originals = originals or ("seal" if auditors else "withhold")
        self._credentials: Originals = credentials
        self._low = low
        self._critical = critical
        self._state: State = "ok"
        self._state_after = 0
        self._failed = ""
        self._sessions_opened = 0
        self._packer = records.packer()
        self._pack = self._packer.pack
        self._pieces: list[bytes] = []
        self._ending: list[SessionLog] = []
        self._parted: list[Portion] = []
        self._said_again: list[SessionLog] = []
        self._idle_after = 0
        self._pending = 0
        self._durable = 0
        self._durable_place = (0, 0)
        self._durable_noted = (0, 0)
        self._sync_lock = threading.Lock()
        self._unsynced: deque[Segment] = deque()
        self._gave_up = False
        self._new_names = True
        self._sealer: Sealer | None = None
        try:
            make_directory(self.directory)
            make_directory(self.sessions)
            self._lock = os.open(
                self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640
            )
        except OSError as error:
            raise RecorderError(f"the journal can't be opened: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise RecorderError(f"another process writes to {self.directory}") from error
        try:
            self.recovery: Recovery = recover(self.directory, self.sessions)
            self._ballast = Ballast(self.directory / BALLAST, ballast_bytes, chance)
            self._segment = self._new_segment(self.recovery.next_segment)
        except OSError as error:
            os.close(self._lock)
            raise RecorderError(f"the journal can't be opened: {error.strerror}") from error
        if sealer:
            self._sealer = Sealer(self, commit_interval)
            self._sealer.start()

    # ---- sessions ----------------------------------------------------------

    def open(
        self, header: Mapping[str, object], *, originals: Originals | None = None
    ) -> SessionLog:
        """Begin a session's log. ``header`` holds ``session`` (its ULID) and
        what else is known at once (``listener``, ``protocol``, ``peer``,
        ``policy``, ``durability``...), in msgpack's types."""
        self._check()
        session = header.get("session")
        if not is_session_id(session):
            raise ValueError("a session's id is up to 64 letters and digits")
        start = self.clock()
        how = originals or self._originals
        keeper = Keeper(str(session), how, self._auditors, self._chance, self._credentials)
        full: dict[str, Any] = {
            **header,
            "format": framing.VERSION,
            "gateway": self._gateway,
            "wall": self.wall(),
            "mono": start,
            "hash": "sha256",
            "originals": how,
            "keys": in_header(keeper.wrapped),
        }
        if self._credentials == "seal":
            full["credentials"] = "seal"
        self._sessions_opened += 1
        number = self._sessions_opened
        log = SessionLog(self, number, full, keeper, start)
        body = self._packer.pack([number, 0, 0, framing.VERSION, full])
        if len(body) > framing.BODY_MAX // 4:
            raise ValueError("a session's header is too long")
        self.open_sessions[number] = log
        self._put(log, framing.word(framing.HEADER), body)
        if keeper.wrapped:
            # Apart from the header, which the chain and the ledger are over: they can be erased.
            kept = self._packer.pack(keys_body(number, keeper.wrapped))
            self._put(log, framing.word(framing.KEYS), kept)
        return log

    def parted(self, log: SessionLog, done: Portion) -> None:
        """Called by ``SessionLog`` where a part begins; ``done`` is the one before."""
        if self._sealer is not None:
            self._sealer.hold(done)  # before the session lets go of its segments
            self._parted.append(done)
        log.places = array("Q")
        log.segments = []
        self._put(log, framing.word(framing.HEADER), self._packer.pack(log.header_body()))

    def say_again(self, log: SessionLog) -> None:
        """Called by ``SessionLog``: its part is empty so far, and moves to this segment.
        What it held is held until that is written."""
        log.places = array("Q")
        self._put(log, framing.word(framing.HEADER), self._packer.pack(log.header_body()))
        self._said_again.append(log)

    def relieve(self) -> None:
        """To be called now and then, at least each second or so: sessions that write nothing
        must not hold old segments, nor keep their evidence back. ``RecorderError``."""
        now = self.clock()
        if now < self._idle_after or self._failed:
            return
        self.recall()
        self._idle_after = now + min(_IDLE_EVERY, self.part_time)
        oldest = self._segment.number - _IDLE_SEGMENTS
        for log in self.open_sessions.values():
            log.idle(oldest)
        self.flush()

    def pack(self, log: SessionLog) -> None:
        """Turn what ``log`` collected into a record of the next flush."""
        entries = log.entries
        if entries is None:
            return
        body = self._pack(entries)
        log.entries = None
        log.size = 0
        first = _DATA
        if log.flags:
            first |= log.flags << 16
            log.flags = 0
        log.room -= len(body)
        self._put(log, first, body)

    def ended(self, log: SessionLog, status: str, reason: str) -> None:
        """Called by ``SessionLog.end``."""
        self._check()
        body = self._packer.pack(log.end_body(status, writable(reason[:4096])))
        self._put(log, framing.word(framing.END), body)
        self._ending.append(log)

    # ---- writing -------------------------------------------------------------

    def flush(self) -> None:
        """Write everything that was collected. Bytes may move only after it
        returned; ``RecorderError`` means that they must not."""
        dirty = self.dirty
        if dirty:
            self.dirty = []
            try:
                for log in dirty:
                    self.pack(log)
            except Exception as error:
                # A value that msgpack refuses: a bug, and what others collected
                # may be lost with it, so that nothing of it may move.
                self._fail(f"a record can't be packed: {type(error).__name__}")
        if self._failed:
            self._fail(self._failed)
        pieces = self._pieces
        if not pieces:
            return
        segment = self._segment
        if self._durable_noted != self._durable_place:
            self._note_durable()
        pending = self._pending
        try:
            count = len(pieces)
            if pending <= _JOIN_MAX:
                wrote = os.write(segment.fd, b"".join(pieces) if count > 1 else pieces[0])
            else:
                wrote = 0
                for at in range(0, count, _PIECES):
                    part = pieces[at : at + _PIECES]
                    done = os.writev(segment.fd, part)
                    wrote += done
                    if done != sum(map(len, part)):
                        break
        except OSError as error:
            self._fail(f"the journal can't be written: {error.strerror}")
        if wrote != pending:
            self._fail("the journal can't be written: only a part was taken (disk full?)")
        self._pieces = []
        self._pending = 0
        segment.end += pending
        self.written += pending
        if self._parted or self._said_again:
            self._on_record()
        if self._ending:
            for log in self._ending:
                self._finished(log)
            self._ending = []
        if segment.end >= self._segment_bytes:
            self._rotate()

    def ground(self) -> Ground:
        """Write what is to be written first, as ``flush`` does; others may write then, until
        ``wrote`` is called, which comes before anything else. ``RecorderError``: nobody may."""
        if self._failed:
            self._fail(self._failed)
        if self._durable_noted != self._durable_place:
            self._note_durable()
        if self._pieces or self.dirty:
            self.flush()
        segment = self._segment
        room = self._segment_bytes - segment.end
        return Ground(segment.fd, segment.end, segment.base, segment.seed, segment.number, room)

    def wrote(self, length: int, strangers: Sequence[SessionLog], fault: int) -> None:
        """Others wrote ``length`` bytes there, first records in that segment of the logs
        ``strangers``. ``fault``: what came after them did not get written, and must not move: the
        ``errno``, -1 where only a part was taken; that raises ``RecorderError``."""
        segment = self._segment
        for log in strangers:
            log.segments.append(segment.number)
        segment.end += length
        self.written += length
        if fault > 0:
            self._fail(f"the journal can't be written: {os.strerror(fault)}")
        if fault:
            self._fail("the journal can't be written: only a part was taken (disk full?)")
        if segment.end >= self._segment_bytes:
            self._rotate()

    def sync(self) -> int:
        """Make what is written durable; returns how much of ``written`` is.

        May be called from any thread. ``RecorderError`` on failure: the data
        must be taken for lost, and the journal refuses everything after.
        """
        with self._sync_lock:
            if self._failed:
                raise RecorderError(self._failed)
            # The order of these reads matters: whatever ``written`` counts is
            # in ``segment`` or, if that was changed since, in ``_unsynced``.
            written = self.written
            segment = self._segment
            place = (segment.number, segment.end)
            old: list[Segment] = []
            while self._unsynced:
                old.append(self._unsynced.popleft())
            try:
                for item in (*old, segment):
                    os.fdatasync(item.fd)
                if self._new_names:
                    self._new_names = False
                    fsync_directory(self.directory)
            except OSError as error:
                # Not tried again: the kernel may have dropped the pages.
                self._failed = f"the journal can't be made durable: {error.strerror}"
                raise RecorderError(self._failed) from error
            finally:
                for item in old:
                    os.close(item.fd)
            self._durable_place = place
            self._durable = written
            return written

    @property
    def failed(self) -> str:
        """Why it takes nothing more, "" while it does."""
        return self._failed

    @property
    def durable(self) -> int:
        """How much of ``written`` is known to be durable."""
        return self._durable

    def has_durable_start(self, log: SessionLog) -> bool:
        """Is the header of ``log`` durable? False while it may not be. May be called from any
        thread."""
        number, end = self._durable_place
        places, segments = log.places, log.segments
        if places:
            # In a later part these are of what followed: then the header is durable as well.
            return bool(places[0] < (number << 32 | end))
        return bool(segments) and segments[0] < number

    def state(self) -> State:
        """Free space: ``low`` is when to refuse new sessions, ``critical``
        when to end running ones. Looks at most once a second."""
        now = self.clock()
        if now >= self._state_after:
            self._state_after = now + 1_000_000_000
            try:
                stat = os.statvfs(self.directory)
            except OSError:
                self._state = "critical"
                return self._state
            free = stat.f_bavail * stat.f_frsize
            low = self._low
            if low is None:
                low = max(1 << 30, stat.f_blocks * stat.f_frsize // 20)
            self._state = "critical" if free < self._critical else "low" if free < low else "ok"
        return self._state

    def close(self) -> None:
        """End the sessions still open, make everything durable, wait for the
        sealer, and release the directory. Idempotent."""
        if self._lock < 0:
            return
        try:
            if not self._failed:
                self.recall()
                for log in tuple(self.open_sessions.values()):
                    log.end("terminated", "the gateway stopped")
                self.flush()
                self.sync()
        finally:
            if self._sealer is not None:
                self._sealer.stop()
            for segment in (*self._unsynced, self._segment, self._ballast):
                os.close(segment.fd)
            os.close(self._lock)
            self._lock = -1
            self._failed = self._failed or "the journal is closed"

    @property
    def faults(self) -> list[str]:
        """What recovery found and the sealer could not do, for the operator."""
        late = [] if self._sealer is None else self._sealer.faults
        return [*self.recovery.notices, *late]

    def segments_in_use(self) -> tuple[int, set[int]]:
        """The segment that is written to, and those before it that hold
        records of open sessions. May be called from any thread."""
        current = self._segment.number
        found: set[int] = set()
        for log in tuple(self.open_sessions.values()):
            found.update(tuple(log.segments))
        return current, found

    # ---- within ----------------------------------------------------------------

    def _check(self) -> None:
        if self._failed:
            raise RecorderError(self._failed)

    def _put(self, log: SessionLog, first: int, body: bytes) -> None:
        # framing.record_header, spelled out: this runs for every record.
        segment = self._segment
        pending = self._pending
        offset = segment.end + pending
        length = len(body)
        crc = crc32c(_bound(first, length, offset), segment.seed) ^ _MASK
        self._pieces += (_record(first, length, crc, crc32c(body) ^ _MASK), body)
        self._pending = pending + length + 16
        segments = log.segments
        if not segments or segments[-1] != segment.number:
            segments.append(segment.number)
        places = log.places
        if places is not None:
            places.append(segment.base + offset)

    def _note_durable(self) -> None:
        """Append a COMMIT record: below its place, damage is corruption."""
        self._durable_noted = self._durable_place
        body = self._packer.pack(list(self._durable_noted))
        segment = self._segment
        offset = segment.end + self._pending
        stored = framing.frame(framing.COMMIT, body, segment.seed, offset)
        self._pieces += (stored[: framing.RECORD_HEADER], body)
        self._pending += len(body) + framing.RECORD_HEADER

    def _on_record(self) -> None:
        """The HEADERs of new parts are written."""
        for log in self._said_again:
            log.segments = log.segments[-1:]
        self._said_again = []
        parted, self._parted = self._parted, []
        if self._sealer is not None:
            for done in parted:
                self._sealer.add(done)

    def _finished(self, log: SessionLog) -> None:
        if self._sealer is not None:
            done = log.portion()
            self._sealer.hold(done)
            self._sealer.add(done)
        self.open_sessions.pop(log.number, None)

    def _new_segment(self, number: int) -> Segment:
        return Segment(segment_path(self.directory, number), number, self._chance)

    def _rotate(self) -> None:
        old = self._segment
        try:
            new = self._new_segment(old.number + 1)
        except OSError:
            return  # it stays with the old one, and tries again at the next flush
        self._new_names = True
        self._unsynced.append(old)
        self._segment = new
        for log in self.open_sessions.values():
            if log.places is not None and len(log.places) > PLACES_MAX:
                log.places = None

    def _fail(self, reason: str) -> NoReturn:
        """Give every open session its END, once, and raise."""
        self._failed = reason
        if not self._gave_up:
            self._gave_up = True
            self.recall()
            unwritten: dict[int, list[bytes]] = {}
            for head, body in zip(self._pieces[::2], self._pieces[1::2], strict=True):
                if head[1] != framing.COMMIT:
                    unwritten.setdefault(records.prefix(body)[0], []).append(body)
            self._pieces, self._pending, self.dirty = [], 0, []
            # A torn tail that can't be cut off now is cut off by recovery.
            with contextlib.suppress(OSError):
                os.ftruncate(self._segment.fd, self._segment.end)
            for log in tuple(self.open_sessions.values()):
                on_record = log.roll_back(unwritten.get(log.number, []))
                if on_record:
                    body = self._packer.pack(log.end_body("terminated", f"recorder: {reason}"))
                    # Where the ballast fails too, recovery writes the END.
                    with contextlib.suppress(OSError):
                        self._ballast.append(framing.END, body)
                log.refuse()
            with contextlib.suppress(OSError):
                os.fdatasync(self._ballast.fd)
        raise RecorderError(reason)
