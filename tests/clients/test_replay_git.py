"""Recorded fetches and pushes, made again with git's own services."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from git_stack import GitStack, Route, Work

from gateway.demo.ssh_server import SshServer

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("replay")]

FREE = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | {
    "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
}  # fmt: skip


@pytest.fixture(scope="module")
def through(
    git_server: SshServer,
    git_gateways: Callable[..., GitStack],
    tmp_path_factory: pytest.TempPathFactory,
) -> Route:
    return Route(git_server, tmp_path_factory.mktemp("git"), git_gateways())


def recorded(route: Route, work: Callable[[], object], word: str) -> str:
    assert route.stack is not None
    known = {row["session"] for row in route.stack.sessions()}
    work()
    end = time.monotonic() + 10
    while time.monotonic() < end:
        new = [r for r in route.stack.sessions() if r["session"] not in known]
        if new and all(r["status"] != "open" for r in new):
            break
        time.sleep(0.1)
    for row in new:
        texts = [e.get("text", "") for e in route.stack.events(row["session"])]
        if any(text.startswith(word) for text in texts):
            return str(row["session"])
    raise AssertionError(new)


def again(
    route: Route, session: str, program: str, *options: str
) -> tuple[int, list[dict[str, Any]], str]:
    assert route.stack is not None
    done = subprocess.run(
        [sys.executable, "-m", "recorder.cli", "replay", session, "--program", program, "--json",
         "--all", *options],
        capture_output=True, text=True, timeout=60, check=False,
        env=FREE | {"WIREWARDEN_STATE": str(route.stack.state)},
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def copied(route: Route, name: str, folder: Path) -> Path:
    copy = folder / "copy.git"
    shutil.copytree(f"{route.server.root}/{name}.git", copy)
    return copy


def seeded(route: Route) -> tuple[str, Work]:
    return route.seeded(3)


@pytest.mark.parametrize("version", [0, 2])
def test_a_clone_has_the_same_objects(through: Route, version: int, tmp_path: Path) -> None:
    name, _ = seeded(through)
    client = through.client

    def clone() -> None:
        client.git("-c", f"protocol.version={version}", "clone", "-q", through.url(name),
                   str(tmp_path / "site"))  # fmt: skip

    session = recorded(through, clone, "fetch")
    copy = copied(through, name, tmp_path)
    # The same objects, packed anew: another pack.
    subprocess.run(["git", "repack", "-adfq", "--depth=1"], cwd=copy, check=True, env=FREE)
    code, told, _ = again(through, session, f"git-upload-pack {copy}")
    assert code == 0, told
    pack = next(v for v in told if v.get("message") == "pack")
    assert pack["status"] == "equal"
    assert pack["note"] == "9 objects"
    assert Counter(v.get("status") for v in told)["equal"] >= 3


def test_a_fetch_from_a_repository_that_went_on_differs(through: Route, tmp_path: Path) -> None:
    name, work = seeded(through)
    session = recorded(
        through, lambda: through.client.git("clone", "-q", through.url(name), str(tmp_path / "w")),
        "fetch",
    )  # fmt: skip
    work.commit("more", "more")
    work.git("push", "-q", "origin", "main")
    code, told, _ = again(through, session, f"git-upload-pack {copied(through, name, tmp_path)}")
    assert code == 5
    differing = [v for v in told if v.get("status") == "differs"]
    assert any("refs/heads/main" in v["differences"][0]["expected"] for v in differing)


def test_a_service_that_does_not_start_says_why(through: Route, tmp_path: Path) -> None:
    name, _ = seeded(through)
    session = recorded(
        through, lambda: through.client.git("clone", "-q", through.url(name), str(tmp_path / "w")),
        "fetch",
    )  # fmt: skip
    code, told, stderr = again(through, session, f"git-upload-pack {tmp_path}/nothing.git")
    assert code == 1
    assert not told
    assert "exit status 128" in stderr
    assert "nothing.git" in stderr


def test_a_push_is_made_again_where_it_was_not_yet(through: Route, tmp_path: Path) -> None:
    name, work = seeded(through)
    copy = copied(through, name, tmp_path)
    tip = work.commit("more", "more")
    session = recorded(through, lambda: work.git("push", "-q", "origin", "main"), "push")
    code, _, stderr = again(through, session, f"git-receive-pack {copy}")
    assert code == 2
    assert "--i-understand-writes" in stderr
    code, told, stderr = again(
        through, session, f"git-receive-pack {copy}", "--i-understand-writes"
    )
    assert code == 0, (told, stderr)
    now = subprocess.run(["git", "rev-parse", "main"], cwd=copy, capture_output=True, text=True,
                         check=True, env=FREE)  # fmt: skip
    assert now.stdout.strip() == tip
    # Once more: it has moved meanwhile, and the server says so.
    code, told, _ = again(through, session, f"git-receive-pack {copy}", "--i-understand-writes")
    assert code == 5
    assert any("ng refs/heads/main" in str(v) for v in told)
