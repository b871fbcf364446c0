"""A git client with nothing of the machine's own: key, known hosts, ssh and git
configuration live in its folder. For the demo, the tests and the bench."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from gateway.demo.ssh_server import find

SSH_CONFIG = """\
Host *
    HostName {host}
    Port {port}
    User {user}
    IdentityFile "{key}"
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile "{folder}/known_hosts"
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    UpdateHostKeys no
    CheckHostIP no
    BatchMode yes
    ControlMaster no
    ControlPath none
    ConnectTimeout 10
    LogLevel ERROR
"""

GIT_CONFIG = """\
[user]
    name = Agent Seven
    email = agent-7@example.com
[init]
    defaultBranch = main
[advice]
    detachedHead = false
[gc]
    auto = 0
[maintenance]
    auto = false
[core]
    fsync = none
[protocol "file"]
    allow = always
"""


class GitFailed(Exception):
    """Git ended with another code than 0; ``output`` is what it printed."""

    def __init__(self, line: str, code: int, output: str) -> None:
        super().__init__(f"{line} ended with {code}: {output.strip()}")
        self.code = code
        self.output = output


class GitClient:
    """Talks to ``host:port``, whose host key is ``host_key`` (a public line).

    ``key`` is its private key; without one it makes its own. A certificate
    beside it, ``<key>-cert.pub``, is used as OpenSSH does. ``extra`` goes into
    the ssh configuration.
    """

    def __init__(
        self,
        folder: Path,
        *,
        host: str,
        port: int,
        host_key: str,
        user: str = "git",
        key: Path | None = None,
        extra: str = "",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.host, self.port, self.user = host, port, user
        if key is None:
            key = folder / "id_ed25519"
            if not key.exists():
                keygen = find("ssh-keygen", "openssh-client")
                subprocess.run(
                    [keygen, "-q", "-t", "ed25519", "-N", "", "-C", "client", "-f", key],
                    check=True,
                    capture_output=True,
                )
        self.key = key
        self.ssh_config = folder / "ssh_config"
        self.ssh_config.write_text(
            extra + SSH_CONFIG.format(host=host, port=port, user=user, key=key, folder=folder)
        )
        self.trust(host_key)
        self.git_config = folder / "gitconfig"
        self.git_config.write_text(GIT_CONFIG)

    def trust(self, host_key: str) -> None:
        """The only key that the host may show from now on; "" for none."""
        self.host_key = host_key
        (self.folder / "known_hosts").write_text(
            f"[{self.host}]:{self.port} {host_key}\n" if host_key else ""
        )

    @property
    def public_key(self) -> str:
        """The public line of its key."""
        return " ".join(Path(f"{self.key}.pub").read_text().split()[:2])

    @property
    def ssh_command(self) -> str:
        """For GIT_SSH_COMMAND."""
        return f"ssh -F {shlex.quote(str(self.ssh_config))}"

    @property
    def environment(self) -> dict[str, str]:
        """What git and ssh are run with."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "SSH_"))}
        return kept | {
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(self.git_config),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSH_COMMAND": self.ssh_command,
            "LC_ALL": "C",
            "HOME": str(self.folder),
        }

    def url(self, path: str) -> str:
        """``path`` without a leading slash, as clients of a gateway name it."""
        return f"ssh://{self.user}@{self.host}:{self.port}/{path}"

    def start(
        self,
        *arguments: str | Path,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Git in a process group of its own, its output and errors in one pipe."""
        return subprocess.Popen(
            ["git", *map(str, arguments)],
            cwd=cwd or self.folder,
            env=self.environment | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="surrogateescape",
            start_new_session=True,
        )

    def run(
        self,
        *arguments: str | Path,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run git; nothing is checked. ``stdout`` has its errors too."""
        process = self.start(*arguments, cwd=cwd, environment=environment)
        try:
            out, _ = process.communicate(timeout=timeout)
        except BaseException:
            os.killpg(process.pid, 9)
            process.communicate()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, "")

    def git(
        self,
        *arguments: str | Path,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> str:
        """What git printed, stripped. Raises GitFailed."""
        done = self.run(*arguments, cwd=cwd, environment=environment, timeout=timeout)
        if done.returncode:
            line = shlex.join(["git", *map(str, arguments)])
            raise GitFailed(line, done.returncode, done.stdout)
        return done.stdout.strip()
