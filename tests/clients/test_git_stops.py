"""Whoever stops in the middle: Ctrl-C at each stage, and a server that dies.

An ssh that stalls (``git_stall.py``) holds git at an exact byte, so that every
stage is met and not only likely.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from git_stack import Route, Work, ending

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("git-stops")]

STALL = Path(__file__).parents[1] / "git_stall.py"
PACK_MB = 3
SOON = 10.0

Stalled = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def stalled(route: Route, tmp_path: Path) -> Stalled:
    """Start git with an ssh that stalls after ``up`` or ``down`` bytes, and
    wait until it does."""

    def start(work: Work, up: int, down: int, *arguments: str) -> subprocess.Popen[str]:
        mark = tmp_path / "stalled"
        line = f"{shlex.quote(sys.executable)} {STALL} {mark} {up} {down} -- "
        process = work.start(
            *arguments, environment={"GIT_SSH_COMMAND": line + work.client.ssh_command}
        )
        end = time.monotonic() + 20
        while not mark.exists():
            if process.poll() is not None or time.monotonic() > end:
                os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
                raise AssertionError(f"it did not get there: {process.communicate()[0]}")
            time.sleep(0.01)
        return process

    return start


def interrupt(process: subprocess.Popen[str]) -> str:
    """Ctrl-C: the whole group gets SIGINT, as from a terminal."""
    with ending(process):
        os.killpg(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=SOON)
        assert process.returncode, "it was not finished when it was stopped"
        return out


def heavy(work: Work) -> str:
    return work.commit("heavy.bin", os.urandom(PACK_MB * 1_000_000))


PUSHES = [
    pytest.param(-1, 10, id="advertisement"),
    pytest.param(60, -1, id="commands"),
    pytest.param(1_000_000, -1, id="pack"),
]
"""Of a push: bytes towards the server, bytes from it, where it stalls."""


@pytest.mark.parametrize(("up", "down"), PUSHES)
def test_a_push_is_interrupted(route: Route, stalled: Stalled, up: int, down: int) -> None:
    name, work = route.seeded(2)
    before = route.refs(name)
    tip = heavy(work)
    interrupt(stalled(work, up, down, "push", "origin", "main"))
    route.rested()
    assert route.refs(name) == before, "nothing of a push that was stopped is there"
    route.sound(name)
    work.git("push", "-q", "origin", "main")
    assert route.refs(name) == {"refs/heads/main": tip}
    route.sound(name)


FETCHES = [
    pytest.param(-1, 10, id="advertisement"),
    pytest.param(30, -1, id="negotiation"),
    pytest.param(-1, 1_000_000, id="pack"),
]


@pytest.mark.parametrize("version", [0, 2])
@pytest.mark.parametrize(("up", "down"), FETCHES)
def test_a_fetch_is_interrupted(
    route: Route, stalled: Stalled, up: int, down: int, version: int
) -> None:
    name, origin = route.seeded(2)
    work = route.work(name)
    tip = heavy(origin)
    origin.git("push", "-q", "origin", "main")
    options = ("-c", f"protocol.version={version}")
    interrupt(stalled(work, up, down, *options, "fetch", "origin"))
    route.rested()
    assert work.id("origin/main") != tip
    work.git("fsck", "--full")
    work.git("fetch", "-q", "origin")
    assert work.id("origin/main") == tip


def test_the_server_dies_within_the_pack_of_a_push(route: Route, stalled: Stalled) -> None:
    name, work = route.seeded(2)
    before = route.refs(name)
    tip = heavy(work)
    with ending(stalled(work, 1_000_000, -1, "push", "origin", "main")) as process:
        assert route.server.hang_up()
        out, _ = process.communicate(timeout=SOON)
        assert process.returncode
        assert out.strip(), "it says why"
    route.rested()
    assert route.refs(name) == before
    route.sound(name)
    work.git("push", "-q", "origin", "main")
    assert route.refs(name) == {"refs/heads/main": tip}


def test_the_server_dies_within_the_pack_of_a_clone(
    route: Route, stalled: Stalled, tmp_path: Path
) -> None:
    """The pack is more than what fits into pipes and windows on the way."""
    name, origin = route.seeded(2)
    origin.commit("heavy.bin", os.urandom(30_000_000))
    origin.git("push", "-q", "origin", "main")
    work = route.new_work(name)
    with ending(stalled(work, -1, 1_000_000, "fetch", "origin")) as process:
        assert route.server.hang_up()
        (tmp_path / "stalled").unlink()  # what is on its way may come
        out, _ = process.communicate(timeout=SOON)
        assert process.returncode
        assert out.strip()
    assert work.run("rev-parse", "origin/main").returncode
    work.git("fetch", "-q", "origin")
    assert work.id("origin/main") == origin.id()
