"""Where recordings of a state directory are judged: by their ledger, where there is one."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from recorder import verify as checks
from recorder.commands.opening import path_of_stdin, place_of
from recorder.errors import ContradictionError, FormatError, UnknownSessionError
from recorder.evidence.anchors import Trust
from recorder.evidence.glance import Unsure
from recorder.evidence.judge import Judge, LedgerFault, has_ledger, unanchored
from recorder.live import LiveSession
from recorder.reader import Recording, every_log, open_recording
from recorder.state import LOG_SUFFIX, session_of, sessions_directory

_READS = 5


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
        self._reads = 0

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
            return self._alone(checks.verify_file(path_of_stdin()))
        if name.endswith(LOG_SUFFIX) or "/" in name or Path(name).is_file():
            return self._of_path(Path(name))
        try:
            recording = open_recording(self.state, name)
        except FormatError as error:
            found = [p for p in every_log(self.state) if session_of(p).upper() == name.upper()]
            if len(found) == 1:
                return self._of_path(found[0])
            kind = checks.INCOMPLETE if error.torn else checks.CORRUPT
            kind = checks.TAMPERED if isinstance(error, ContradictionError) else kind
            return checks.Verdict(kind, error.reason, name, error.offset, part=error.part)
        except UnknownSessionError:
            place = place_of(self.state, name)
            if place == name:
                raise
            # Of another gateway that shares the index; its ledger is not here.
            return self._alone(checks.verify_file(Path(place)))
        try:
            return self.of(recording)
        finally:
            recording.close()

    def of(self, recording: Recording) -> checks.Verdict:
        """About an opened recording. Raises ``OSError``."""
        if not isinstance(recording, LiveSession):
            return self._of_path(recording.path)
        glance = self._glancing()
        if glance is not None:
            try:
                if not glance.sealed(str(recording.header["session"])):
                    return glance.judge_open(recording)
            except (Unsure, LedgerFault):
                pass
        judge = self.judge()
        if judge is None:
            return self._alone(checks.verify(recording))
        if judge.sealed(str(recording.header["session"])):
            found = judge.gone(str(recording.header["session"]))
            if found is not None:  # the journal has it still, but its Log was there
                return found
        return judge.judge_open(recording)

    def _of_path(self, path: Path) -> checks.Verdict:
        if not self._inside(path):
            if not self._inside(Path(os.path.realpath(path))):
                return self._alone(checks.verify_file(path))
            path = Path(os.path.realpath(path))
        glance = self._glancing()
        if glance is not None:
            try:
                return glance.judge(path)
            except (Unsure, LedgerFault):
                pass
        judge = self.judge()
        if judge is None:
            return self._alone(checks.verify_file(path))
        verdict = judge.judge(path)
        if verdict.status == checks.TAMPERED and verdict.session in judge.underway:
            verdict = judge.judge(path)  # its last part may have come between two looks
        if verdict.status == checks.TAMPERED and self._again(judge):
            return self._of_path(path)
        return verdict

    def missing(self) -> list[checks.Verdict]:
        """What the ledger knows and the disk has not."""
        judge = self.judge()
        found = [] if judge is None else judge.missing()
        if judge is not None and found and self._again(judge):
            return self.missing()
        return found

    def _again(self, judge: Judge) -> bool:
        """Whether the ledger has to be read once more, because a gateway wrote to it meanwhile:
        then what ended or was deleted after it was read is no finding."""
        if self._reads >= _READS or not judge.stale():
            return False
        self._reads += 1
        self._whole = None
        return True

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

    def _alone(self, verdict: checks.Verdict) -> checks.Verdict:
        """About what no ledger tells of: whoever names a key wants to hear that it vouches."""
        if not self.ledger:
            scope = f"{verdict.scope}; there is no ledger here, to tell of what was removed"
            verdict = replace(verdict, scope=scope)
        if self._trust.root is None or verdict.status != checks.OK:
            return verdict
        told = "whole in itself, but nothing here ties it to the trusted key"
        return replace(verdict, status=checks.UNKNOWN_KEY, message=f"{told}; {verdict.message}")

    def _inside(self, path: Path) -> bool:
        """Whether ``path`` says that it is in the state directory, wherever a link leads."""
        sessions = os.path.abspath(sessions_directory(self.state))
        found = os.path.abspath(path)
        return Path(found).is_relative_to(sessions) or Path(found).is_relative_to(
            os.path.realpath(sessions)
        )

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
