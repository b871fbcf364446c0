"""Repositories and a git client whose ssh is the pump (``git_pump.py``)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PUMP = Path(__file__).with_name("git_pump.py")
NOBODY = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_AUTHOR_DATE": "1700000000 +0000",
    "GIT_COMMITTER_DATE": "1700000000 +0000",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "LC_ALL": "C",
}


class World:
    """A folder with a server's repositories in ``srv`` and what a client cloned."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = root / "log"
        self.environment = {**os.environ, **NOBODY, "GIT_SSH_VARIANT": "ssh"}
        self.environment["GIT_SSH_COMMAND"] = f"{sys.executable} {PUMP}"

    def git(
        self,
        *words: str,
        at: str = ".",
        version: int = 2,
        code: int = 0,
        env: dict[str, str] | None = None,
        **pump: Any,
    ) -> str:
        """Run git in the folder ``at``; its output and its errors. ``pump``: see there."""
        setup = json.dumps({"log": str(self.log), **pump})
        done = subprocess.run(
            ["git", "-c", f"protocol.version={version}", *words],
            cwd=self.root / at,
            env={**self.environment, "PUMP": setup, **(env or {})},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == code or (code and done.returncode), said
        return said

    def url(self, name: str) -> str:
        return f"ssh://host{self.root}/srv/{name}"

    def runs(self) -> list[dict[str, Any]]:
        """What the pump told of since the last call."""
        if not self.log.exists():
            return []
        found = [json.loads(line) for line in self.log.read_text().splitlines()]
        self.log.unlink()
        return found

    def texts(self) -> list[str]:
        return [question["text"] for run in self.runs() for question in run["questions"]]

    def build(self) -> None:
        """``full.git``, ``named.git`` (wants by name), ``empty.git`` and ``sha256.git``."""
        (self.root / "srv").mkdir()
        for name, extra in (("full", ()), ("sha256", ("--object-format=sha256",))):
            self.git("init", "-q", "-b", "main", *extra, name)
            for number in range(5):
                lines = "\n".join(str(n) for n in range(100 * number + 1))
                (self.root / name / f"file{number}").write_text(lines)
                self.git("add", ".", at=name)
                self.git("commit", "-q", "-m", f"commit {number}", at=name)
            self.git("tag", "v1", "HEAD~2", at=name)
            self.git("tag", "-a", "-m", "release", "v2", "HEAD~1", at=name)
            self.git("branch", "side", "HEAD~1", at=name)
            self.git("clone", "-q", "--bare", name, f"srv/{name}.git")
            for key in ("allowFilter", "allowAnySHA1InWant"):
                self.git("config", f"uploadpack.{key}", "true", at=f"srv/{name}.git")
            self.git("config", "uploadarchive.allowUnreachable", "true", at=f"srv/{name}.git")
        self.git("init", "-q", "--bare", "-b", "main", "srv/empty.git")
        self.git("clone", "-q", "--bare", "full", "srv/named.git")
        self.git("config", "uploadpack.allowRefInWant", "true", at="srv/named.git")
