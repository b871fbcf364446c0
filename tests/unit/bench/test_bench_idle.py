"""Memory per idle session, where fewer sessions came before."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench.contenders import Contender
from bench.lab import Lab
from bench.scenarios import idle
from bench.settings import Settings


def test_what_python_kept_after_fewer_sessions_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def sizes() -> Iterator[int]:
        yield from (100_000_000, 150_000_000)  # 1,000 sessions
        yield from (130_000_000, 350_000_000)  # 5,000, of which some fit into what was kept

    resident = sizes()
    monkeypatch.setattr(idle, "_resident", lambda _: next(resident))
    monkeypatch.setattr(idle, "_await_room", lambda _: None)
    monkeypatch.setattr(idle, "_ask", lambda _: None)
    monkeypatch.setattr(idle, "_work", lambda *_: (100.0, 0.001, 0.002))
    monkeypatch.setattr(idle, "_connected", lambda _: SimpleNamespace(close=lambda: None))
    meter = SimpleNamespace(cpu=lambda: 0.0, settle=lambda: None)
    contender = cast(
        Contender, SimpleNamespace(name="gateway os", meter=meter, door=SimpleNamespace(dsn=""))
    )
    lab = Lab(Settings.of_smoke(), lambda text: None)
    monkeypatch.setattr(lab, "accounts", lambda: None)
    scenario = idle.Idle()
    scenario.prepare(lab)
    told: list[Any] = [
        scenario.turn(lab, contender, case, False) for case in ("1,000 sessions", "5,000 sessions")
    ]
    assert [each["memory"] for each in told] == [50.0, 50.0]
