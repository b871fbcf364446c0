"""Alarms: the last thing that may fail."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.services import Services


class Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_an_alarm_on_a_full_disk_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Full())
    me: Any = SimpleNamespace(debug=False)
    me.alarm = lambda *words: Services.alarm(me, *words)
    Services.alarm(me, "recorder", "full")
    Services.crash(me, "S1", ZeroDivisionError())


def test_a_crash_names_its_place_and_quotes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    me: Any = SimpleNamespace(debug=False)
    me.alarm = lambda *words: Services.alarm(me, *words)
    try:
        raise ValueError("hunter2")
    except ValueError as error:
        Services.crash(me, "S1", error)
    said = capsys.readouterr().err
    assert "session S1: ValueError at" in said
    assert "test_services.py" in said
    assert "hunter2" not in said
