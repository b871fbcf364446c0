"""Who runs against whom: each in a process of its own, before one PostgreSQL."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol as Interface

from bench.figures import BenchFault, Check
from bench.process import Meter
from gateway.demo.postgres import SUPERUSER, Server, free_port

DATABASE = "bench"
START_SECONDS = 20.0
ROOT = Path(__file__).resolve().parent.parent
PEERS = ("haproxy", "pgbouncer", "proxyjump")
"""Programs of others: where one is not installed, the rest is still told."""


class Missing(Exception):
    """The contender isn't installed; says how to get it."""


@dataclass(frozen=True, slots=True)
class Door:
    """Where a client connects, and as whom. TLS is off everywhere."""

    port: int
    user: str
    password: str
    host: str = "127.0.0.1"

    @property
    def dsn(self) -> str:
        return (
            f"host={self.host} port={self.port} user={self.user} password={self.password} "
            f"dbname={DATABASE} sslmode=disable gssencmode=disable"
        )

    @property
    def environment(self) -> dict[str, str]:
        """What pgbench and psql read."""
        return os.environ | {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGDATABASE": DATABASE,
            "PGSSLMODE": "disable",
            "PGGSSENCMODE": "disable",
        }


class Contender(Interface):
    """One of those compared. ``meter`` is None where there is no process of
    its own."""

    name: str

    @property
    def door(self) -> Door: ...
    @property
    def meter(self) -> Meter | None: ...
    def start(self) -> None:
        """Raises Missing, BenchFault."""

    def stop(self) -> list[Check]:
        """End it; what is to be said about the work that it did."""


_given: set[int] = set()
_one_at_a_time = threading.Lock()


def fresh_port() -> int:
    """A free TCP port that no contender of this process was given before: between
    hearing of it and listening there, others look for one as well."""
    with _one_at_a_time:
        while (port := free_port()) in _given:
            pass
        _given.add(port)
        return port


class Direct:
    """Straight to PostgreSQL."""

    name = "direct"
    meter = None

    def __init__(self, server: Server) -> None:
        self.door = Door(server.port, SUPERUSER, server.password)

    def start(self) -> None:
        pass

    def stop(self) -> list[Check]:
        return []


class Process:
    """What the contenders with a process share."""

    name = ""
    door: Door

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.folder = Path()

    @property
    def meter(self) -> Meter | None:
        return Meter(self.process.pid) if self.process is not None else None

    def _launch(
        self, arguments: list[str | Path], ready: Callable[[str], bool], user: str | None = None
    ) -> None:
        """Start it and wait until ``ready`` likes what it printed."""
        log = self.folder / "output"
        with log.open("wb") as sink:
            self.process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                user=user,
                cwd=ROOT,
                start_new_session=True,  # Ctrl-C is for the bench, which ends it in order
            )
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            if ready(self.output()):
                return
            time.sleep(0.02)
        said = self.output()[-800:]
        self.stop()
        raise BenchFault(f"{self.name} did not start: {said}")

    def output(self) -> str:
        log = self.folder / "output"
        return log.read_text(errors="backslashreplace") if log.exists() else ""

    def stop(self) -> list[Check]:
        self._end()
        self._remove()
        return []

    def _remove(self) -> None:
        if self.folder != Path():  # it was never started: that would be where we are
            shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self) -> int | None:
        """Its exit code, None when it had to be killed."""
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return None


class BareRelay(Process):
    """``bench.bare_relay``."""

    name = "bare relay"

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server

    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bench-relay-"))
        server = self._server
        self._launch(
            [sys.executable, "-m", "bench.bare_relay", server.host, str(server.port)],
            lambda said: said.startswith("ready ") and said.endswith("\n"),
        )
        self.door = Door(int(self.output().split()[1]), SUPERUSER, server.password)


HAPROXY = """\
global
    maxconn {most}
    nbthread 1
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
listen postgres
    bind 127.0.0.1:{port}
    server one {host}:{upstream}
"""


class Haproxy(Process):
    """HAProxy as Debian packages it, TCP mode, one thread as the others have."""

    name = "haproxy"

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server

    def start(self) -> None:
        program = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            raise Missing("apt-get install haproxy")
        self.folder = Path(tempfile.mkdtemp(prefix="bench-haproxy-"))
        server, port = self._server, fresh_port()
        config = self.folder / "haproxy.cfg"
        _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
        config.write_text(
            HAPROXY.format(
                host=server.host,
                upstream=server.port,
                port=port,
                most=min(12000, (files - 100) // 2),  # it takes two for each, and insists
            )
        )
        self.door = Door(port, SUPERUSER, server.password)
        # It says nothing when it is ready (-db: it stays in the foreground).
        self._launch([program, "-db", "-f", config], lambda _: answers(port))


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


PGBOUNCER = """\
[databases]
* = host={host} port={upstream}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = session
max_client_conn = 12000
default_pool_size = 6000
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
"""


class Pgbouncer(Process):
    """pgbouncer as Debian packages it, in session mode."""

    name = "pgbouncer"

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server

    def start(self) -> None:
        program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            raise Missing("apt-get install pgbouncer")
        folder = self.folder = Path(tempfile.mkdtemp(prefix="bench-pgbouncer-"))
        server, port = self._server, fresh_port()
        (folder / "users").write_text(f'"{SUPERUSER}" "{server.password}"\n')
        (folder / "ini").write_text(
            PGBOUNCER.format(host=server.host, upstream=server.port, port=port, folder=folder)
        )
        user = None
        if os.geteuid() == 0:  # it refuses to run as root
            user = "postgres"
            for path in (folder, folder / "users", folder / "ini"):
                shutil.chown(path, user)
        self.door = Door(port, SUPERUSER, server.password)
        self._launch([program, folder / "ini"], lambda said: "process up" in said, user)
