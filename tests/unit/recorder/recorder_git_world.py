"""Real conversations of stock git with stock git servers, and sessions made of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from recorder_world import WALL, C, Legs, U

from protocols.ssh.frames import HEADER, Kind, data, frame
from protocols.wire import Mark, Side, Span
from recorder.journal import Journal
from recorder.session_log import SessionLog

PUMP = r"""
import json, os, select, subprocess, sys
out = open(os.environ["PUMP_LOG"], "w")
line = sys.argv[-1]
out.write(json.dumps(["x", line]) + "\n")
child = subprocess.Popen(["sh", "-c", line], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
ways = {0: ("i", child.stdin.fileno()), child.stdout.fileno(): ("o", 1)}
while child.stdout.fileno() in ways:
    for fd in select.select(list(ways), [], [])[0]:
        name, to = ways[fd]
        raw = os.read(fd, 32768)
        out.write(json.dumps([name, raw.hex()]) + "\n")
        if not raw:
            del ways[fd]
            if name == "i":
                child.stdin.close()
            continue
        at = 0
        while at < len(raw):
            at += os.write(to, raw[at:])
out.write(json.dumps(["z", child.wait()]) + "\n")
"""


class Chunk(NamedTuple):
    """``way``: x (command line), i (to the server), o (from it), z (exit status)."""

    way: str
    raw: bytes


class Repositories:
    """A bare repository and a clone of it under ``place``."""

    def __init__(self, place: Path, objects: str = "sha1") -> None:
        self.place = place
        self.pump = place / "pump.py"
        self.pump.write_text(PUMP)
        self.bare = place / "org" / "repo.git"
        self.work = place / "work"
        kind = f"--object-format={objects}"
        self.git("init", "-q", "--bare", kind, "-b", "main", str(self.bare))
        self.git("-C", str(self.bare), "config", "receive.advertisePushOptions", "true")
        self.git("-C", str(self.bare), "config", "uploadpack.allowFilter", "true")
        self.git("init", "-q", kind, "-b", "main", str(self.work))
        for number in range(3):
            self.commit(f"commit {number}")
        self.at("push", "-q", str(self.bare), "main")

    def git(self, *words: str, **more: str) -> str:
        settings = {
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_SSH_VARIANT": "simple",
            "HOME": str(self.place),
            "PATH": os.environ["PATH"],
            "GIT_SSH_COMMAND": f"{sys.executable} {self.pump}",
            **{
                f"GIT_{who}_{key}": value
                for who in ("AUTHOR", "COMMITTER")
                for key, value in (("NAME", "A"), ("EMAIL", "a@b"), ("DATE", "@1700000000 +0000"))
            },
        }
        done = subprocess.run(
            ["git", *words], env={**settings, **more}, capture_output=True, check=False
        )
        return (done.stdout + done.stderr).decode()

    def at(self, *words: str, **more: str) -> str:
        return self.git("-C", str(self.work), *words, **more)

    def commit(self, text: str) -> str:
        (self.work / "file").write_text(text)
        self.at("add", ".")
        self.at("commit", "-q", "-m", text)
        return self.at("rev-parse", "HEAD").strip()

    def captured(self, *words: str, version: str = "2", variant: str = "simple") -> list[Chunk]:
        """What ``git words`` and the server say to each other; ``URL`` is the server's."""
        log = self.place / "pump.log"
        url = f"ssh://host{self.bare}"
        self.git(
            *(url if word == "URL" else word for word in words),
            PUMP_LOG=str(log),
            GIT_SSH_VARIANT=variant,
            GIT_CONFIG_COUNT="1",
            GIT_CONFIG_KEY_0="protocol.version",
            GIT_CONFIG_VALUE_0=version,
        )
        chunks = []
        for line in log.read_text().splitlines():
            way, value = json.loads(line)
            if way in "io":
                chunks.append(Chunk(way, bytes.fromhex(value)))
            else:
                chunks.append(Chunk(way, str(value).encode()))
        return chunks


def git_header(session: str) -> dict[str, Any]:
    return {"session": session, "listener": "git", "protocol": "git-ssh", "peer": "127.0.0.1:5555"}


class GitSession:
    """A session of the journal, written as the gateway writes one."""

    def __init__(
        self, journal: Journal, session: str, line: bytes, start: int = WALL, version: bytes = b""
    ) -> None:
        self.journal = journal
        self.log: SessionLog = journal.open(git_header(session))
        self.legs = Legs()
        take, send = self.legs.take, self.legs.send
        self.spans(
            take(C, frame(Kind.HELLO, b"git")),
            send(C, frame(Kind.GREETED)),
            take(C, frame(Kind.SECRET, b"a ticket"), Mark.SECRET),
            send(C, frame(Kind.PROVEN)),
        )
        who = {"subject": "agent-7", "issuer": "ci", "kind": "agent", "run": "run-42"}
        self.log.event("identity", who)
        self.spans(take(C, frame(Kind.REFUSED, b"pty-req")))
        self.log.event("refused", {"what": "pty-req"})
        if version:
            self.spans(take(C, frame(Kind.ENV, version)))
        self.spans(take(C, frame(Kind.EXEC, line)))
        self.log.event("destination", {"target": "app-repo", "database": "org/repo", "user": "git"})
        self.log.command(1, "run", "list org/repo (push)", 0, ("all",), "", "p" * 8)
        self.spans(
            take(U, frame(Kind.READY, b"SHA256:x")),
            send(U, frame(Kind.LOGIN, b"the private key"), Mark.SECRET),
            take(U, frame(Kind.OPENED)),
            send(U, frame(Kind.EXEC, line)),
            take(U, frame(Kind.STARTED)),
            send(C, frame(Kind.STARTED)),
        )

    def spans(self, *spans: Span) -> None:
        self.log.spans(spans)
        self.journal.flush()

    def passes(self, side: Side, raw: bytes) -> None:
        self.spans(self.legs.passed(side, data(Kind.DATA, raw)))

    def takes(self, raw: bytes) -> list[tuple[int, int]]:
        """A client's bytes that wait: the places of the bodies, as (offset, length)."""
        places = []
        framed = data(Kind.DATA, raw)
        at = 0
        while at < len(framed):
            length = int.from_bytes(framed[at + 1 : at + HEADER], "big")
            head = self.legs.take(C, framed[at : at + HEADER])
            body = self.legs.take(C, framed[at + HEADER : at + HEADER + length])
            self.spans(head, body)
            places.append((body.offset, length))
            at += HEADER + length
        return places

    def forwards(self, places: list[tuple[int, int]]) -> None:
        for offset, length in places:
            head = b"%c%b" % (Kind.DATA, length.to_bytes(4, "big"))
            self.spans(self.legs.send(U, head), self.legs.forward(C, offset, length))

    def says(self, raw: bytes, kind: Kind = Kind.DATA) -> None:
        self.spans(self.legs.send(C, data(kind, raw)))

    def plays(self, chunks: list[Chunk]) -> None:
        """Everything passes."""
        for way, raw in chunks:
            if way in "io" and raw:
                self.passes(C if way == "i" else U, raw)

    def ends(self, status: int = 0) -> None:
        code = status.to_bytes(4, "big")
        self.spans(
            self.legs.take(U, frame(Kind.EOF)),
            self.legs.take(U, frame(Kind.EXIT, code)),
            self.legs.send(C, frame(Kind.EOF)),
            self.legs.send(C, frame(Kind.EXIT, code)),
        )
        self.log.end("closed", "the service ended")
        self.journal.flush()


def stream_of(chunks: list[Chunk], way: str) -> bytes:
    return b"".join(raw for each, raw in chunks if each == way)
