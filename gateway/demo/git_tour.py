"""The git steps of the tour: a repository behind the gateway, and an agent with
its own git."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from gateway.demo.git_client import GitFailed
from gateway.demo.git_scene import REPOSITORY, GitScene
from gateway.demo.tour import STEP_SECONDS, Tour, TourFailed

STEPS = (
    "An agent clones and pushes with its own git",
    "Rewriting main, or deleting it, is blocked",
    "A force-push is held until somebody has seen what would be lost",
    "The record of that push",
)


class GitTour:
    """The steps over a stage that has a ``scene``."""

    def __init__(self, tour: Tour, scene: GitScene, first: int) -> None:
        self.tour = tour
        self.voice = tour.voice
        self.scene = scene
        self.work = scene.client.folder / "site"
        self.lead = tour.on.people.token("lena", groups=["leads"])
        self._first = first

    def play(self) -> None:
        """All steps. Raises TourFailed."""
        try:
            for number, step in enumerate((self.pushed, self.blocked, self.held, self.recorded)):
                self.voice.title(f"{self._first + number}. {STEPS[number]}")
                step()
        except GitFailed as error:
            raise TourFailed(str(error)) from error

    # -- running git ------------------------------------------------------

    def _start(self, line: str, cwd: Path | None = None) -> subprocess.Popen[str]:
        self.voice.typed(line)
        words = line.split(" ")[1:]
        return self.scene.client.start(*words, cwd=cwd or self.work)

    def _finish(self, process: subprocess.Popen[str]) -> str:
        try:
            out, _ = process.communicate(timeout=STEP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.communicate()
            raise TourFailed(f"git did not end within {STEP_SECONDS:g} s") from None
        # What git draws over itself on a terminal is shown as it ends.
        lines = [re.split(r"\r(?!\n)", line)[-1].rstrip() for line in out.split("\n")]
        self.voice.printed("\n".join(line for line in lines if line))
        return out

    def git(self, line: str, *expected: str, code: int = 0, cwd: Path | None = None) -> None:
        """Run what is typed; ``expected`` must be in what git prints."""
        process = self._start(line, cwd)
        self._check(self._finish(process), process.returncode, code, expected)

    @staticmethod
    def _check(out: str, found: int, code: int, expected: tuple[str, ...]) -> None:
        if found != code:
            raise TourFailed(f"git ended with {found}, not {code}")
        for text in expected:
            if text not in out:
                raise TourFailed(f"the step does not show {text!r}")

    def _commit(self, name: str, text: str, message: str, *more: str) -> None:
        """Work that is not worth showing."""
        (self.work / name).write_text(text)
        self.scene.client.git("add", name, cwd=self.work)
        self.scene.client.git("commit", "-q", *more, "-m", message, cwd=self.work)

    # -- the steps --------------------------------------------------------

    def pushed(self) -> None:
        self.voice.say(
            "Its own key, with a certificate for its token; the key of the real server "
            "stays in the gateway."
        )
        self.voice.typed(self.scene.certify(self.tour.on.environment, self.tour.agent))
        self.git(f"git clone {self.scene.url} site", cwd=self.scene.client.folder)
        self.scene.client.git("checkout", "-q", "-b", "topic", cwd=self.work)
        self._commit("cart.html", "a cart with a discount\n", "Try a discount")
        self._commit("index.html", "a page that says so\n", "Tell of the discount")
        self.git("git push origin topic", "[new branch]")
        self._has("refs/heads/topic", "HEAD")

    def blocked(self) -> None:
        before = self.scene.tip("refs/heads/main")
        self.git(
            "git push --force origin topic~2^:main",
            "remote rejected", "main-and-releases-stay", code=1,
        )  # fmt: skip
        self.git("git push origin --delete main", "remote rejected", code=1)
        if not before or self.scene.tip("refs/heads/main") != before:
            raise TourFailed("main is not what it was")

    def held(self) -> None:
        self.scene.client.git("reset", "-q", "--hard", "HEAD~2", cwd=self.work)
        self._commit("cart.html", "a cart as it should be\n", "Rewrite the cart")
        before = self.scene.tip("refs/heads/topic")
        waiting = self._start("git push --force origin topic")
        try:
            approval = self.tour.wait_for_approval()
            self.tour.command("gateway approvals list", approval)
            self.tour.command(
                f"gateway approvals show {approval}", "refs/heads/topic", "Try a discount"
            )
            if self.scene.tip("refs/heads/topic") != before:
                raise TourFailed("the push did not wait")
            self.voice.say("Lena of group leads has seen which commits would be lost:")
            self.tour.command(
                f"gateway approvals approve {approval} --reason 'superseded'",
                "approved",
                token=self.lead,
            )
            self.voice.say("and git, which waited all the time, goes on:")
            out = self._finish(waiting)
        finally:
            if waiting.poll() is None:
                os.killpg(waiting.pid, 9)
                waiting.communicate()
        self._check(out, waiting.returncode, 0, ("waiting for approval", "forced update"))
        self._has("refs/heads/topic", "HEAD")

    def _has(self, ref: str, revision: str) -> None:
        mine = self.scene.client.git("rev-parse", revision, cwd=self.work)
        if self.scene.tip(ref) != mine:
            raise TourFailed(f"the server's {ref} is not what was pushed")

    def recorded(self) -> None:
        session = self._session()
        self.tour.command(f"recorder show {session}", REPOSITORY, "refs/heads/topic")
        self.tour.verified(session)

    def _session(self) -> str:
        """The session of the target in which something was held."""
        done = subprocess.run(
            [sys.executable, "-m", "recorder.cli", "list", "--json"],
            capture_output=True,
            text=True,
            env=self.tour.on.environment,
            check=True,
        )
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        found = [r["session"] for r in rows if r["target"] == "code" and r["held"]]
        if not found:
            raise TourFailed("nothing that was held is on record")
        return str(found[-1])
