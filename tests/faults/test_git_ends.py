"""Git through a gateway that ends: told to (a drain), killed, or without its SSH loop."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from git_stack import GitStack, Route, Work, ending

from gateway.demo.ssh_server import SshServer, _children

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("git-ends")]

STALL = Path(__file__).parents[1] / "git_stall.py"
SLOW_END = """\
#!/bin/sh
git-shell -c "$SSH_ORIGINAL_COMMAND"
code=$?
sleep 1
exit $code
"""

BROKEN_LOOP = """\
import gc, os, sys, threading, time

def watch():
    while not os.path.exists({flag!r}):
        time.sleep(0.02)
    island = sys.modules.get("gateway.island")
    mine = [o for o in gc.get_objects() if island and isinstance(o, island.Island)]
    if not mine:
        return  # the supervisor
    try:
        os.rename({flag!r}, {flag!r} + ".taken")  # one worker only
    except OSError:
        return
    for each in mine:
        each.loop.call_soon_threadsafe({how})

def die():
    raise SystemExit("a secret of the loop")

def stop():
    import asyncio
    asyncio.get_running_loop().stop()

if "worker" in sys.argv or "serve" in sys.argv:
    threading.Thread(target=watch, daemon=True).start()
"""


class Stalled:
    """Git that stalls after ``up`` or ``down`` bytes, until ``go``."""

    def __init__(self, folder: Path, work: Work, up: int, down: int, *words: str) -> None:
        self._mark = folder / f"stalled-{time.monotonic_ns()}"
        line = f"{shlex.quote(sys.executable)} {STALL} {self._mark} {up} {down} -- "
        # Without the variant git asks the command itself first, by ``-G``: that would stall.
        command = {"GIT_SSH_COMMAND": line + work.client.ssh_command, "GIT_SSH_VARIANT": "ssh"}
        self.process = work.start(*words, environment=command)
        end = time.monotonic() + 20
        while not self._mark.exists():
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < end
            time.sleep(0.01)

    def go(self) -> str:
        """What it printed until its end."""
        self._mark.unlink()
        return self.process.communicate(timeout=30)[0]


@pytest.fixture
def route(git_server: SshServer, git_gateways: Callable[..., GitStack], tmp_path: Path) -> Route:
    return Route(git_server, tmp_path, git_gateways(incomplete=True))


def stop(stack: GitStack, number: int = signal.SIGTERM) -> None:
    assert stack.process is not None
    stack.process.send_signal(number)


def test_what_runs_comes_to_its_end_in_a_drain(
    git_gateways: Callable[..., GitStack], tmp_path: Path
) -> None:
    """A push and a clone that have all that git sends, and not yet its exit status."""
    script = tmp_path / "force"
    script.write_text(SLOW_END)
    script.chmod(0o755)
    with SshServer(settings={"ForceCommand": str(script)}) as server:
        route = Route(server, tmp_path, git_gateways(server=server))
        assert route.stack is not None
        name, work = route.seeded(2)
        copy = route.new_work(name)
        tip = work.commit("heavy.bin", os.urandom(2_000_000))
        fetch = Stalled(tmp_path, copy, -1, 300, "fetch", "origin")
        push = Stalled(tmp_path, work, 1_000_000, -1, "push", "origin", "main")
        with ending(push.process), ending(fetch.process):
            stop(route.stack)
            time.sleep(0.3)
            for each in (fetch, push):
                said = each.go()
                assert each.process.returncode == 0, said
        assert route.refs(name) == {"refs/heads/main": tip}
        assert copy.git("rev-parse", "origin/main")
        assert route.stack.process is not None
        assert route.stack.process.wait(10) == 0


def test_strangers_do_not_hold_a_drain_up(route: Route) -> None:
    assert route.stack is not None
    with (
        socket.create_connection(("127.0.0.1", route.stack.port)) as silent,
        socket.create_connection(("127.0.0.1", route.stack.port)) as slow,
    ):
        slow.sendall(b"SSH-2.0-slow\r\n")
        assert silent.recv(100)
        assert slow.recv(100)
        start = time.monotonic()
        stop(route.stack)
        assert route.stack.process is not None
        assert route.stack.process.wait(30) == 0
        assert time.monotonic() - start < 10


STAGES = [pytest.param(100, id="commands"), pytest.param(1_000_000, id="pack")]


def bulk(stack: GitStack) -> list[Path]:
    """What waits on disk, or is looked into."""
    found = [stack.state.glob(where) for where in ("spool/*", "quarantine/*/*")]
    return [path for paths in found for path in paths]


@pytest.mark.parametrize("up", STAGES)
def test_killed_within_a_push(route: Route, tmp_path: Path, up: int) -> None:
    assert route.stack is not None
    name, work = route.seeded(2)
    before = route.refs(name)
    tip = work.commit("heavy.bin", os.urandom(3_000_000))
    push = Stalled(tmp_path, work, up, -1, "push", "origin", "main")
    with ending(push.process):
        route.stack.stop(signal.SIGKILL)
        said = push.go()
    assert push.process.returncode, said
    route.stack.start()
    route.rested()
    assert route.refs(name) == before
    route.sound(name)
    assert not bulk(route.stack)
    work.git("push", "-q", "origin", "main")
    assert route.refs(name) == {"refs/heads/main": tip}


def test_killed_while_a_push_is_looked_into(route: Route) -> None:
    assert route.stack is not None
    name, work = route.seeded(2)
    before = route.refs(name)
    work.commit("heavy.bin", os.urandom(20_000_000))
    with ending(work.start("push", "origin", "main")) as push:
        end = time.monotonic() + 20
        while not list(route.stack.state.glob("quarantine/*/*/*/objects")):
            assert push.poll() is None
            assert time.monotonic() < end
            time.sleep(0.005)
        route.stack.stop(signal.SIGKILL)
        push.communicate(timeout=30)
        assert push.returncode
    route.stack.start()
    route.rested()
    assert route.refs(name) == before
    assert not bulk(route.stack)


@pytest.mark.parametrize("how", ["die", "stop"])
def test_a_worker_without_its_ssh_loop_is_replaced(
    git_server: SshServer,
    git_gateways: Callable[..., GitStack],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    flag = tmp_path / "flag"
    (tmp_path / "sitecustomize.py").write_text(BROKEN_LOOP.format(flag=str(flag), how=how))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    stack = git_gateways(workers=2, incomplete=True)
    monkeypatch.delenv("PYTHONPATH")
    assert stack.process is not None
    route = Route(git_server, tmp_path, stack)
    name, work = route.seeded(1)
    before = set(_children(stack.process.pid))
    ready = stack.output().count("gateway: ready")
    flag.touch()
    end = time.monotonic() + 20
    while stack.output().count("gateway: ready") <= ready:
        assert time.monotonic() < end, "nobody took its place"
        time.sleep(0.05)
    now = set(_children(stack.process.pid))
    assert len(now) == 2
    assert len(now & before) == 1
    assert "the SSH loop ended" in stack.output()
    assert "a secret of the loop" not in stack.output()
    for _ in range(6):
        assert work.git("ls-remote", "origin", "main"), name


def test_the_only_worker_without_its_ssh_loop_ends(
    git_server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = tmp_path / "flag"
    (tmp_path / "sitecustomize.py").write_text(BROKEN_LOOP.format(flag=str(flag), how="die"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with GitStack(tmp_path, git_server) as stack:
        flag.touch()
        assert stack.process is not None
        assert stack.process.wait(20) == 1
