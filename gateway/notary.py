"""Keeps the ledger: what vouches for the recordings of this gateway.

Each worker hands leaves over through files in the inbox (beginnings of
sessions, from its journal; ends come from its sealer; policy versions). The
one worker that holds the ledger's lock puts them in and signs a checkpoint,
at most once a second. When that worker dies another one takes over.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import trio

from gateway.config_evidence import EvidenceConfig
from gateway.world import World
from recorder import framing, records
from recorder.errors import RecorderError
from recorder.evidence.facts import header_digest
from recorder.evidence.fetch import FetchError, ask_authority, ask_witness
from recorder.evidence.inbox import (
    Item,
    hand_over,
    inbox_directory,
    ledger_directory,
    policy_leaf,
    sealed_leaves,
    start_leaf,
)
from recorder.evidence.ledger import BusyError, Ledger, LedgerError
from recorder.evidence.notes import parse_checkpoint
from recorder.journal import Journal
from recorder.parted import files_of
from recorder.reader import every_log
from recorder.segment import make_directory

TICK_SECONDS = 1.0
_ADOPTED = "adopted"
_ADOPT_AT_ONCE = 1000


class Notary:
    """``alarm(what, text)``, when it is set, tells the operator. ``run`` is a
    task of the worker. Made before the journal is opened, so that recovery
    finds the inbox."""

    def __init__(self, config: EvidenceConfig, state: Path, world: World) -> None:
        self.config = config
        self.failed = ""
        """Why the ledger can't be written, "" while it can."""
        self._state = state
        self._world = world
        self.alarm: Callable[[str, str], None] = lambda what, text: None
        self._ledger: Ledger | None = None
        self._policies: list[Item] = []
        self._policy_count = 0
        self._told: set[str] = set()
        self._last = 0
        self._anchored: dict[str, int] = {}
        self._anchor_failed: dict[str, str] = {}
        inbox = inbox_directory(state)
        if config.enabled:
            make_directory(inbox)
        else:
            # Sealers look whether it is there. What was recorded without a
            # ledger is taken in when there is one again.
            with contextlib.suppress(OSError):
                inbox.rmdir()
                (ledger_directory(state) / _ADOPTED).unlink(missing_ok=True)

    def policy(self, version: str) -> None:
        """From now on new sessions get this policy."""
        self._policies.append(policy_leaf(self._world.instance, self._policy_count, version))
        self._policy_count += 1

    def check(self) -> None:
        """``RecorderError`` where nobody may be served without evidence."""
        if self.failed and self.config.required:
            raise RecorderError(f"no evidence can be kept: {self.failed}")

    async def run(self, journal: Callable[[], Journal], refuse: Callable[[], None]) -> None:
        """Tick each second. ``refuse`` is called while evidence is required
        and can't be kept."""
        if not self.config.enabled:
            return
        async with trio.open_nursery() as nursery:
            if self.config.witness or self.config.tsa:
                nursery.start_soon(self._anchor_now_and_then)
            while True:
                await trio.to_thread.run_sync(self._tick_safely, journal())
                if self.failed and self.config.required:
                    refuse()
                await trio.sleep(TICK_SECONDS)

    def close(self) -> None:
        """Put in what came last, and let the ledger go."""
        if self.config.enabled:
            self._tick_safely(None)
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    async def _anchor_now_and_then(self) -> None:
        while True:
            await trio.sleep(self.config.anchor)
            # A service that hangs must not keep the worker from its end.
            await trio.to_thread.run_sync(self.anchor, abandon_on_cancel=True)

    def anchor(self) -> None:
        """Have others vouch for the latest checkpoint. Runs in a thread; what
        goes wrong is an alarm, once while it lasts."""
        ledger = self._ledger
        if ledger is None:
            return  # another worker keeps it
        directory, text = ledger.directory, ledger.note  # one look: it is replaced whole
        note, size = text.encoded(), parse_checkpoint(text.text).size
        config = self.config
        for what in ("witness", "tsa"):
            if not getattr(config, what) or self._anchored.get(what) == size:
                continue
            failed = ""
            try:
                if what == "witness":
                    old = self._anchored.get(what, -1)
                    ask_witness(directory, note, config.witness, config.witness_key, old)
                elif config.tsa_ca is not None:
                    ask_authority(directory, note, config.tsa, config.tsa_ca.read_bytes())
                self._anchored[what] = size
            except (FetchError, OSError) as error:
                failed = str(error)
            except Exception as error:
                failed = f"{type(error).__name__}: {error}"
            if failed != self._anchor_failed.get(what, ""):
                self.alarm("evidence", f"{what}: {failed or 'anchors again'}")
            self._anchor_failed[what] = failed

    def _tick_safely(self, journal: Journal | None) -> None:
        failed = ""
        try:
            self.tick(journal)
        except (LedgerError, OSError) as error:
            failed = str(error)
        except Exception as error:
            # A fault of ours must not end the worker with all of its sessions.
            failed = f"{type(error).__name__}: {error}"
        if failed and self._ledger is not None:
            # What it has in memory may not be what is on the disk.
            self._ledger.close()
            self._ledger = None
        if failed != self.failed:
            self.alarm("evidence", failed or "the ledger is written again")
        self.failed = failed

    def tick(self, journal: Journal | None) -> None:
        """Hand over what is new here; as the ledger's keeper, put in what
        waits. Runs in a thread. ``LedgerError``, ``OSError``."""
        policies = list(self._policies)
        starts = [] if journal is None else self._starts(journal)
        items = policies + [item for _, item in starts]
        if items:
            hand_over(inbox_directory(self._state), items)
            del self._policies[: len(policies)]
            self._told.update(session for session, _ in starts)
        if self._ledger is None:
            try:
                self._ledger = Ledger(
                    ledger_directory(self._state),
                    self._world.wall_ns,
                    epoch_seconds=self.config.epoch,
                )
            except BusyError:
                return
            self._adopt()
            self._last = self._world.mono_ns()
        ledger = self._ledger
        count, faults = ledger.take_inbox()
        for fault in faults:
            self.alarm("evidence", fault)
        ledger.rotate_if_due()
        now = self._world.mono_ns()
        if count:
            self._last = now
        elif now - self._last >= self.config.heartbeat * 1e9:
            ledger.heartbeat()
            self._last = now

    def _starts(self, journal: Journal) -> list[tuple[str, Item]]:
        """Sessions that began, and whose header is durable: the ledger must not
        know of one that a power cut takes away."""
        if journal.failed:
            return []
        found = []
        running = set()
        for log in tuple(journal.open_sessions.values()):
            session = log.session
            running.add(session)
            if session in self._told:
                continue
            if journal.has_durable_start(log):
                body = [log.number, 0, 0, framing.VERSION, log.header]
                digest = header_digest(records.packer().pack(body))
                found.append((session, start_leaf(session, digest)))
        self._told &= running
        return found

    def _adopt(self) -> None:
        """Logs from before there was a ledger; it vouches for them from now."""
        mark = ledger_directory(self._state) / _ADOPTED
        if mark.exists() or self._ledger is None:
            return
        paths = [file for log in every_log(self._state) for file in files_of(log)]
        for at in range(0, len(paths), _ADOPT_AT_ONCE):
            self._ledger.append(sealed_leaves(paths[at : at + _ADOPT_AT_ONCE]))
        mark.touch()
