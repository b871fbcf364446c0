"""The supervisor, with processes that do as they are told."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway import supervisor
from gateway.supervisor import Supervisor


def start(monkeypatch: pytest.MonkeyPatch, code: str, workers: int = 2) -> Supervisor:
    """A supervisor whose workers run ``code``."""
    real = subprocess.Popen

    def popen(argv: list[str], **more: Any) -> Any:
        return real([sys.executable, "-c", code])

    monkeypatch.setattr(supervisor.subprocess, "Popen", popen)
    made: Any = Supervisor(SimpleNamespace(path=Path("x")), [], workers, debug=False)  # type: ignore[arg-type]
    return made  # type: ignore[no-any-return]


def end(made: Supervisor) -> None:
    made._kill()
    for place in made._staff:
        if place.process is not None:
            place.process.wait()


def test_a_worker_that_keeps_dying_is_started_ever_more_slowly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = start(monkeypatch, "raise SystemExit(3)", 1)
    place = made._staff[0]
    pauses = []
    for _ in range(3):
        place.due = 0.0
        made._look_after()
        assert place.process is not None
        place.process.wait()
        assert made._look_after() == 0
        pauses.append(place.pause)
    assert pauses == [1.0, 2.0, 4.0]
    assert "worker 0 ended with 3" in capsys.readouterr().err


def test_what_can_not_be_started_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = start(monkeypatch, "")

    def popen(*_: object, **__: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(supervisor.subprocess, "Popen", popen)
    assert made._look_after() == 0
    assert "can't be started" in capsys.readouterr().err
    assert all(place.due > time.monotonic() for place in made._staff)


def test_a_worker_that_hangs_is_killed_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
    made = start(monkeypatch, code)
    monkeypatch.setattr(supervisor, "PATIENCE_SECONDS", 1.0)
    began = time.monotonic()
    made._signals.append(signal.SIGTERM)
    kept = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        made._look_after()
        time.sleep(0.5)
        assert made.run() == 0
    finally:
        for number, before in kept.items():
            signal.signal(number, before)
        end(made)
    assert 1.0 <= time.monotonic() - began < 10
