"""A whole gateway in front of a real PostgreSQL, as tests drive it.

``Stack`` writes a configuration and a policy into a folder, starts ``gateway
serve`` as a user would (its own process), and knows how to connect, how to run
the ``gateway`` and ``recorder`` commands, and where the state is.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import psycopg

from gateway.demo.certificate import write_certificate
from gateway.demo.issuer import DemoIssuer
from gateway.demo.postgres import Server, free_port

ALLOW_ALL = """
version = 1
default = "deny"


[[rule]]
id = "all"
on = "sql.*"
incomplete = true
verdict = "allow"
message = "everything"
"""

READY_SECONDS = 20.0


class Stack:
    """One gateway with one listener and one target, ``db``.

    ``tls`` is the listener's mode, ``upstream_tls`` the target's. ``extra``
    is TOML added to the configuration, ``target`` to the target's table.
    """

    def __init__(
        self,
        folder: Path,
        server: Server,
        *,
        policy: str = ALLOW_ALL,
        tls: str = "allow",
        upstream_tls: str = "disable",
        workers: int = 1,
        durability: str = "os",
        user: str = "postgres",
        password: str = "",
        extra: str = "",
        target: str = "",
        recording: str = "",
        port: int = 0,
    ) -> None:
        self.folder = folder
        self.server = server
        self.port = port or free_port()
        self.state = folder / "state"
        self.issuer = DemoIssuer(folder / "issuer")
        self.workers = workers
        self.process: subprocess.Popen[bytes] | None = None
        self.certificate, self.key = write_certificate(folder)
        secret = folder / "upstream-password"
        secret.touch(mode=0o600)
        secret.write_text(password or server.password)
        self.policy_file = folder / "policy.toml"
        self.policy_file.write_text(textwrap.dedent(policy))
        self.config_file = folder / "gateway.toml"
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

[[listener]]
address = "127.0.0.1:{self.port}"
protocol = "postgres"
target = "db"
tls = "{tls}"
certificate = "{self.certificate}"
key = "{self.key}"

[issuer.demo]
iss = "{self.issuer.iss}"
audience = "{self.issuer.audience}"
algorithms = ["ES256"]
jwks = "{self.issuer.jwks}"
kind = "agent"

[target.db]
protocol = "postgres"
upstream = "{server.host}:{server.port}"
user = "{user}"
password = "ref+file://upstream-password"
database = "postgres"
databases = ["*"]
tls = "{upstream_tls}"
{target}
{extra}
"""
        )

    # -- life -------------------------------------------------------------

    def start(self) -> Stack:
        self.log = self.folder / "gateway.log"
        already = self.output().count("gateway: ready")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway.cli", "serve", "-c", str(self.config_file)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            if self.output().count("gateway: ready") >= already + self.workers:
                return self
            time.sleep(0.05)
        self.stop()
        raise AssertionError(f"the gateway did not start:\n{self.output()}")

    def output(self) -> str:
        """What the gateway printed."""
        return self.log.read_text(errors="backslashreplace") if self.log.exists() else ""

    def stop(self, number: int = signal.SIGTERM) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def __enter__(self) -> Stack:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- clients ----------------------------------------------------------

    def token(self, subject: str = "agent-7", **claims: object) -> str:
        claims.setdefault("groups", ["developers"])
        claims.setdefault("run_id", "run-1")
        return self.issuer.token(subject, **claims)

    def dsn(self, database: str = "postgres", token: str = "", sslmode: str = "disable") -> str:
        return (
            f"host=127.0.0.1 port={self.port} dbname={database} user=agent "
            f"password={token or self.token()} sslmode={sslmode}"
        )

    def connect(self, database: str = "postgres", token: str = "", **more: Any) -> Any:
        """A psycopg connection through the gateway, autocommit unless said."""
        more.setdefault("autocommit", True)
        return psycopg.connect(self.dsn(database, token), **more)

    def environment(self, token: str = "") -> dict[str, str]:
        """What psql, pgbench and pg_dump read."""
        return os.environ | {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": "agent",
            "PGPASSWORD": token or self.token(),
            "PGDATABASE": "postgres",
            "PGSSLMODE": "disable",
            "PGCONNECT_TIMEOUT": "10",
        }

    def psql(
        self, *arguments: str, stdin: str | None = None, token: str = "", timeout: float = 30
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["psql", "-X", "-A", "-t", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment(token),
            timeout=timeout,
            check=False,
        )

    # -- commands ---------------------------------------------------------

    def gateway(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run ``gateway ARGUMENTS -c <config>``."""
        return subprocess.run(
            [sys.executable, "-m", "gateway.cli", *arguments, "-c", str(self.config_file)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **more,
        )

    def recorder(
        self, *arguments: str, text: bool = True, **more: Any
    ) -> subprocess.CompletedProcess[Any]:
        """Run ``recorder ARGUMENTS`` on this gateway's state."""
        return subprocess.run(
            [sys.executable, "-m", "recorder.cli", *arguments],
            capture_output=True,
            text=text,
            timeout=60,
            check=False,
            env=os.environ | {"WIREWARDEN_STATE": str(self.state)},
            **more,
        )

    def sessions(self) -> list[dict[str, Any]]:
        """What ``recorder list --json`` says."""
        done = self.recorder("list", "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def events(self, session: str) -> list[dict[str, Any]]:
        done = self.recorder("events", "--json", session)
        assert done.returncode in (0, 3), done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]
