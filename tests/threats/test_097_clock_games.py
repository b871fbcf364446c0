"""Row 97: the wall clock may say what it likes: order and lengths come from a clock that
does not go back, tokens are judged by the wall, and nothing breaks.

The gateway's process gets a wall clock that a file moves (by a ``sitecustomize`` of the
test's own). Goes red when records are stamped with the wall clock (``clock=world.wall_ns``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from audit import wait_sealed
from stack import Stack
from wire import Wire, enter

from gateway.demo.postgres import Server

YEAR = 365 * 86400

CUSTOMIZE = """
import os, time
_where = os.environ.get("THREAT_CLOCK")
if _where:
    _ns, _s = time.time_ns, time.time
    def _offset():
        try:
            with open(_where) as f:
                return int(f.read() or "0")
        except (OSError, ValueError):
            return 0
    time.time_ns = lambda: _ns() + _offset() * 10**9
    time.time = lambda: _s() + _offset()
"""


@pytest.fixture
def clocked(
    pg: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Stack, Path]]:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(CUSTOMIZE)
    clock = tmp_path / "clock"
    clock.write_text("0")
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("THREAT_CLOCK", str(clock))
    with Stack(tmp_path, pg) as stack:
        yield stack, clock


@pytest.mark.parametrize("steps", [(YEAR, 0, -YEAR, 0), (-YEAR, YEAR), (-1, 1, -3600, 10**9)])
def test_steps_in_mid_session(clocked: tuple[Stack, Path], steps: tuple[int, ...]) -> None:
    stack, clock = clocked
    with enter(stack) as wire:
        wire.ask("SELECT 'start'")
        for step in steps:
            clock.write_text(str(step))
            assert wire.ask(f"SELECT {step}").errors == [], "the session lives"
    clock.write_text("0")
    wait_sealed(stack)
    session = stack.sessions()[0]
    events = stack.events(session["session"])
    times = [e["at"] for e in events]
    assert times == sorted(times)
    assert 0 <= times[-1] < 60, "a length, not a difference of dates"
    texts = [e["text"] for e in events if e["event"] == "command"]
    assert texts == ["SELECT 'start'", *[f"SELECT {s}" for s in steps]]
    assert session["seconds"] < 60
    assert stack.recorder("verify", session["session"]).returncode == 0


def test_tokens_are_judged_by_the_wall(clocked: tuple[Stack, Path]) -> None:
    stack, clock = clocked
    token = stack.token()
    wanted = {"user": "agent", "database": "shop"}
    for step, code in ((0, ""), (YEAR, "28P01"), (-YEAR, "28P01"), (0, "")):
        clock.write_text(str(step))
        with Wire(stack.port) as wire:
            assert wire.login(token, wanted).code == code, step


def test_ids_keep_their_order(clocked: tuple[Stack, Path]) -> None:
    """Sessions are listed by id; a clock that goes back must not make an old one new."""
    stack, clock = clocked
    for step in (0, -YEAR, YEAR, 0):
        clock.write_text("0")
        token = stack.token(jti=str(step))
        with enter(stack, token=token) as wire:
            clock.write_text(str(step))
            wire.ask(f"SELECT {step}")
        time.sleep(0.05)
    clock.write_text("0")
    wait_sealed(stack)
    sessions = [s["session"] for s in stack.sessions()]
    assert len(set(sessions)) == 4
    assert stack.recorder("verify", "--all").returncode == 0
