"""The git half of the demo's stage: an OpenSSH server with one repository, what
the gateway's configuration says of it, and an agent's git client."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from gateway.demo.git_client import GitClient
from gateway.demo.postgres import NoServer, free_port
from gateway.demo.ssh_server import SshServer

REPOSITORY = "shop/site"
HOST_KEY = "git-host-key"

CONFIG = """
[[listener]]
address = "127.0.0.1:{port}"
protocol = "git-ssh"
target = "code"
host_key = "{host_key}"

[target.code]
protocol = "git-ssh"
upstream = "{upstream}"
host_keys = ["{pin}"]
key = "ref+file://deploy-key"
repositories = ["shop/*"]
"""


class GitScene:
    """``server`` runs from the start; ``client`` can connect once the gateway
    is up and ``certify`` was called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.server = SshServer()
        self.client = GitClient(
            folder / "agent", host="127.0.0.1", port=self.port, host_key="", user="agent"
        )

    def start(self) -> GitScene:
        """The server, the repository and its first commits. Raises NoServer."""
        self.server.start()
        try:
            self._prepare()
        except BaseException:
            self.stop()
            raise
        return self

    def _prepare(self) -> None:
        self.server.create(REPOSITORY)
        secret = self.folder / "deploy-key"
        secret.touch(mode=0o600)
        secret.write_bytes(self.server.deploy_key.read_bytes())
        host_key = self.folder / HOST_KEY
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "gateway", "-f", host_key],
            check=True,
            capture_output=True,
        )
        self.client.trust(" ".join(Path(f"{host_key}.pub").read_text().split()[:2]))
        self._first_commits()

    def stop(self) -> None:
        self.server.stop()

    def _first_commits(self) -> None:
        """Made straight on the server: somebody else's work from before."""
        work = self.folder / "first"
        git = self.client.git
        git("init", "-q", work)
        for number, name in enumerate(("index.html", "cart.html", "style.css"), 1):
            (work / name).write_text(f"{name}, line one\n" * number)
            git("add", name, cwd=work)
            git("commit", "-q", "-m", f"Add {name}", cwd=work)
        git("push", "-q", self.server.root / f"{REPOSITORY}.git", "main", cwd=work)

    @property
    def config(self) -> str:
        """To be added to ``gateway.toml``."""
        return CONFIG.format(
            port=self.port,
            host_key=HOST_KEY,
            upstream=self.server.url,
            pin=self.server.host_key,
        )

    @property
    def url(self) -> str:
        """Of the repository, through the gateway."""
        return self.client.url(f"{REPOSITORY}.git")

    def certify(self, environment: Mapping[str, str], token: str) -> str:
        """``gateway ssh-cert`` for the agent's key; the line as it is typed.
        Raises NoServer."""
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "gateway.cli",
                "ssh-cert",
                "--ttl",
                "8h",
                "--key",
                f"{self.client.key}.pub",
            ],
            capture_output=True,
            text=True,
            env=dict(environment) | {"WIREWARDEN_TOKEN": token},
            check=False,
        )
        if done.returncode:
            raise NoServer(f"no certificate: {done.stderr.strip()}")
        return f"gateway ssh-cert --key {self.client.key.name}.pub"

    def tip(self, ref: str) -> str:
        """What the server itself has; "" for nothing."""
        return self.server.git(REPOSITORY, "for-each-ref", "--format=%(objectname)", ref)
