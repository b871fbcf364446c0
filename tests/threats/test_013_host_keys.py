"""Row 13: an upstream that is not the pinned one gets nothing of the credential, and the
client nothing of the upstream.

Goes red when the island's ``READY`` comes before the host key is verified, or an errand
does not pin it.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path

import pytest
from git_stack import ALLOW_GIT, GitStack, Route
from ssh_door import GateDoor, route_of

from gateway.demo.ssh_server import SshServer


@pytest.fixture(scope="module")
def stranger() -> Iterator[SshServer]:
    """A server with a host key of its own, that would let the credential in."""
    with SshServer() as server:
        yield server


def attempts(server: SshServer) -> int:
    """Logins that ``server`` saw anything of. It logs each, at LogLevel VERBOSE."""
    told = ("Accepted", "Failed", "Postponed", "preauth] user", "authenticating user", "userauth")
    return sum(any(word in line for word in told) for line in server.log().splitlines())


def denied(door: GateDoor, folder: Path, repository: str) -> None:
    route = route_of(door, folder)
    done = route.client.run("ls-remote", route.url(repository))
    assert done.returncode
    assert "the upstream did not let us in" in done.stdout, done.stdout
    assert "SHA256:" not in done.stdout, "it is for the operator"
    assert "credential" not in [event.kind for event in door.events()], "it was reached for"


def test_a_changed_host_key(
    doors: Callable[..., GateDoor], stranger: SshServer, git_server: SshServer, tmp_path: Path
) -> None:
    name = Route(stranger, tmp_path).repository()
    before = attempts(stranger)
    door = doors(server=stranger, host_keys=(git_server.host_key,))
    denied(door, tmp_path, name)
    assert door.dials(), "the stranger was asked"
    assert attempts(stranger) == before
    assert "is not pinned" in door.stack.output(), "the operator learns why"


def test_the_key_of_another_kind(
    doors: Callable[..., GateDoor], stranger: SshServer, tmp_path: Path
) -> None:
    """A pin of a kind that the server has no key of."""
    rsa = tmp_path / "rsa"
    line = ["ssh-keygen", "-q", "-t", "rsa", "-b", "3072", "-N", "", "-f", rsa]
    subprocess.run(line, check=True)
    pin = " ".join(Path(f"{rsa}.pub").read_text().split()[:2])
    before = attempts(stranger)
    denied(doors(server=stranger, host_keys=(pin,)), tmp_path, "org/any")
    assert attempts(stranger) == before


@pytest.mark.parametrize("keys", [(), ("",), ("ssh-ed25519 AAAA",)])
def test_without_a_pin_nothing_starts(
    git_server: SshServer, tmp_path: Path, keys: tuple[str, ...]
) -> None:
    stack = GitStack(tmp_path, git_server, host_keys=keys)
    with pytest.raises(AssertionError, match="host_keys"):
        stack.start()


class Switch:
    """Takes the first ``count`` connections to one server, and the others to another."""

    def __init__(self, count: int, first: SshServer, others: SshServer) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self._servers = chain(repeat(first, count), repeat(others))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.sock.accept()
                server = next(self._servers)
                far = socket.create_connection((server.host, server.port))
                for ways in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=ways, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while raw := source.recv(65536):
                sink.sendall(raw)
            sink.shutdown(socket.SHUT_WR)


def test_a_host_that_is_swapped_behind_a_push(
    doors: Callable[..., GateDoor], stranger: SshServer, git_server: SshServer, tmp_path: Path
) -> None:
    """The push itself comes to the right one; what looks into it comes to another, and
    what is not known is not let through."""
    switch = Switch(1, git_server, stranger)
    policy = ALLOW_GIT.replace("incomplete = true\n", "")
    door = doors(server=git_server, upstream=("127.0.0.1", switch.port), policy=policy)
    before = attempts(stranger)
    route = route_of(door, tmp_path)
    name = route.repository()
    work = route.new_work(name)
    work.commit("file", "content\n")
    done = work.run("push", "origin", "main")
    assert "[remote rejected] main -> main" in done.stdout, done.stdout
    assert route.refs(name) == {}
    assert attempts(stranger) == before
    switch.sock.close()
