"""Where recordings of a state directory are judged: by their ledger, where there is one."""

from __future__ import annotations

from pathlib import Path

from recorder import verify as checks
from recorder.commands.opening import path_of_stdin, place_of
from recorder.errors import ContradictionError, FormatError, UnknownSessionError
from recorder.evidence.anchors import Trust
from recorder.evidence.glance import Unsure
from recorder.evidence.judge import Judge, LedgerFault, has_ledger, unanchored
from recorder.live import LiveSession
from recorder.reader import Recording, open_recording
from recorder.state import LOG_SUFFIX, sessions_directory


class Judging:
    """Judges one recording by its own leaves of the ledger (``evidence.glance``). Where these do
    not do, or ``whole`` is asked for, all of the ledger is read, once. ``fault`` is the verdict
    about a ledger that is not good: recordings are judged by themselves then."""

    def __init__(self, state: Path, trust: Trust, deep: bool = False) -> None:
        self.state = state
        self.ledger = has_ledger(state)
        self.fault: checks.Verdict | None = None
        self._trust = trust
        self._deep = deep
        self._whole: Judge | None = None
        self._glance: Judge | None = None
        self._try_glance = self.ledger

    def judge(self) -> Judge | None:
        """By the whole ledger; None where there is none that is good."""
        if self._whole is None and self.ledger and self.fault is None:
            try:
                self._whole = Judge(self.state, self._trust, self._deep)
            except LedgerFault as fault:
                where = "" if fault.leaf is None else f" at leaf {fault.leaf}"
                text = f"the ledger{where}: {fault.reason}"
                self.fault = checks.Verdict(fault.status, text, "")
        return self._whole

    def verdict(self, name: str) -> checks.Verdict:
        """About what ``name`` names. Raises ``UnknownSessionError``, ``OSError``."""
        if name == "-":
            return checks.verify_file(path_of_stdin())
        if name.endswith(LOG_SUFFIX) or "/" in name or Path(name).is_file():
            path = Path(name)
            return self._of_path(path) if self._inside(path) else checks.verify_file(path)
        try:
            recording = open_recording(self.state, name)
        except FormatError as error:
            kind = checks.INCOMPLETE if error.torn else checks.CORRUPT
            kind = checks.TAMPERED if isinstance(error, ContradictionError) else kind
            return checks.Verdict(kind, error.reason, name, error.offset, part=error.part)
        except UnknownSessionError:
            place = place_of(self.state, name)
            if place == name:
                raise
            # Of another gateway that shares the index; its ledger is not here.
            return checks.verify_file(Path(place))
        try:
            return self.of(recording)
        finally:
            recording.close()

    def of(self, recording: Recording) -> checks.Verdict:
        """About an opened recording. Raises ``OSError``."""
        if not isinstance(recording, LiveSession):
            if self._inside(recording.path):
                return self._of_path(recording.path)
            return checks.verify(recording)
        glance = self._glancing()
        if glance is not None:
            try:
                if not glance.sealed(str(recording.header["session"])):
                    return glance.judge_open(recording)
            except (Unsure, LedgerFault):
                pass
        judge = self.judge()
        if judge is None:
            return checks.verify(recording)
        if judge.sealed(str(recording.header["session"])):
            found = judge.gone(str(recording.header["session"]))
            if found is not None:  # the journal has it still, but its Log was there
                return found
        return judge.judge_open(recording)

    def _of_path(self, path: Path) -> checks.Verdict:
        glance = self._glancing()
        if glance is not None:
            try:
                return glance.judge(path)
            except (Unsure, LedgerFault):
                pass
        judge = self.judge()
        return checks.verify_file(path) if judge is None else judge.judge(path)

    @property
    def scope(self) -> str:
        """What several verdicts have in common."""
        judge = self._whole or self._glance
        if judge is None:
            return ""
        known = f"by the ledger {judge.watch.chain.origin}"
        if judge is self._glance:
            return f"{known}, of which only their own leaves were read (--log: all of it)"
        return f"{known}; {unanchored(judge.watch, judge.anchors)}"

    def _inside(self, path: Path) -> bool:
        return path.resolve().is_relative_to(sessions_directory(self.state).resolve())

    def _glancing(self) -> Judge | None:
        if self._whole is not None or self.fault is not None:
            return None
        if self._try_glance:
            self._try_glance = False
            try:
                self._glance = Judge(self.state, self._trust, glance=True)
            except (Unsure, LedgerFault):
                pass
        return self._glance
