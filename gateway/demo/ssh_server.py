"""A real OpenSSH server with bare git repositories, thrown away at the end.

For the demo, the tests and the bench. It listens on loopback only, on a free
port, with a host key of its own, lets in one key and nobody else, and never
touches the machine's own sshd or anybody's ``~/.ssh``.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from gateway.demo.postgres import NoServer, free_port

START_SECONDS = 10.0
PRIVSEP = Path("/run/sshd")

CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
PidFile {folder}/pid
AuthorizedKeysFile {folder}/authorized_keys
AuthenticationMethods publickey
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
AcceptEnv GIT_PROTOCOL
SetEnv GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL={folder}/gitconfig
MaxStartups 1000
MaxSessions 1000
LoginGraceTime 30
UseDNS no
PrintMotd no
PrintLastLog no
X11Forwarding no
AllowTcpForwarding {forwarding}
LogLevel VERBOSE
"""

GITCONFIG = """\
[init]
    defaultBranch = main
[receive]
    denyNonFastForwards = false
    denyDeletes = false
    advertisePushOptions = true
    advertiseAtomic = true
    fsckObjects = false
[uploadpack]
    allowFilter = true
    allowAnySHA1InWant = true
[gc]
    auto = 0
[core]
    fsync = none
"""


def find(program: str, package: str) -> str:
    """The path of ``program``, looked for in the sbin folders too. Raises
    NoServer naming the Debian ``package`` to install."""
    path = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin{os.pathsep}/sbin"
    found = shutil.which(program, path=path)
    if found is None:
        raise NoServer(f"no {program}: apt-get install {package}")
    return found


class SshServer:
    """A running sshd: ``host``, ``port``, ``user`` to log in as, ``root`` with
    the bare repositories, ``host_key`` (its public line) and ``deploy_key``
    (the private key that it lets in). A context manager, or ``start``/``stop``."""

    host = "127.0.0.1"

    def __init__(
        self,
        *,
        forwarding: bool = False,
        settings: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        self.port = 0
        self.host_key = ""
        self._forwarding = "yes" if forwarding else "no"
        self._settings = dict(settings or {})
        self._home = folder or Path()
        self._own = folder is None
        self._process: subprocess.Popen[bytes] | None = None

    # -- life -------------------------------------------------------------

    def start(self) -> SshServer:
        """Keys, configuration, sshd; well under a second. Raises NoServer."""
        sshd, keygen = find("sshd", "openssh-server"), find("ssh-keygen", "openssh-client")
        find("git", "git")
        if self._own:
            self._home = Path(tempfile.mkdtemp(prefix="wirewarden-ssh-"))
        try:
            self._initialise(keygen)
            self._launch(sshd)
        except BaseException:
            self.stop()
            raise
        return self

    def _initialise(self, keygen: str) -> None:
        home = self._home
        home.mkdir(parents=True, exist_ok=True)
        self.root.mkdir(exist_ok=True)
        for key in ("host_key", "deploy_key"):
            if not (home / key).exists():
                subprocess.run(
                    [keygen, "-q", "-t", "ed25519", "-N", "", "-C", key, "-f", home / key],
                    check=True,
                    capture_output=True,
                )
        self.host_key = " ".join((home / "host_key.pub").read_text().split()[:2])
        (home / "authorized_keys").write_bytes((home / "deploy_key.pub").read_bytes())
        (home / "gitconfig").write_text(GITCONFIG)
        if os.geteuid() == 0:
            PRIVSEP.mkdir(mode=0o755, exist_ok=True)

    def _launch(self, sshd: str) -> None:
        if not self.port:
            self.port = free_port()
        # sshd takes the first of two lines, so what was asked for comes first.
        asked = "".join(f"{name} {value}\n" for name, value in self._settings.items())
        (self._home / "sshd_config").write_text(
            asked + CONFIG.format(port=self.port, folder=self._home, forwarding=self._forwarding)
        )
        self._process = subprocess.Popen(
            # By its whole path: sshd runs itself anew for each connection.
            [sshd, "-D", "-f", self._home / "sshd_config", "-E", self._home / "log"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            if self._answers():
                return
            time.sleep(0.01)
        said = b""
        if self._process.poll() is not None and self._process.stderr is not None:
            said = self._process.stderr.read()
        raise NoServer(f"sshd did not start: {said.decode(errors='replace')}{self.log()[-800:]}")

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), 1) as sock:
                return sock.recv(4) == b"SSH-"
        except OSError:
            return False

    def stop(self) -> None:
        """End it and every session of it at once; its folder goes."""
        self.hang_up()
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stderr is not None:
                process.stderr.close()
        if self._own and self._home != Path():
            shutil.rmtree(self._home, ignore_errors=True)

    def log(self) -> str:
        """What sshd wrote so far."""
        log = self._home / "log"
        return log.read_text(errors="backslashreplace") if log.exists() else ""

    # -- sessions ---------------------------------------------------------

    @property
    def pid(self) -> int:
        """Of the listening sshd; 0 when it doesn't run."""
        return self._process.pid if self._process is not None else 0

    def sessions(self) -> list[int]:
        """The pids of the processes that serve connections now."""
        return _children(self.pid) if self.pid else []

    def hang_up(self) -> int:
        """Kill every session with all that it runs, as when the machine goes
        down under it; the server itself stays. Returns how many there were."""
        sessions = self.sessions()
        for pid in sessions:
            for each in (pid, *_descendants(pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
        return len(sessions)

    # -- repositories -----------------------------------------------------

    @property
    def root(self) -> Path:
        """The folder of bare repositories: ``root/org/name.git``."""
        return self._home / "repositories"

    @property
    def deploy_key(self) -> Path:
        return self._home / "deploy_key"

    @property
    def url(self) -> str:
        """Of ``root``, as git and the gateway's configuration spell it."""
        return f"ssh://{self.user}@{self.host}:{self.port}{self.root}"

    def create(self, name: str, *more: str, settings: Mapping[str, str] | None = None) -> Path:
        """A new bare repository ``org/name``; ``more`` goes to ``git init``."""
        path = self.root / f"{name}.git"
        self.git(None, "init", "-q", "--bare", *more, str(path))
        for key, value in (settings or {}).items():
            self.git(path, "config", key, value)
        return path

    def git(self, repository: Path | str | None, *arguments: str) -> str:
        """Run git on the server's side; what it printed, stripped. Raises
        CalledProcessError."""
        where: list[str] = []
        if repository is not None:
            path = self.root / f"{repository}.git" if isinstance(repository, str) else repository
            where = ["--git-dir", str(path)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | {
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(self._home / "gitconfig"),
        }
        return subprocess.run(
            ["git", *where, *arguments],
            check=True,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            env=environment,
            timeout=60,
        ).stdout.strip()

    def __enter__(self) -> SshServer:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, path.read_text().split())
    return found


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    waiting = _children(pid)
    while waiting:
        child = waiting.pop()
        found.append(child)
        waiting += _children(child)
    return found
