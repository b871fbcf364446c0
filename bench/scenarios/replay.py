"""A recorded session, run again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from bench.alone import Alone
from bench.contenders import ROOT
from bench.figures import BenchFault, Check, Metric
from bench.lab import Lab
from bench.settings import Settings
from bench.wirewarden import Wirewarden, owed_by
from recorder.catalog import catalog
from recorder.replay.report import Status

TRANSACTIONS = 4_000
IN_SMOKE = 100
RECORDS = "gateway os"
COMPARED = [status.value.replace("-", "_") for status in Status]
LEFT_OUT = 3
"""``recorder cat`` has no credentials to give, and says so."""


class Replay(Alone):
    """``recorder replay`` of a pgbench session, against the server that it ran on."""

    name = "replay"
    about = "recorder replay of one session of pgbench -S prepared, and writing it out"
    metrics = (
        Metric("speed", "k messages/s", "more"),
        Metric("time", "s", "less"),
        Metric("messages", ""),  # of cat and export: transactions
    )
    variants = ("--to, causal", "--to, --pace max", "cat, client in", "export ndjson")
    warm_up = False
    most_rounds = 3

    def _transactions(self, settings: Settings) -> int:
        return IN_SMOKE if settings.smoke else TRANSACTIONS * (10 if settings.whole else 1)

    def cases(self, settings: Settings) -> Sequence[str]:
        return [f"{self._transactions(settings):,} transactions"]

    def owed(self, entrants: Sequence[str]) -> Sequence[str]:
        return owed_by([RECORDS])

    def guess(self, settings: Settings) -> tuple[float, float]:
        return 8.0, 0.6 + self._transactions(settings) / 8000

    def prepare(self, lab: Lab) -> None:
        lab.accounts()
        gateway = Wirewarden(lab.server, "os", name=RECORDS)
        gateway.start()
        self._checks: list[Check] = []
        self._transacted = self._transactions(lab.settings)
        try:
            done = subprocess.run(
                [
                    lab.tool("pgbench"), "-S", "-n", "-M", "prepared", "-c", "1",
                    "-t", str(self._transacted),
                ],
                env=gateway.door.environment,
                capture_output=True,
                text=True,
                check=False,
                start_new_session=True,
            )  # fmt: skip
            if done.returncode:
                raise BenchFault(f"pgbench: {done.stderr.strip()[-300:]}")
        finally:
            state = lab.folder / "replayed"
            gateway.keep(state)
            self._checks += gateway.stop()
        self._state = state
        # pgbench looks around in a session of its own first.
        self._session = max(catalog(state), key=lambda line: line.bytes or 0).session
        self._secret = lab.folder / "replay-password"
        self._secret.write_text(lab.server.password)
        self._to = f"{lab.server.host}:{lab.server.port}"

    def turn(self, lab: Lab, entrant: str, case: str, seconds: float) -> Mapping[str, float]:
        session = self._session
        if entrant.startswith("--to"):
            pace = ["--pace", "max"] if "max" in entrant else []
            words = ["replay", session, "--to", self._to, *pace, "--json", "--password-file"]
            took, out = self._recorder(*words, str(self._secret))
            said = json.loads(out.splitlines()[-1])
            messages = said["messages_sent"] + sum(said[key] for key in COMPARED)
            if said["exchanges"] < self._transacted:
                raise BenchFault(f"{said['exchanges']} of {self._transacted} were replayed")
            return {"time": took, "messages": messages, "speed": messages / took / 1e3}
        if entrant.startswith("cat"):
            took, out = self._recorder("cat", session, "--leg", "client", "--side", "in")
        else:
            took, out = self._recorder("export", session, "--format", "ndjson")
        if not out:
            raise BenchFault(f"recorder {entrant} gave nothing")
        count = self._transacted
        return {"time": took, "messages": count, "speed": count / took / 1e3}

    def _recorder(self, *words: str) -> tuple[float, bytes]:
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "recorder.cli", *words],
            env=os.environ | {"WIREWARDEN_STATE": str(self._state)},
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
        took = time.perf_counter() - start
        if done.returncode not in ((0, LEFT_OUT) if words[0] == "cat" else (0,)):
            said = (done.stderr or done.stdout).decode(errors="backslashreplace").strip()[-400:]
            raise BenchFault(f"recorder {words[0]} ended with {done.returncode}: {said}")
        return took, done.stdout

    def checks(self) -> list[Check]:
        return self._checks


SCENARIOS = (Replay(),)
