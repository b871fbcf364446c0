"""A running gateway, as tests drive it, whatever it serves.

``gateway serve`` runs as a user would start it, in its own process; there are
the ``gateway`` and ``recorder`` commands, and what the recorder lists.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Self

from gateway.cli import main as gateway_main
from gateway.demo.issuer import DemoIssuer
from gateway.demo.postgres import free_port
from recorder.cli import main as recorder_main

READY_SECONDS = 20.0


class Serving:
    """One gateway in ``folder``. Who derives from it writes ``config_file``.
    ``more`` goes to ``gateway serve``."""

    program: tuple[str, ...] = ("-m", "gateway.cli")
    """What Python runs."""

    def __init__(
        self, folder: Path, *, port: int = 0, workers: int = 1, more: tuple[str, ...] = ()
    ) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.state = folder / "state"
        self.issuer = DemoIssuer(folder / "issuer")
        self.workers = workers
        self.more = more
        self.process: subprocess.Popen[bytes] | None = None
        self._asked = False
        self.policy_file = folder / "policy.toml"
        self.config_file = folder / "gateway.toml"
        self.log = folder / "gateway.log"

    # -- life -------------------------------------------------------------

    def start(self) -> Self:
        already = self.output().count("gateway: ready")
        self._asked = False
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    *self.program,
                    "serve",
                    "-c",
                    str(self.config_file),
                    *self.more,
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            if self.output().count("gateway: ready") >= already + self.workers:
                return self
            time.sleep(0.05)
        self.stop()
        raise AssertionError(f"the gateway did not start:\n{self.output()}")

    def output(self) -> str:
        """What the gateway printed."""
        return self.log.read_text(errors="backslashreplace") if self.log.exists() else ""

    def ask_to_stop(self) -> None:
        """Begin what ``stop`` ends: several gateways then stop side by side."""
        if self.process is not None and self.process.poll() is None and not self._asked:
            self.process.send_signal(signal.SIGTERM)
            self._asked = True

    def stop(self, number: int = signal.SIGTERM) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        if process.poll() is None:
            # A second SIGTERM would cut a drain short.
            if number != signal.SIGTERM or not self._asked:
                process.send_signal(number)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- commands ---------------------------------------------------------

    def token(self, subject: str = "agent-7", **claims: object) -> str:
        claims.setdefault("groups", ["developers"])
        claims.setdefault("run_id", "run-1")
        return self.issuer.token(subject, **claims)

    def gateway(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run ``gateway ARGUMENTS -c <config>``."""
        return subprocess.run(
            [sys.executable, "-m", "gateway.cli", *arguments, "-c", str(self.config_file)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **more,
        )

    def recorder(
        self, *arguments: str, text: bool = True, **more: Any
    ) -> subprocess.CompletedProcess[Any]:
        """Run ``recorder ARGUMENTS`` on this gateway's state."""
        return subprocess.run(
            [sys.executable, "-m", "recorder.cli", *arguments],
            capture_output=True,
            text=text,
            timeout=60,
            check=False,
            env=os.environ | {"WIREWARDEN_STATE": str(self.state)},
            **more,
        )

    def sessions(self) -> list[dict[str, Any]]:
        """What ``recorder list --json`` says."""
        return _lines((0,), recorder_main, "--dir", str(self.state), "list", "--json")

    def events(self, session: str) -> list[dict[str, Any]]:
        """What ``recorder events --json`` says."""
        words = "--dir", str(self.state), "events", "--json", session
        return _lines((0, 3), recorder_main, *words)

    def approvals(self, *, everything: bool = False) -> list[dict[str, Any]]:
        """What ``gateway approvals list --json`` says."""
        more = ["--all"] if everything else []
        words = "approvals", "list", "--json", "-c", str(self.config_file), *more
        return _lines((0,), gateway_main, *words)

    def held(self, seconds: float = 20.0) -> dict[str, Any]:
        """The one command that waits."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := self.approvals():
                assert len(found) == 1, found
                return found[0]
            time.sleep(0.05)
        raise AssertionError("nothing was held")


def _lines(
    codes: tuple[int, ...], main: Callable[[Sequence[str]], int], *words: str
) -> list[dict[str, Any]]:
    """In this process: tests ask again and again, and a start takes half a second of CPU."""
    said, wrong = io.StringIO(), io.StringIO()
    with redirect_stdout(said), redirect_stderr(wrong):
        code = main(words)
    assert code in codes, wrong.getvalue()
    return [json.loads(line) for line in said.getvalue().splitlines()]
