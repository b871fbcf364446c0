"""Whatever happens to sessions, and in whatever order, what is on record is what the model
says: no byte more or less, no verdict that is worse or better."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from recorder_world import C, Legs, U, World, header, make_journal

from protocols.wire import Mark, Side
from recorder import recordings
from recorder.cli import main
from recorder.erasing import CanNotErase, erase
from recorder.errors import MissingKeyError, UnknownSessionError
from recorder.evidence.inbox import inbox_directory, ledger_directory, waiting
from recorder.evidence.ledger import Ledger
from recorder.holds import Hold, lift_hold, put_hold
from recorder.index.answer import Answer, rebuilt
from recorder.index.wanted import Wanted
from recorder.prune import Pruning
from recorder.reader import open_recording
from recorder.recordings import AbsentError, Recordings
from recorder.records import CommandEntry
from recorder.retention import Retention, Rule
from recorder.seal import Sealer
from recorder.session_log import SessionLog
from recorder.streams import Hop, Streams, Told
from recorder.uploading import Uploading
from recorder.wrapped import opener_of

AUDITOR = X25519PrivateKey.from_private_bytes(bytes(range(32)))
HOPS = [(side, arrives) for side in (C, U) for arrives in (True, False)]
LATER = datetime(2040, 1, 1, tzinfo=UTC)
RULES = Retention((Rule("all", delete_after=timedelta(0), keep_local=timedelta(0)),))
WORDS = ("pass", "mask", "wait", "go on", "command", "tell")
SIZES = (1, 3, 40, 299, 700)
LONG = [(word, size) for size in SIZES for word in WORDS]
URL = "s3://machine/recordings"


class Memory(Recordings):
    """An object store in a dict."""

    def __init__(self) -> None:
        self.url = URL
        self.objects: dict[str, bytes] = {}

    def names(self, folder: str) -> dict[str, int]:
        return {k: len(v) for k, v in self.objects.items() if k.startswith(folder + "/")}

    def delete(self, key: str) -> None:
        self.objects.pop(key, None)

    def _pieces(self, key: str) -> Iterator[bytes]:
        if key not in self.objects:
            raise AbsentError(key)
        yield self.objects[key]

    def _create(self, key: str, data: bytes) -> bool:
        return self.objects.setdefault(key, data) is data


@dataclass
class Modelled:
    """What must be on record of a session. ``flushed`` is what a crash leaves of it."""

    log: SessionLog | None
    legs: Legs = field(default_factory=Legs)
    texts: list[str] = field(default_factory=list)
    flushed: dict[tuple[Side, bool], bytes] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    on_record: bool = False
    status: str = "open"
    hold: Hold | None = None
    erased: bool = False
    held: list[tuple[Side, int, int]] = field(default_factory=list)

    def flush(self) -> None:
        self.on_record = True
        self.flushed = dict(self.legs.hops)
        self.told = list(self.texts)


class Machine(RuleBasedStateMachine):
    """One gateway's state directory."""

    @initialize()
    def begin(self) -> None:
        self.place = tempfile.mkdtemp()
        self.state = Path(self.place) / "state"
        inbox_directory(self.state).mkdir(parents=True)
        self.world = World()
        self.store = Memory()
        self.stack = contextlib.ExitStack()
        self.stack.enter_context(patch.object(recordings, "recordings_store", lambda: self.store))
        self.sessions: dict[str, Modelled] = {}
        self.ledger = Ledger(ledger_directory(self.state), self.world.wall)
        self.start()
        self.open()
        self.open()

    def start(self) -> None:
        self.journal = make_journal(
            self.state, self.world, auditors=[AUDITOR.public_key()], originals="seal",
            part_size=1500, segment_bytes=4000,
        )  # fmt: skip
        # Its thread is not started: what it does is done when the machine says so.
        self.sealer = self.journal._sealer = Sealer(self.journal, 0.0)

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.flush()
            self.look()
            self.crash()
            self.look()
            self.drop()
            self.ledger.close()
            self.stack.close()
            shutil.rmtree(self.place)

    def some(self, number: int, *statuses: str) -> tuple[str, Modelled] | None:
        found = [(k, m) for k, m in self.sessions.items() if m.status in statuses]
        return found[number % len(found)] if found else None

    # ---- what a gateway does ---------------------------------------------------

    @rule()
    def open(self) -> None:
        if sum(m.status == "open" for m in self.sessions.values()) < 4:
            name = f"01K5P0M4C{len(self.sessions):017d}"
            self.sessions[name] = Modelled(self.journal.open(header(name)))

    @rule(
        number=st.integers(0, 9),
        words=st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(SIZES)), min_size=1),
        flushing=st.booleans(),
    )
    def talk(self, number: int, words: list[tuple[str, int]], flushing: bool) -> None:
        """What goes on in a session, of which a command may wait for people and go on later."""
        found = self.some(number, "open")
        if found is None or found[1].log is None:
            return
        model, legs, log = found[1], found[1].legs, found[1].log
        for word, size in words:
            if word == "pass":
                side = (C, U)[size % 2]
                log.spans([legs.passed(side, bytes([65 + size % 26]) * size)])
            elif word == "mask":
                taken = legs.take(U, b"original %d " % size * (1 + size // 20), Mark.EDITED)
                log.spans([taken, legs.send(C, b"*" * size, Mark.EDITED)])
            elif word == "wait":
                span = legs.take(C, bytes([97 + size % 26]) * size)
                log.spans([span])
                model.held.append((C, span.offset, size))
            elif word == "go on" and model.held:
                log.spans([legs.forward(*model.held.pop(0))])
            elif word == "command":
                log.command(len(model.texts), "run", f"select {size}", size % 4)
                model.texts.append(f"select {size}")
            elif word == "tell":
                log.event("notice", {"text": "x" * size})
            if flushing:
                self.flush()

    talk_more = rule(number=st.integers(0, 3), size=st.sampled_from(SIZES), flushing=st.booleans())(
        lambda self, number, size, flushing: self.talk(number, LONG[size % 3 :], flushing)
    )

    @rule()
    def flush(self) -> None:
        self.journal.flush()
        for model in self.sessions.values():
            if model.log is not None:
                model.flush()
                if model.status == "ending":
                    model.log, model.status = None, "closed"

    @rule()
    def commit(self) -> None:
        self.flush()
        self.journal.sync()

    @rule(number=st.integers(0, 9))
    def end(self, number: int) -> None:
        if (found := self.some(number, "open")) and found[1].log:
            found[1].log.end("closed", "done")
            found[1].status = "ending"
            self.flush()

    @rule(minutes=st.integers(1, 30))
    def wait(self, minutes: int) -> None:
        """Parts end by the clock, too."""
        self.world.now += minutes * 60_000_000_000

    @rule()
    def take(self) -> None:
        """The sealer cuts what is done."""
        self.journal.sync()
        sealer = self.sealer
        while not sealer._queue.empty():
            item = sealer._queue.get()
            assert item is not None
            sealer._fresh.append(item)
        while sealer._fresh and sealer._fresh[0][0] <= self.journal.durable:
            sealer._take(sealer._fresh.popleft()[1])
        assert sealer.faults == []

    @rule()
    def settle(self) -> None:
        """And makes it durable, hands over its leaves, and lets segments go."""
        self.sealer._settle(1e18)
        self.sealer._delete_segments()
        assert self.sealer.faults == []

    @rule()
    def keep_ledger(self) -> None:
        self.ledger.take_inbox()

    @rule()
    def rotate(self) -> None:
        self.ledger.rotate()

    def drop(self) -> None:
        """The process is gone; what the kernel has of its files stays."""
        self.sealer._places.close()
        journal = self.journal
        for segment in (*journal._unsynced, journal._segment, journal._ballast):
            os.close(segment.fd)
        os.close(journal._lock)

    @rule()
    def crash(self) -> None:
        self.drop()
        for name, model in list(self.sessions.items()):
            if model.status in ("open", "ending"):
                if not model.on_record:
                    del self.sessions[name]
                    self.sessions[f"gone{len(self.sessions)}"] = Modelled(None, status="never")
                model.status, model.log = "recovered", None
                model.texts = model.told
        self.start()
        assert self.journal.recovery.corrupt == []

    @rule()
    def restart(self) -> None:
        self.flush()
        self.sealer.start()
        self.journal.close()
        for model in self.sessions.values():
            if model.status == "open":
                model.status, model.log = "terminated", None
        self.start()

    # ---- what its keepers do -----------------------------------------------------

    @rule(number=st.integers(0, 9))
    def hold(self, number: int) -> None:
        found = self.some(number, "closed", "terminated", "recovered")
        if found and found[1].hold is None:
            found[1].hold = put_hold(self.state, "jo", "a suit", found[0])

    @rule(number=st.integers(0, 9))
    def lift(self, number: int) -> None:
        found = self.some(number, "closed", "terminated", "recovered")
        if found and found[1].hold is not None:
            lift_hold(self.state, found[1].hold.id, "jo", "over")
            found[1].hold = None

    @rule()
    def upload(self) -> None:
        said: list[str] = []
        uploading = Uploading(self.state, self.store, said.append)
        for _ in uploading.copy():
            pass
        assert said == []

    @rule()
    def free(self) -> None:
        said: list[str] = []
        self.upload()
        uploading = Uploading(self.state, self.store, said.append)
        for _ in uploading.free(Answer(self.state, Wanted(), said.append).lines(), RULES, LATER):
            pass
        assert said == []

    @rule(number=st.integers(0, 9))
    def delete(self, number: int) -> None:
        found = self.some(number, "closed", "terminated", "recovered")
        if found is None:
            return
        name, model = found
        lines = Answer(self.state, Wanted(), print).lines()
        pruning = Pruning(self.state, RULES, "jo", now=LATER, copies=self.store)
        [choice] = list(pruning.choices([line for line in lines if line.session == name]))
        if model.hold is not None:
            assert not choice.delete
        if choice.delete:
            assert pruning.delete(choice) == ""
            model.status = "deleted"
        else:
            assert model.hold is not None or choice.why == "a journal still has it", choice

    @rule(number=st.integers(0, 9))
    def shred(self, number: int) -> None:
        found = self.some(number, "closed", "terminated", "recovered")
        if found is None:
            return
        name, model = found
        recording = open_recording(self.state, name)
        try:
            erase(self.state, recording, "asked to", "jo", self.store)
            assert model.hold is None
            model.erased = True
        except CanNotErase as error:
            text = str(error)
            assert model.erased or model.hold or "a journal still needs them" in text, text
        finally:
            recording.close()

    @rule(number=st.integers(0, 9), more=st.booleans())
    def suit(self, number: int, more: bool) -> None:
        """From a session's end to its deletion, with a hold before it."""
        self.end(number)
        self.take()
        self.settle()
        self.hold(number)
        self.delete(number)
        self.shred(number)
        self.lift(number)
        if more:
            self.delete(number)

    @rule()
    def reindex(self) -> None:
        assert rebuilt(self.state, print) is not None

    # ---- what must be ---------------------------------------------------------------

    @rule()
    def look(self) -> None:
        there = {k: m for k, m in self.sessions.items() if m.on_record and m.status != "deleted"}
        for name, model in there.items():
            self.same(name, model)
        for plain in (False, True):
            lines = Answer(self.state, Wanted(), print, plain).lines()
            found = {line.session: line.status for line in lines}
            wanted = {k: "open" if m.status == "ending" else m.status for k, m in there.items()}
            assert found == wanted
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            main(["--dir", str(self.state), "verify", "--all", "--log", "--json"])
        told = {v["session"] or v["name"]: v for v in map(json.loads, out.getvalue().splitlines())}
        assert told.pop("ledger")["status"] == "OK-UNANCHORED"
        for name, model in there.items():
            whole = model.status in ("closed", "terminated")
            # Its Log may have to wait for the sealer: a journal's is INCOMPLETE only while open.
            allowed = {"OK-UNANCHORED"} if whole else {"INCOMPLETE"}
            assert told[name]["status"] in allowed, (model.status, told[name])
        for name in told.keys() - there.keys():
            # Until the ledger has its tombstone, nobody has signed that.
            unsigned = "INCOMPLETE" if waiting(inbox_directory(self.state)) else ""
            assert told[name]["status"] in ("DELETED-BY-POLICY", unsigned), told[name]
            assert self.sessions[name].status == "deleted"
        for name, model in self.sessions.items():
            if model.status == "deleted":
                with pytest.raises(UnknownSessionError):
                    open_recording(self.state, name)
                assert not any(name in key for key in self.store.objects)

    def same(self, name: str, model: Modelled) -> None:
        recording = open_recording(self.state, name)
        try:
            opener = None
            if model.erased:
                with pytest.raises(MissingKeyError):
                    opener_of(recording, [AUDITOR])
            else:
                opener = opener_of(recording, [AUDITOR])
            story = list(Streams(recording, opener).story(*(Hop(*hop) for hop in HOPS)))
            for hop in HOPS:
                pieces = [p for p in story if not isinstance(p, Told) and p.hop == Hop(*hop)]
                assert all(p.raw is not None or model.erased for p in pieces)
                raw = model.flushed[hop]
                at = 0
                for piece in pieces:
                    assert piece.raw in (None, raw[at : at + piece.length])
                    at += piece.length
                assert at == len(raw)
            texts = [t.entry.text for t in story if isinstance(t, Told)
                     and isinstance(t.entry, CommandEntry)]  # fmt: skip
            assert texts == model.told
        finally:
            recording.close()


QUIET: Any = {"deadline": None, "suppress_health_check": list(HealthCheck)}


class TestSmall(Machine.TestCase):  # type: ignore[misc, valid-type]
    """For every run."""

    settings = settings(max_examples=6, stateful_step_count=40, **QUIET)


@pytest.mark.deep
@pytest.mark.timeout(7200)
class TestLarge(Machine.TestCase):  # type: ignore[misc, valid-type]
    """For a night."""

    settings = settings(max_examples=1500, stateful_step_count=80, **QUIET)
