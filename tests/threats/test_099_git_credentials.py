"""Row 99 for git over SSH: the deploy key, tickets, tokens and the gateway's own keys are
in nothing that it writes, says or has approved; while it serves, after SIGKILL with a
push in flight, and after it recovered. Row 74 in so far as the log is searched as well.

Goes red when LOGIN or SECRET frames are recorded as PLAIN.
"""

from __future__ import annotations

import base64
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from git_stack import GitStack, Route, ending

from gateway.demo.ssh_server import SshServer
from protocols.wire import Side
from recorder.catalog import catalog
from recorder.errors import FormatError
from recorder.reader import open_recording
from recorder.streams import Hop, Streams

HOLD = """
version = 1
default = "deny"

[[rule]]
id = "all"
on = ["git.list", "git.fetch"]
verdict = "allow"
message = "reads"

[[rule]]
id = "pushes"
on = "git.push"
verdict = "hold"
approve = { groups = ["leads"], count = 1, ttl = "10m" }
message = "a push needs a lead"
"""


def forms(secret: bytes) -> set[bytes]:
    """``secret`` as it may be written; of base64 all three alignments."""
    out = {secret, secret.hex().encode(), secret.hex().upper().encode()}
    for shift in range(3):
        coded = base64.b64encode(bytes(shift) + secret)
        out.add(coded[(8 * shift + 5) // 6 : -4])
    return {form for form in out if len(form) >= 12}


def seed(path: Path) -> bytes:
    """The 32 secret bytes of an Ed25519 key."""
    key = load_ssh_private_key(path.read_bytes(), None)
    return key.private_bytes_raw()  # type: ignore[union-attr]


def written(stack: GitStack, own: set[Path]) -> Iterator[tuple[str, bytes]]:
    """All that there is of the gateway, but for the files of its keys."""
    for path in stack.state.rglob("*"):
        if path.is_file() and path not in own:
            yield str(path), path.read_bytes()
    yield "the log", stack.log.read_bytes()
    for line in list(catalog(stack.state)):
        recording = open_recording(stack.state, line.session)
        try:
            for hop in (Hop(side, arrives) for side in Side for arrives in (True, False)):
                pieces = Streams(recording).pieces(hop)
                try:
                    yield f"{line.session} {hop}", b"".join(piece.raw or b"" for piece in pieces)
                except FormatError:
                    continue
        finally:
            recording.close()
        for command in (("show",), ("events",)):
            done = stack.recorder(*command, line.session, text=False)
            yield " ".join(command), done.stdout + done.stderr
    done = stack.gateway("approvals", "list", "--all", "--json")
    yield "approvals", (done.stdout + done.stderr).encode()


def with_ticket(route: Route, folder: Path, ticket: str, url: str) -> subprocess.Popen[str]:
    """git with a ticket at the prompt."""
    assert route.stack is not None
    ask = folder / f"ask-{ticket[-6:]}"
    ask.write_text(f"#!/bin/sh\necho '{ticket}'\n")
    ask.chmod(0o700)
    client = route.stack.client(certified=False, extra="BatchMode no\nNumberOfPasswordPrompts 1\n")
    more = {"SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}
    return client.start("ls-remote", url, environment=more)


def test_grep(git_server: SshServer, tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "gateway").mkdir()
    stack = GitStack(tmp_path / "gateway", git_server, policy=HOLD, more=("--debug",))
    with stack:
        route = Route(git_server, tmp_path, stack)
        name = route.repository()
        token = stack.token()
        ticket = stack.ticket(token)
        bad = ticket[:-6] + "aaaaaa"
        for secret, good in ((ticket, True), (bad, False)):
            with ending(with_ticket(route, tmp_path, secret, route.url(name))) as process:
                said.append(process.communicate(timeout=30)[0])
                assert (process.returncode == 0) is good, said[-1]
        for number in range(2):
            work = route.new_work(name)
            work.commit(f"file-{number}", "content\n")
            with ending(work.start("push", "origin", f"HEAD:refs/heads/b{number}")) as push:
                approval = stack.held()["id"]
                shown = stack.gateway("approvals", "show", approval)
                said += [shown.stdout, shown.stderr]
                if number == 0:
                    assert stack.decide("approve", approval).returncode == 0
                else:
                    stack.stop(signal.SIGKILL)
                said.append(push.communicate(timeout=30)[0])
                assert (push.returncode == 0) is (number == 0), said[-1]
        keys = {
            "the deploy key": git_server.deploy_key,
            "the authority's key": stack.state / "ssh_ca",
            "the host key": stack.state / "ssh_host_ed25519_key",
        }
        secrets = {what: seed(path) for what, path in keys.items()} | {
            "the ticket": ticket.encode(),
            "the bad ticket": bad.encode(),
            "the token's signature": token.rpartition(".")[2].encode(),
        }
        body = git_server.deploy_key.read_bytes().splitlines()[2]
        own = set(keys.values())
        for _ in range(2):
            for where, content in (*written(stack, own), ("output", "".join(said).encode())):
                assert body not in content, f"a line of the deploy key is in {where}"
                for what, secret in secrets.items():
                    for form in forms(secret):
                        assert form not in content, f"{what} is in {where}"
            if stack.process is None:
                stack.start()  # recovers
        modes = [path.stat().st_mode & 0o077 for path in own]
        assert modes == [0] * len(modes)
        assert os.listdir(stack.state / "spool") == []
