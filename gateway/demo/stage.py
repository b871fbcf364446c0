"""What the demo plays on: a PostgreSQL, an OpenSSH server with a repository where
there is one to start, a configuration, a running gateway."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import protocols
from gateway.demo.certificate import write_certificate
from gateway.demo.git_scene import GitScene
from gateway.demo.issuer import DemoIssuer
from gateway.demo.postgres import NoServer, Server, free_port

READY_SECONDS = 20.0
PEOPLE = "https://people.demo.invalid"

CONFIG = """\
# Written by `gateway demo`; `gateway init` writes a commented one.
version = 1
state = "state"
policy = "policy.toml"

[recording]
low_water = "64MiB"
critical = "16MiB"

[[listener]]
address = "127.0.0.1:{port}"
protocol = "postgres"
target = "shop"
tls = "allow"
certificate = "localhost.crt"
key = "localhost.key"

[issuer.demo]
iss = "{iss}"
audience = "{audience}"
algorithms = ["ES256"]
jwks = "issuer/jwks.json"
kind = "agent"

[issuer.people]
iss = "{people}"
audience = "{audience}"
algorithms = ["ES256"]
jwks = "people/jwks.json"
kind = "person"

[target.shop]
protocol = "postgres"
upstream = "{host}:{upstream}"
user = "postgres"
password = "ref+file://upstream-password"
database = "shop"
tls = "disable"
"""


@dataclass(slots=True)
class Stage:
    """A running demo. ``environment`` is for subprocesses. ``git`` is None where
    ``no_git`` says why."""

    folder: Path
    server: Server
    issuer: DemoIssuer
    people: DemoIssuer
    port: int
    gateway: subprocess.Popen[bytes]
    environment: dict[str, str]
    git: GitScene | None
    no_git: str

    def tool(self, name: str) -> str:
        """A PostgreSQL client program: the machine's, else that of the server
        that the demo runs."""
        found = shutil.which(name) or self.server.bin / name
        if not Path(found).exists():
            raise NoServer(f"there is no {name}: apt-get install postgresql-client")
        return str(found)


@contextlib.contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Set everything up in ``folder`` (its old content goes), run, take down."""
    if (folder / "gateway.toml").exists() or not folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    with Server() as server, contextlib.ExitStack() as stack:
        scene, no_git = _scene(folder)
        if scene is not None:
            stack.callback(scene.stop)
        issuer = DemoIssuer(folder / "issuer")
        people = DemoIssuer(folder / "people", iss=PEOPLE)
        port = free_port()
        _write(folder, server, issuer, port, scene)
        _fill(server)
        environment = os.environ | {
            "WIREWARDEN_CONFIG": str(folder / "gateway.toml"),
            "WIREWARDEN_STATE": str(folder / "state"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        gateway = _start(folder, environment)
        try:
            yield Stage(folder, server, issuer, people, port, gateway, environment, scene, no_git)
        finally:
            if gateway.poll() is None:
                gateway.send_signal(signal.SIGTERM)
                try:
                    gateway.wait(15)
                except subprocess.TimeoutExpired:
                    gateway.kill()
                    gateway.wait()


def _scene(folder: Path) -> tuple[GitScene | None, str]:
    """The git half, or why there is none: the tour goes on without it."""
    if "git-ssh" not in protocols.NAMES:
        return None, "this gateway does not serve git-ssh"
    try:
        return GitScene(folder).start(), ""
    except NoServer as error:
        return None, str(error)


def _write(
    folder: Path, server: Server, issuer: DemoIssuer, port: int, scene: GitScene | None
) -> None:
    write_certificate(folder)
    secret = folder / "upstream-password"
    secret.touch(mode=0o600)
    secret.write_text(server.password)
    rules = _resource("policy.toml")
    if scene is not None:
        rules += _resource("git-rules.toml")
    (folder / "policy.toml").write_text(rules)
    (folder / "gateway.toml").write_text(
        CONFIG.format(
            port=port,
            iss=issuer.iss,
            people=PEOPLE,
            audience=issuer.audience,
            host=server.host,
            upstream=server.port,
        )
        + (scene.config if scene is not None else "")
    )


def _resource(name: str) -> str:
    return resources.files("gateway.demo").joinpath(name).read_text(encoding="utf-8")


def _fill(server: Server) -> None:
    import psycopg

    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE shop")
    with psycopg.connect(server.dsn("shop"), autocommit=True) as connection:
        connection.execute(_resource("shop.sql").encode())


def _start(folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    log = folder / "gateway.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "serve"],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env=environment,
            start_new_session=True,
        )
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and process.poll() is None:
        if "gateway: ready" in log.read_text(errors="backslashreplace"):
            return process
        time.sleep(0.05)
    process.kill()
    process.wait()
    raise NoServer(f"the gateway did not start: {log.read_text(errors='backslashreplace')}")
