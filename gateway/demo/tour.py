"""The tour: real clients through a real gateway, step by step.

Each step runs a program as a user would type it, shows what it printed, and
checks that it is what the step says; a tour that would tell a lie stops instead.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time

from gateway.demo.stage import Stage

STEP_SECONDS = 30.0


class TourFailed(Exception):
    """A step did not show what it promises."""


class Voice:
    """Prints the tour; colours on a terminal only (NO_COLOR is honoured)."""

    def __init__(self) -> None:
        self._colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text

    def title(self, text: str) -> None:
        print(f"\n{self._paint('1;36', '── ' + text)}", flush=True)

    def say(self, text: str) -> None:
        print(self._paint("2", text), flush=True)

    def typed(self, line: str) -> None:
        print(f"{self._paint('32', '$')} {line}", flush=True)

    def printed(self, text: str) -> None:
        for line in text.rstrip("\n").splitlines():
            print(f"  {line}", flush=True)


class Tour:
    """One tour over a stage."""

    def __init__(self, on: Stage, voice: Voice) -> None:
        self.on = on
        self.voice = voice
        self.psql_line = f"psql -h 127.0.0.1 -p {on.port} -U agent shop"
        self.agent = on.issuer.token("agent-7", groups=["agents"], run_id="run-42")
        self.dba = on.people.token("dana", groups=["dba"])

    # -- running programs -------------------------------------------------

    def _psql(self, sql: str) -> subprocess.Popen[str]:
        self.voice.typed(f'{self.psql_line} -c "{sql}"')
        environment = self.on.environment | {"PGPASSWORD": self.agent, "PGSSLMODE": "prefer"}
        return subprocess.Popen(
            [self.on.tool("psql"), "-X", "-h", "127.0.0.1", "-p", str(self.on.port), "-U", "agent",
             "-d", "shop", "-c", sql],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )  # fmt: skip

    def _finish(self, process: subprocess.Popen[str]) -> str:
        try:
            out, _ = process.communicate(timeout=STEP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise TourFailed(f"no end within {STEP_SECONDS:g} s") from None
        self.voice.printed(out)
        return out

    def psql(self, sql: str, *expected: str, absent: tuple[str, ...] = ()) -> None:
        """Run ``sql``; ``expected`` must be in what psql prints, ``absent``
        must not."""
        self._check(self._finish(self._psql(sql)), expected, absent)

    def command(self, line: str, *expected: str, token: str = "", code: int = 0) -> str:
        """Run one of our own commands."""
        self.voice.typed(line)
        words = shlex.split(line)
        module = {"gateway": "gateway.cli", "recorder": "recorder.cli"}[words[0]]
        done = subprocess.run(
            [sys.executable, "-m", module, *words[1:]],
            capture_output=True,
            env=self.on.environment | ({"WIREWARDEN_TOKEN": token} if token else {}),
            timeout=STEP_SECONDS,
            check=False,
        )
        out = (done.stdout + done.stderr).decode("utf-8", "backslashreplace")
        self.voice.printed(out)
        if done.returncode != code:
            raise TourFailed(f"{line} ended with {done.returncode}, not {code}")
        self._check(out, expected, ())
        return out

    @staticmethod
    def _check(out: str, expected: tuple[str, ...], absent: tuple[str, ...]) -> None:
        for text in expected:
            if text not in out:
                raise TourFailed(f"the step does not show {text!r}")
        for text in absent:
            if text in out:
                raise TourFailed(f"the step shows {text!r}, which it must not")

    # -- the steps --------------------------------------------------------

    def masked(self) -> None:
        self.voice.title("1. An agent reads: personal data is masked on the way back")
        self.voice.say(
            "Its password is an OIDC token. It never sees the database's own credential."
        )
        hidden = ("ada@example.com", "219-09-9999")
        self.psql("SELECT * FROM users ORDER BY id", "Ada Lovelace", "9999", absent=hidden)
        self.voice.say("Through a view the columns are traced to where they come from:")
        self.psql("SELECT * FROM contacts", "Ada Lovelace", absent=hidden)

    def blocked(self) -> None:
        self.voice.title("2. A DELETE without WHERE is blocked, in PostgreSQL's own words")
        self.psql("DELETE FROM orders", "no-unbounded-write", "ERROR")
        self.psql("SELECT count(*) FROM orders", "30")

    def held(self) -> None:
        self.voice.title("3. An UPDATE is held until a person approves exactly that")
        waiting = self._psql("UPDATE orders SET status = 'paid' WHERE id = 7")
        approval = self.wait_for_approval()
        self.command("gateway approvals list", approval)
        self.command(f"gateway approvals show {approval}", "status = 'paid'")
        self.voice.say("The agent can't approve its own request:")
        self.command(f"gateway approvals approve {approval}", token=self.agent, code=3)
        self.voice.say("Dana of group dba can:")
        reason = "ticket OPS-7"
        line = f"gateway approvals approve {approval} --reason '{reason}'"
        self.command(line, "approved", token=self.dba)
        self.voice.say("and psql, which waited all the time, goes on:")
        self._check(self._finish(waiting), ("UPDATE 1",), ())
        self.psql("SELECT id, status FROM orders WHERE id = 7", "paid")

    def wait_for_approval(self) -> str:
        """The id of what is held now. Raises TourFailed when nothing is."""
        end = time.monotonic() + STEP_SECONDS
        while time.monotonic() < end:
            done = subprocess.run(
                [sys.executable, "-m", "gateway.cli", "approvals", "list", "--json"],
                capture_output=True,
                text=True,
                env=self.on.environment,
                check=False,
            )
            for line in done.stdout.splitlines():
                return str(json.loads(line)["id"])
            time.sleep(0.1)
        raise TourFailed("nothing was held")

    def recorded(self) -> None:
        self.voice.title("4. Everything is on record, both legs, byte for byte")
        self.command("recorder list")
        sessions = self._sessions()
        held = next(s for s in sessions if "UPDATE orders" in self._text(s))
        self.command(f"recorder show {held}")
        self.command(f"recorder play {held}", "UPDATE orders")
        self.verified(held)
        self.command("recorder grep 'DELETE FROM'", "DELETE FROM orders")
        self.voice.say("The very bytes that psql sent (the password is not among them):")
        out = self.on.folder / "psql-sent.bin"
        line = f"recorder cat {held} --leg client --side in"
        self.voice.typed(f"{line} > {out.name}")
        done = subprocess.run(
            [sys.executable, "-m", "recorder.cli", *shlex.split(line)[1:]],
            capture_output=True,
            env=self.on.environment,
            check=False,
        )
        out.write_bytes(done.stdout)
        self.voice.printed(f"{len(done.stdout)} bytes; {done.stderr.decode().strip()}")
        if b"UPDATE orders" not in done.stdout or self.agent.encode() in done.stdout:
            raise TourFailed("the recording is not what psql sent")
        self._flipped(held)
        self._replayed(next(s for s in sessions if "SELECT id, status" in self._text(s)), held)

    def verified(self, session: str) -> None:
        """Once the ledger has its end, which it gets when the recording is safely on disk."""
        self.voice.say("The ledger gets a session's end when its recording is safely on disk:")
        end = time.monotonic() + STEP_SECONDS
        while time.monotonic() < end:
            done = subprocess.run(
                [sys.executable, "-m", "recorder.cli", "verify", "--json", session],
                capture_output=True,
                text=True,
                env=self.on.environment,
                check=False,
            )
            if "(leaf " in done.stdout:
                break
            time.sleep(0.2)
        self.command(f"recorder verify {session}", "OK", "in the ledger")

    def _flipped(self, session: str) -> None:
        """A copy with one bit flipped in the middle is found out."""
        self.voice.say("A copy of that recording in which one bit is flipped:")
        whole = next((self.on.folder / "state" / "sessions").rglob(f"{session}.agr"))
        raw = bytearray(whole.read_bytes())
        raw[len(raw) // 2] ^= 1
        copy = self.on.folder / "flipped.agr"
        copy.write_bytes(raw)
        self.command(f"recorder verify {copy}", "at byte", code=4)

    def _replayed(self, reading: str, changing: str) -> None:
        """The same session against the same server, before and after a change."""
        self.voice.say("The same sessions again, against the server itself, compared word by word:")
        server = self.on.server
        replay = (
            f"--to {server.host}:{server.port} --password-file {self.on.folder}/upstream-password"
        )
        self.command(f"recorder replay {changing} {replay}", "1 request", "equal")
        self.command(f"recorder replay {reading} {replay}", "equal")
        self.voice.say("Somebody changes that order behind the gateway's back; the replay tells:")
        sql = "UPDATE orders SET status = 'refunded' WHERE id = 7"
        self._direct(sql)
        self.command(f"recorder replay {reading} {replay}", "paid", "refunded", code=5)
        self._direct("UPDATE orders SET status = 'paid' WHERE id = 7")

    def _direct(self, sql: str) -> None:
        """Run ``sql`` on the server itself, as its owner."""
        server = self.on.server
        line = f"psql -h {server.host} -p {server.port} -U postgres shop"
        self.voice.typed(f'{line} -c "{sql}"')
        done = subprocess.run(
            [self.on.tool("psql"), "-X", *line.split()[1:], "-c", sql],
            capture_output=True,
            text=True,
            env=self.on.environment | {"PGPASSWORD": server.password},
            timeout=STEP_SECONDS,
            check=False,
        )
        self.voice.printed(done.stdout + done.stderr)
        if done.returncode:
            raise TourFailed("the server refused a change of its owner")

    def _sessions(self) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-m", "recorder.cli", "list", "--json"],
            capture_output=True,
            text=True,
            env=self.on.environment,
            check=True,
        )
        return [json.loads(line)["session"] for line in done.stdout.splitlines()]

    def _text(self, session: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "recorder.cli", "events", session],
            capture_output=True,
            text=True,
            env=self.on.environment,
            check=False,
        )
        return done.stdout
