"""A whole gateway in front of a real PostgreSQL, as tests drive it.

``Stack`` writes a configuration and a policy into a folder, starts ``gateway
serve`` as a user would (its own process), and knows how to connect, how to run
the ``gateway`` and ``recorder`` commands, and where the state is.
"""

from __future__ import annotations

import os
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import psycopg
from serving import Serving

from gateway.demo.certificate import write_certificate
from gateway.demo.postgres import Server

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


class Stack(Serving):
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
        super().__init__(folder, port=port, workers=workers)
        self.server = server
        self.certificate, self.key = write_certificate(folder)
        secret = folder / "upstream-password"
        secret.touch(mode=0o600)
        secret.write_text(password or server.password)
        self.policy_file.write_text(textwrap.dedent(policy))
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

    # -- clients ----------------------------------------------------------

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
