"""A whole gateway in front of a real OpenSSH server, as tests drive it, and the
same server without a gateway: two routes to the same repositories.

A test that is written for a ``Route`` runs on both: what fails on the direct one
is wrong in the test, what fails on the other only is wrong in the gateway.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serving import Serving

import protocols
from gateway.demo.git_client import GitClient
from gateway.demo.issuer import DemoIssuer
from gateway.demo.ssh_server import SshServer

ALLOW_GIT = """
version = 1
default = "deny"

[[rule]]
id = "all"
on = "git.*"
incomplete = true
verdict = "allow"
message = "everything"
"""

PEOPLE = "https://people.demo.invalid"
_NUMBERS = itertools.count(1)
SERVED = "git-ssh" in protocols.NAMES
NOT_SERVED = "the gateway does not serve git-ssh"


class GitStack(Serving):
    """One gateway with one listener and one target, ``repo``.

    ``extra`` is TOML added to the configuration, ``target`` to the target's
    table. ``server`` is where it goes; ``upstream`` names another address of it
    (a witness in between), ``host_keys`` other pins.
    """

    def __init__(
        self,
        folder: Path,
        server: SshServer,
        *,
        policy: str = ALLOW_GIT,
        workers: int = 1,
        durability: str = "os",
        extra: str = "",
        target: str = "",
        listener: str = "",
        limits: str = "",
        recording: str = "",
        per_address: int = 2000,
        upstream: tuple[str, int] | None = None,
        host_keys: tuple[str, ...] | None = None,
        port: int = 0,
        more: tuple[str, ...] = (),
    ) -> None:
        super().__init__(folder, port=port, workers=workers, more=more)
        self.server = server
        self.people = DemoIssuer(folder / "people", iss=PEOPLE)
        self.policy_file.write_text(textwrap.dedent(policy))
        secret = folder / "deploy-key"
        secret.touch(mode=0o600)
        secret.write_bytes(server.deploy_key.read_bytes())
        host, at = upstream or (server.host, server.port)
        pins = json.dumps(list((server.host_key,) if host_keys is None else host_keys))
        self._clients = itertools.count(1)
        self.config_file.write_text(
            f"""\
version = 1
state = "state"
policy = "policy.toml"
workers = {workers}

[recording]
durability = "{durability}"
low_water = "1MiB"
critical = "512KiB"
{recording}

[limits]
connections = 2000
per_address = {per_address}
{limits}

[[listener]]
address = "127.0.0.1:{self.port}"
protocol = "git-ssh"
target = "repo"
{listener}

[issuer.demo]
iss = "{self.issuer.iss}"
audience = "{self.issuer.audience}"
algorithms = ["ES256"]
jwks = "{self.issuer.jwks}"
kind = "agent"

[issuer.people]
iss = "{self.people.iss}"
audience = "{self.people.audience}"
algorithms = ["ES256"]
jwks = "{self.people.jwks}"
kind = "person"

[target.repo]
protocol = "git-ssh"
upstream = "ssh://{server.user}@{host}:{at}{server.root}"
host_keys = {pins}
key = "ref+file://deploy-key"
repositories = ["org/*"]
{target}
{extra}
"""
        )

    # -- clients ----------------------------------------------------------

    @property
    def host_key(self) -> str:
        """The public line of the key that this gateway made and shows."""
        done = subprocess.run(
            ["ssh-keygen", "-y", "-f", self.state / "ssh_host_ed25519_key"],
            check=True,
            capture_output=True,
            text=True,
        )
        return " ".join(done.stdout.split()[:2])

    def ssh_cert(self, key: Path, token: str = "") -> Path:
        """A certificate for the key beside it, as ``gateway ssh-cert`` gives it."""
        done = self.gateway(
            "ssh-cert", "--key", f"{key}.pub", "--ttl", "2h",
            env=os.environ | {"WIREWARDEN_TOKEN": token or self.token()},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return Path(f"{key}-cert.pub")

    def ticket(self, token: str = "") -> str:
        """A password for the prompt."""
        done = self.gateway("ticket", env=os.environ | {"WIREWARDEN_TOKEN": token or self.token()})
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def client(
        self,
        folder: Path | None = None,
        *,
        token: str = "",
        certified: bool = True,
        extra: str = "",
    ) -> GitClient:
        """A client with a key of its own and a certificate for ``token``."""
        client = GitClient(
            folder or self.folder / f"client-{next(self._clients)}",
            host="127.0.0.1",
            port=self.port,
            host_key=self.host_key,
            extra=extra,
        )
        if certified:
            self.ssh_cert(client.key, token)
        return client

    # -- approvals --------------------------------------------------------

    def lead(self, subject: str = "dana", **claims: object) -> str:
        """A token of a person who may approve."""
        return self.people.token(subject, **{"groups": ["leads"], **claims})

    def decide(
        self, verb: str, approval: str, *more: str, token: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """``gateway approvals approve|deny``, as a lead unless said."""
        return self.gateway(
            "approvals", verb, approval, *more,
            env=os.environ | {"WIREWARDEN_TOKEN": token or self.lead()},
        )  # fmt: skip


def verify(stack: Serving, *, incomplete: bool = False) -> int:
    """Stop ``stack``; every session must verify, and nothing may have gone
    wrong inside. Returns the number of sessions."""
    stack.stop()
    done = stack.recorder("verify", "--all", "--json")
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    good = {"OK-UNANCHORED", "INCOMPLETE"} if incomplete else {"OK-UNANCHORED"}
    bad = [v for v in verdicts if v["status"] not in good]
    assert not bad, bad
    assert incomplete or done.returncode == 0, done.stderr
    assert "Traceback" not in stack.output(), stack.output()[-3000:]
    assert "internal error" not in stack.output(), stack.output()[-3000:]
    return len(verdicts)


class Route:
    """A way to ``server``'s repositories: straight, or through ``stack``."""

    def __init__(self, server: SshServer, folder: Path, stack: GitStack | None = None) -> None:
        self.server = server
        self.stack = stack
        self.folder = folder
        self.name = "gateway" if stack else "direct"
        self._client: GitClient | None = None

    def repository(self, *more: str, prefix: str = "org/r", **settings: str) -> str:
        """A new bare repository's name; ``more`` goes to ``git init``."""
        name = f"{prefix}{self.name}{next(_NUMBERS)}"
        self.server.create(
            name, *more, settings={k.replace("_", "."): v for k, v in settings.items()}
        )
        return name

    @property
    def client(self) -> GitClient:
        """The client that most tests share."""
        if self._client is None:
            self._client = self.new_client()
        return self._client

    def new_client(self, *, extra: str = "") -> GitClient:
        folder = self.folder / f"client-{next(_NUMBERS)}"
        if self.stack is not None:
            return self.stack.client(folder, extra=extra)
        server = self.server
        return GitClient(
            folder, host=server.host, port=server.port, host_key=server.host_key,
            user=server.user, key=server.deploy_key, extra=extra,
        )  # fmt: skip

    def url(self, repository: str) -> str:
        client = self.client
        if self.stack is not None:
            return client.url(f"{repository}.git")
        return client.url(f"{str(self.server.root)[1:]}/{repository}.git")

    def path(self, repository: str) -> str:
        """The repository as the exec line has it."""
        if self.stack is not None:
            return f"/{repository}.git"
        return f"{self.server.root}/{repository}.git"

    def work(self, repository: str, *more: str, client: GitClient | None = None) -> Work:
        """A fresh clone."""
        client = client or self.client
        folder = client.folder / f"work-{next(_NUMBERS)}"
        client.git("clone", "-q", *more, self.url(repository), folder)
        return Work(client, folder)

    def new_work(self, repository: str, *more: str, client: GitClient | None = None) -> Work:
        """A repository of the client's that never talked to the server;
        ``more`` goes to ``git init``."""
        client = client or self.client
        folder = client.folder / f"work-{next(_NUMBERS)}"
        client.git("init", "-q", *more, folder)
        work = Work(client, folder)
        work.git("remote", "add", "origin", self.url(repository))
        return work

    def seeded(self, commits: int = 3) -> tuple[str, Work]:
        """A repository with ``commits`` on main, and the work tree that made
        them."""
        name = self.repository()
        work = self.new_work(name)
        for number in range(commits):
            work.commit(f"file-{number}", f"content {number}\n" * 20)
        work.git("push", "-q", "origin", "main")
        return name, work

    # -- the server's side ------------------------------------------------

    def refs(self, repository: str) -> dict[str, str]:
        """What the server has now, ref by ref."""
        said = self.server.git(repository, "for-each-ref", "--format=%(refname) %(objectname)")
        return dict(line.split(" ") for line in said.splitlines())

    def sound(self, repository: str) -> None:
        """The server's repository has all objects, and each is right."""
        self.server.git(repository, "fsck", "--full", "--strict", "--no-dangling")

    def rested(self, seconds: float = 10.0) -> None:
        """Wait until the server serves no connection any more."""
        end = time.monotonic() + seconds
        while self.server.sessions():
            assert time.monotonic() < end, "connections to the server stay open"
            time.sleep(0.05)


class Work:
    """A repository on the client's side."""

    def __init__(self, client: GitClient, folder: Path) -> None:
        self.client = client
        self.folder = folder

    def git(self, *arguments: str | Path, **more: Any) -> str:
        return self.client.git(*arguments, cwd=self.folder, **more)

    def run(self, *arguments: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
        return self.client.run(*arguments, cwd=self.folder, **more)

    def start(self, *arguments: str | Path, **more: Any) -> subprocess.Popen[str]:
        return self.client.start(*arguments, cwd=self.folder, **more)

    def commit(self, name: str, content: str | bytes, message: str = "") -> str:
        """Write a file and commit it; the commit's id."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.git("add", name)
        self.git("commit", "-q", "-m", message or f"Change {name}")
        return self.id()

    def id(self, revision: str = "HEAD") -> str:
        return self.git("rev-parse", "--verify", revision)


@contextlib.contextmanager
def ending(process: subprocess.Popen[Any]) -> Iterator[subprocess.Popen[Any]]:
    """Nothing of ``process`` (a group of its own) outlives the block."""
    try:
        yield process
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.communicate()
