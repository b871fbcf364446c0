"""Stock git against the git server that a recording plays: recorded through a gateway."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from git_stack import ALLOW_GIT, GitStack, Route
from test_replay_git import recorded, seeded

from gateway.demo.ssh_server import SshServer

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("replay")]

POLICY = f"""{ALLOW_GIT}
[[rule]]
id = "no-force"
on = "git.push"
where = {{ update = "force" }}
verdict = "block"
message = "no force-pushes"
"""


@pytest.fixture(scope="module")
def through(
    git_server: SshServer,
    git_gateways: Callable[..., GitStack],
    tmp_path_factory: pytest.TempPathFactory,
) -> Route:
    return Route(git_server, tmp_path_factory.mktemp("git"), git_gateways(policy=POLICY))


@contextlib.contextmanager
def serving(route: Route, session: str, *options: str) -> Iterator[tuple[str, list[str]]]:
    """The player's URL without the path, and what it said by the end."""
    assert route.stack is not None
    process = subprocess.Popen(
        [sys.executable, "-m", "recorder.cli", "serve", session, "--listen", "127.0.0.1:0",
         *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"WIREWARDEN_STATE": str(route.stack.state)},
    )  # fmt: skip
    said: list[str] = []
    try:
        assert process.stdout is not None
        yield f"git://{process.stdout.readline().split()[0]}", said
    finally:
        process.terminate()
        said += process.communicate(timeout=10)[1].splitlines()
        assert "Traceback" not in "\n".join(said)


@pytest.mark.parametrize("version", [pytest.param(0, marks=pytest.mark.deep), 2])
def test_a_clone_and_a_miss(through: Route, version: int, tmp_path: Path) -> None:
    name, work = seeded(through)
    tip = work.git("rev-parse", "HEAD").strip()
    git = through.client
    clone = ("-c", f"protocol.version={version}", "clone", "-q")

    def cloned() -> None:
        git.git(*clone, through.url(name), str(tmp_path / "then"))

    session = recorded(through, cloned, "fetch")
    work.commit("more", "more")
    work.git("push", "-q", "origin", "main")
    with serving(through, session) as (url, said):
        git.git(*clone, f"{url}/{name}.git", str(tmp_path / "now"))
        assert git.git("-C", str(tmp_path / "now"), "rev-parse", "HEAD").strip() == tip
        done = git.run(*clone, "--depth=1", f"{url}/{name}", str(tmp_path / "other"))
        assert done.returncode == 128
        assert "remote error: this was not recorded: the closest on record is " in done.stdout
        assert "deepen 1" in done.stdout
    assert said[0].startswith(f"git-upload-pack, version {version}, sha1: {url}/{name}")
    assert "then: exit status 0" in said
    assert "not on record: the closest on record is request" in said[-1]


def test_a_listing_over_and_over(through: Route) -> None:
    _, work = seeded(through)
    session = recorded(through, lambda: work.git("ls-remote", "origin"), "list")
    expected = work.git("ls-remote", "origin")
    with serving(through, session, "--mode", "pool", "--normalise", "repository") as (url, _):
        for _ in range(2):
            assert work.git("ls-remote", f"{url}/any") == expected


def test_a_push_packed_anew_and_another(through: Route) -> None:
    name, work = seeded(through)
    lines = "".join(f"line {n}\n" for n in range(3000))
    work.commit("big", lines)
    work.git("push", "-q", "origin", "main")
    work.commit("big", lines + "one more\n")
    session = recorded(through, lambda: work.git("push", "-q", "origin", "main"), "push")
    with serving(through, session) as (url, said):
        at = f"{url}/{name}.git"
        done = work.run("push", at, "main")
        assert "main -> main" in done.stdout, done.stdout
        assert done.returncode == 0
        # Other bytes, the same objects.
        done = work.run("-c", "core.compression=1", "push", at, "main")
        assert done.returncode == 0, done.stdout
        work.commit("other", "other")
        done = work.run("push", at, "main")
        assert done.returncode == 1
        assert "[remote rejected] main -> main (this was not recorded)" in done.stdout
    assert sum(line.startswith("not on record") for line in said) == 1


def test_a_refused_push_is_refused_again(through: Route) -> None:
    name, work = seeded(through)
    work.git("commit", "-q", "--amend", "-m", "another")
    session = recorded(through, lambda: work.run("push", "-f", "origin", "main"), "push")
    with serving(through, session) as (url, said):
        done = work.run("push", "-f", f"{url}/{name}.git", "main")
    assert "no force-pushes" in done.stdout
    assert "remote rejected" in done.stdout
    assert not any(line.startswith("not on record") for line in said)
    assert any("of the answers are the gateway's own" in line for line in said)
