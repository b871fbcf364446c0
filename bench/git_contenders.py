"""Who runs against whom for git: straight to OpenSSH, through a jump host, and
through the gateway, before one OpenSSH server with one set of repositories."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol as Interface

from bench.contenders import Missing, fresh_port
from bench.figures import BenchFault, Check
from bench.process import Meter
from bench.wirewarden import Gateway, nothing_recorded
from gateway.demo.git_client import GitClient
from gateway.demo.issuer import DemoIssuer
from gateway.demo.postgres import NoServer
from gateway.demo.ssh_server import SshServer

JUMP = """\
Host jump
    HostName {host}
    Port {port}
    User {user}
    IdentityFile "{key}"
    ProxyJump none
Match !originalhost jump
    ProxyJump jump
"""


class GitContender(Interface):
    """One of those compared. ``client`` is there once it was started."""

    name: str
    client: GitClient

    @property
    def meter(self) -> Meter | None: ...
    def path(self, repository: str) -> str:
        """As the exec line has it: an absolute path."""

    def start(self) -> None:
        """Raises Missing, BenchFault."""

    def stop(self) -> list[Check]:
        """End it; what is to be said about the work that it did."""


def url(contender: GitContender, repository: str) -> str:
    """Of a repository, as git is told it."""
    return contender.client.url(contender.path(repository)[1:])


class Direct:
    """Straight to the server, with the server's own key."""

    name = "direct"
    client: GitClient

    def __init__(self, server: SshServer, folder: Path) -> None:
        self.server = server
        self.folder = folder

    @property
    def meter(self) -> Meter | None:
        return None

    def path(self, repository: str) -> str:
        return f"{self.server.root}/{repository}.git"

    def start(self) -> None:
        server = self.server
        self.client = GitClient(
            self.folder / "direct", host=server.host, port=server.port,
            host_key=server.host_key, user=server.user, key=server.deploy_key,
        )  # fmt: skip

    def stop(self) -> list[Check]:
        return []


class ProxyJump(Direct):
    """Through a second OpenSSH server that passes TCP on (``ssh -J``): the bytes
    are encrypted twice by the client, and the jump host sees ciphertext."""

    name = "proxyjump"

    @property
    def meter(self) -> Meter | None:
        return Meter(self._jump.pid, ended=True)

    def start(self) -> None:
        self._jump = SshServer(forwarding=True)
        try:
            self._jump.start()
        except NoServer as error:
            raise Missing(str(error)) from error
        jump, server = self._jump, self.server
        extra = JUMP.format(host=jump.host, port=jump.port, user=jump.user, key=jump.deploy_key)
        self.client = GitClient(
            self.folder / "proxyjump", host=server.host, port=server.port,
            host_key=server.host_key, user=server.user, key=server.deploy_key, extra=extra,
        )  # fmt: skip
        with (self.client.folder / "known_hosts").open("a") as file:
            file.write(f"[{jump.host}]:{jump.port} {jump.host_key}\n")

    def stop(self) -> list[Check]:
        self._jump.stop()
        return []


CONFIG = """\
version = 1
state = "state"
policy = "policy.toml"

[recording]
durability = "{durability}"
low_water = "64MiB"
critical = "16MiB"

[limits]
connections = 10000
per_address = 10000

[[listener]]
address = "127.0.0.1:{port}"
protocol = "git-ssh"
target = "repo"
host_key = "host-key"

[issuer.bench]
iss = "{iss}"
audience = "{audience}"
algorithms = ["ES256"]
jwks = "issuer/jwks.json"
kind = "agent"

[target.repo]
protocol = "git-ssh"
upstream = "{upstream}"
host_keys = ["{pin}"]
key = "ref+file://deploy-key"
repositories = ["bench/*"]
max_pack = "2GiB"
"""


class GitGateway(Gateway):
    """One worker, ``bench/git-policy.toml``, recording ``os`` or ``disk``; or
    ``unrecorded``, a gateway of the bench alone that writes nothing down."""

    client: GitClient

    def __init__(self, server: SshServer, durability: str) -> None:
        super().__init__()
        self.name = f"gateway {durability}"
        self._server = server
        self._durability = durability

    @property
    def meter(self) -> Meter | None:
        return Meter(self.process.pid, ended=True) if self.process is not None else None

    def path(self, repository: str) -> str:
        return f"/{repository}.git"

    def start(self) -> None:
        folder = self.folder = Path(tempfile.mkdtemp(prefix="bench-git-gateway-"))
        server, port = self._server, fresh_port()
        issuer = DemoIssuer(folder / "issuer")
        policy = Path(__file__).with_name("git-policy.toml").read_text()
        (folder / "policy.toml").write_text(policy)
        secret = folder / "deploy-key"
        secret.touch(mode=0o600)
        secret.write_bytes(server.deploy_key.read_bytes())
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "host-key"],
            check=True,
            capture_output=True,
        )
        config = folder / "gateway.toml"
        config.write_text(
            CONFIG.format(
                durability="disk" if self._durability == "disk" else "os",
                port=port,
                iss=issuer.iss,
                audience=issuer.audience,
                upstream=server.url,
                pin=server.host_key,
            )
        )
        self.serve("bench.unrecorded" if self._durability == "unrecorded" else "gateway.cli")
        self.client = GitClient(
            folder / "client", host="127.0.0.1", port=port, user="agent",
            host_key=" ".join((folder / "host-key.pub").read_text().split()[:2]),
        )  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "gateway.cli", "ssh-cert", "--ttl", "12h", "--key",
             f"{self.client.key}.pub", "-c", config],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"WIREWARDEN_TOKEN": issuer.token("agent", seconds=86400)},
        )  # fmt: skip
        if done.returncode:
            self.stop()
            raise BenchFault(f"no certificate: {done.stderr.strip()}")

    def _verified(self) -> Check:
        if self._durability != "unrecorded":
            return super()._verified()
        return nothing_recorded(self)


MAKERS: Mapping[str, Callable[[SshServer, Path], GitContender]] = {
    "direct": Direct,
    "proxyjump": ProxyJump,
    "gateway os": lambda server, _: GitGateway(server, "os"),
    "gateway disk": lambda server, _: GitGateway(server, "disk"),
    "gateway unrecorded": lambda server, _: GitGateway(server, "unrecorded"),
}
"""The contenders, in the order in which they take their turns."""
