"""A real ``git push`` through the lane to a real ``git receive-pack``."""

from __future__ import annotations

import json
import os
import random
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PUMP = Path(__file__).parent / "push_pump.py"
ENVIRONMENT = {
    **os.environ,
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_AUTHOR_NAME": "Ann",
    "GIT_AUTHOR_EMAIL": "ann@example.org",
    "GIT_COMMITTER_NAME": "Ann",
    "GIT_COMMITTER_EMAIL": "ann@example.org",
    "GIT_SSH_VARIANT": "ssh",
    "LC_ALL": "C",
}


@dataclass
class Scene:
    folder: Path
    plan: dict[str, Any]
    status: int = 0
    said: str = ""

    @property
    def clone(self) -> Path:
        return self.folder / "clone"

    @property
    def upstream(self) -> Path:
        return self.folder / "up.git"

    @property
    def log(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "log.json").read_text())
        return found

    def git(self, *words: str, cwd: Path | None = None) -> str:
        command = ["git", *words]
        where = cwd or self.clone
        return subprocess.run(
            command, cwd=where, env=ENVIRONMENT, capture_output=True, text=True, check=True
        ).stdout.strip()

    def commit(self, name: str, body: bytes = b"x\n", message: str = "a change") -> str:
        (self.clone / name).write_bytes(body)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")

    def push(self, *words: str, cwd: Path | None = None, **plan: Any) -> str:
        """What git says; ``status`` is its exit. ``plan`` adds to the answers."""
        (self.folder / "plan.json").write_text(json.dumps({**self.plan, **plan}))
        (self.folder / "log.json").unlink(missing_ok=True)
        pump = f"{shlex.quote(sys.executable)} {PUMP} {self.folder}"
        run = subprocess.run(
            ["git", "push", f"ssh://git@gateway{self.upstream}", *words],
            cwd=cwd or self.clone,
            env={**ENVIRONMENT, "GIT_SSH_COMMAND": pump},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.status, self.said = run.returncode, run.stderr
        return run.stderr

    def tip(self, ref: str) -> str:
        return self.git("for-each-ref", "--format=%(objectname)", ref, cwd=self.upstream)

    def passed(self) -> None:
        """It went through, and every byte as it came."""
        assert self.status == 0, self.said
        assert self.log["whole"]
        assert self.log["tiled"]
        assert self.log["closed"]
        assert self.log["finished"] is None

    def refused(self) -> None:
        """Nothing went up but a flush, and both sides ended in order."""
        assert self.status == 1, self.said
        assert self.log["upstream"] == "0000"
        assert self.log["exit"] == 0
        assert self.log["finished"] == 0
        assert self.log["closed"]
        assert "fatal" not in self.said
        assert "error: remote unpack failed" not in self.said


def scene_of(folder: Path, *words: str) -> Scene:
    scene = Scene(folder, {"clone": str(folder / "clone")})
    scene.git("init", "-q", "--bare", *words, "up.git", cwd=folder)
    scene.git("init", "-q", "-b", "main", *words, "clone", cwd=folder)
    scene.git("config", "receive.advertisePushOptions", "true", cwd=scene.upstream)
    return scene


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return scene_of(tmp_path)


def test_create_forward_force_delete(scene: Scene) -> None:
    first = scene.commit("a")
    scene.push("main")
    scene.passed()
    assert scene.tip("refs/heads/main") == first
    assert scene.log["facts"][0]["update"] == "create"

    second = scene.commit("b")
    assert "remote: looking into it" in scene.push("main")
    scene.passed()
    assert scene.log["facts"][0]["update"] == "ff"
    assert scene.log["facts"][0]["pack_bytes"] > 100
    assert (scene.log["facts"][0]["old"], scene.tip("refs/heads/main")) == (first, second)

    scene.git("commit", "-q", "--amend", "-m", "another")
    scene.push("--force", "main")
    scene.passed()
    assert scene.log["facts"][0]["update"] == "force"
    assert scene.log["facts"][0]["lost"] == 1
    assert scene.log["text"].startswith("push to org/repo: force refs/heads/main ")

    scene.git("reset", "-q", "--hard", first)
    scene.push("--force", "main")  # an empty pack
    scene.passed()
    assert scene.log["facts"][0]["objects"] == 0
    assert "pack: 0 objects" in scene.log["text"]
    assert scene.tip("refs/heads/main") == first

    scene.push("main:refs/heads/other")
    scene.push("--delete", "other")
    scene.passed()
    assert "no pack" in scene.log["context"]
    assert scene.log["facts"][0]["update"] == "delete"
    assert not scene.tip("refs/heads/other")

    assert "up-to-date" in scene.push("main")
    assert scene.status == 0
    assert "text" not in scene.log
    assert scene.log["upstream"] == "0000"


def test_tags_atomic_and_options(scene: Scene) -> None:
    scene.commit("a")
    scene.git("tag", "v1")
    scene.git("tag", "-a", "-m", "two", "v2")
    said = scene.push("--atomic", "-o", "ci.skip", "--tags", "main", push_options=["ci.*"])
    scene.passed()
    assert said.count("[new tag]") == 2
    assert {fact["atomic"] for fact in scene.log["facts"]} == {True}
    assert scene.log["facts"][0]["push_options"] == ["ci.skip"]
    assert "option ci.skip" in scene.log["context"]

    scene.commit("b")
    scene.git("tag", "-f", "v1")
    scene.push("--force", "--tags")
    assert scene.log["facts"][0]["update"] == "force"
    assert scene.log["facts"][0]["forced"] is False


def test_options_that_are_not_permitted(scene: Scene) -> None:
    scene.commit("a")
    said = scene.push("-o", "merge_request.create", "main", push_options=["ci.skip"])
    assert "(a push option that is not permitted here (session s-1))" in said
    scene.refused()
    said = scene.push("-o", "ci.skip", "main")
    assert "the receiving end does not support push options" in said
    assert scene.status != 0


def test_a_rule_refuses(scene: Scene) -> None:
    scene.commit("a")
    scene.git("branch", "other")
    said = scene.push("main", "other", refuse=("no-main", "not\non a\x1b[31mFriday"))
    why = "(blocked by rule no-main: not on a [31mFriday (session s-1))"
    assert f" ! [remote rejected] main -> main {why}" in said
    assert f" ! [remote rejected] other -> other {why}" in said
    scene.refused()
    assert not scene.tip("refs/heads/main")
    assert [remark["ref"] for remark in scene.log["remarks"]] == [
        "refs/heads/main",
        "refs/heads/other",
    ]


def test_a_delete_is_refused(scene: Scene) -> None:
    scene.commit("a")
    scene.push("main")
    said = scene.push("--delete", "main", refuse=("", "never"))
    assert " ! [remote rejected] main (blocked: never (session s-1))" in said
    scene.refused()
    assert scene.tip("refs/heads/main")


def test_what_no_rule_could_permit(scene: Scene) -> None:
    scene.commit("a")
    said = scene.push("main:refs/single", "main:refs/heads/main")
    assert "main -> refs/single (only refs/<kind>/<name> can be pushed to" in said
    assert "main -> main (not attempted: another ref was refused" in said
    scene.refused()
    assert scene.log["remarks"][0]["refused"].startswith("refs/single: only")


def test_held_and_approved(scene: Scene) -> None:
    first = scene.commit("a")
    said = scene.push("main", hold=True)
    assert "remote: waiting for approval AP-1 from leads" in said
    scene.passed()
    assert scene.tip("refs/heads/main") == first


def test_held_while_the_ref_moved(scene: Scene) -> None:
    scene.commit("a")
    said = scene.push("main", hold=True, moved=[("refs/heads/main", "0" * 40, "1" * 40)])
    assert f"refs/heads/main moved from {'0' * 40} to {'1' * 40} while the push waited" in said
    scene.refused()


def test_nobody_could_look(scene: Scene) -> None:
    scene.commit("a")
    scene.push("main")
    scene.commit("b")
    scene.push("main", blind=True)
    scene.passed()
    assert scene.log["complete"] == [False]
    assert scene.log["facts"][0]["update"] is None
    assert scene.log["facts"][0]["secrets"] is None
    assert "NOT ALL IS SHOWN: the upstream is deaf" in scene.log["text"]


@pytest.mark.parametrize("format_", ["sha1", "sha256"])
def test_what_it_does_is_really_looked_into(tmp_path: Path, format_: str) -> None:
    scene = scene_of(tmp_path, f"--object-format={format_}")
    scene.commit("a", b"one\n")
    scene.push("main", look=True)
    scene.passed()
    base = scene.commit("b", b"two\n")
    lost = scene.commit("c", b"three\n", "soon to be lost")
    scene.push("main", look=True)
    scene.passed()
    assert scene.log["complete"] == [True]
    assert scene.log["facts"][0]["update"] == "ff"
    assert scene.log["facts"][0]["paths"] == ["b", "c"]
    assert scene.log["facts"][0]["authors"] == ["Ann <ann@example.org>"]

    scene.git("reset", "-q", "--hard", base)
    scene.commit("d", b"four\nfive\n", "instead")
    scene.push("--force", "main", look=True)
    scene.passed()
    facts = scene.log["facts"][0]
    assert (facts["update"], facts["commits"], facts["lost"]) == ("force", 1, 1)
    text = scene.log["text"]
    assert "(1 commit added, 1 lost)" in text
    assert f"    {lost[:12]} " in text
    assert "Ann <ann@example.org>: soon to be lost" in text
    assert "    A d | +2 -0" in text

    scene.push("--force", f"{base}:refs/heads/main", look=True)  # an empty pack
    scene.passed()
    facts = scene.log["facts"][0]
    assert (facts["update"], facts["commits"], facts["lost"]) == ("force", 0, 1)

    scene.push("--delete", "main", look=True, refuse=("keep", "no"))
    scene.refused()
    facts = scene.log["facts"][0]
    assert (facts["update"], facts["lost"]) == ("delete", 2)


def test_many_refs(scene: Scene) -> None:
    scene.commit("a")
    for number in range(300):
        scene.git("update-ref", f"refs/heads/b{number}", "HEAD")
    scene.push("--all", step=1000)
    scene.passed()
    assert len(scene.log["facts"]) == 301
    assert len(scene.log["remarks"]) == 301
    assert "and 101 updates more, not shown" in scene.log["text"]


def test_sha256(tmp_path: Path) -> None:
    scene = scene_of(tmp_path, "--object-format=sha256")
    first = scene.commit("a")
    scene.push("main", step=1)
    scene.passed()
    assert len(scene.tip("refs/heads/main")) == 64
    assert scene.tip("refs/heads/main") == first
    scene.commit("b")
    scene.push("main", refuse=("r", "no"))
    scene.refused()


def test_shallow(scene: Scene) -> None:
    for name in "abc":
        scene.commit(name)
    scene.push("main")
    shallow = scene.folder / "shallow"
    where = f"file://{scene.upstream}"
    scene.git("clone", "-q", "--depth=1", "-b", "main", where, "shallow", cwd=scene.folder)
    assert "up-to-date" in scene.push("HEAD:main", cwd=shallow)
    assert scene.status == 0
    (shallow / "d").write_text("d")
    scene.git("add", ".", cwd=shallow)
    scene.git("commit", "-q", "-m", "d", cwd=shallow)
    scene.push("HEAD:main", cwd=shallow, clone=str(shallow))
    scene.passed()
    assert scene.log["facts"][0]["shallow"] is True


def test_the_upstream_says_no(scene: Scene) -> None:
    hook = scene.upstream / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\ncat >/dev/null\necho 'no, says the hook'\nexit 1\n")
    hook.chmod(0o755)
    scene.commit("a")
    said = scene.push("main")
    assert "remote: no, says the hook" in said
    assert "[remote rejected] main -> main (pre-receive hook declined)" in said
    assert scene.log["whole"]
    assert scene.log["finished"] is None


def test_a_large_pack(scene: Scene) -> None:
    step = 1 << 16
    scene.commit("large", random.Random(1).randbytes(50_000_000))
    scene.push("main", step=step)
    scene.passed()
    assert scene.log["bytes"] > 50_000_000
    scene.commit("larger", random.Random(2).randbytes(50_000_000))
    scene.push("main", refuse=("r", "too much"), step=step)
    scene.refused()


@pytest.mark.parametrize("megabytes", [20, 90])
def test_a_pack_over_the_cap(scene: Scene, megabytes: int) -> None:
    scene.commit("large", random.Random(1).randbytes(megabytes * 1_000_000))
    said = scene.push("main", max_pack=1_000_000)
    assert "[remote rejected] main -> main (a pack of more than 1000000 bytes" in said
    assert scene.log["upstream"] == "0000"
    assert scene.log["finished"] == 0
    assert scene.status == 1
    if megabytes == 20:
        scene.refused()


def test_the_upstream_dies_in_the_middle(scene: Scene) -> None:
    scene.commit("large", random.Random(1).randbytes(5_000_000))
    said = scene.push("main", kill_at=1_000_000)
    assert "[remote rejected] main -> main (the upstream closed the connection" in said
    assert scene.status == 1
    assert scene.log["upstream"] == ""
