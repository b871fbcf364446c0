"""What scenarios run in: one PostgreSQL with its data, and the contenders."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Protocol as Interface

import psycopg

from bench.contenders import (
    DATABASE,
    BareRelay,
    Contender,
    Direct,
    Door,
    Haproxy,
    Pgbouncer,
)
from bench.figures import BenchFault, Check
from bench.process import Meter
from bench.settings import Settings
from bench.starting import started
from bench.wirewarden import Wirewarden
from gateway.demo.postgres import SUPERUSER, Server

MAKERS: Mapping[str, Callable[[Server], Contender]] = {
    "direct": Direct,
    "bare relay": BareRelay,
    "haproxy": Haproxy,
    "pgbouncer": Pgbouncer,
    "gateway os": lambda server: Wirewarden(server, "os"),
    "gateway disk": lambda server: Wirewarden(server, "disk"),
    "gateway no masks": lambda server: Wirewarden(server, "no masks"),
    "gateway unrecorded": lambda server: Wirewarden(server, "unrecorded"),
}
"""The contenders, in the order in which they take their turns."""

SERVER_SETTINGS = {"shared_buffers": "256MB", "autovacuum": "off"}
SPARE = 300
"""Server connections beside those that idle: clients of pgbench, and what leaves."""


class Metered(Interface):
    """A contender of any protocol."""

    @property
    def meter(self) -> Meter | None: ...


class Lab:
    """Starts what scenarios ask for when they ask for it."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self.settings = settings
        self.say = say
        self.server_meter: Meter | None = None
        self.running: Mapping[str, Metered] = {}
        """The contenders of the scenario that runs now."""
        self._stack = contextlib.ExitStack()
        self._made: set[str] = set()

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @cached_property
    def folder(self) -> Path:
        """For files; gone at the end."""
        made = tempfile.mkdtemp(prefix="bench-")
        self._stack.callback(shutil.rmtree, made, ignore_errors=True)
        return Path(made)

    @cached_property
    def server(self) -> Server:
        """PostgreSQL with SCRAM and without TLS, with an empty database."""
        self.say("starting PostgreSQL")
        most = max(self.settings.idle) + max(self.settings.clients) + self.settings.held + SPARE
        settings = SERVER_SETTINGS | {"max_connections": str(most)}
        server = self._stack.enter_context(Server(settings=settings))
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {DATABASE}".encode())
            found = connection.execute("SHOW data_directory").fetchone()
        assert found is not None
        pid = (Path(found[0]) / "postmaster.pid").read_text().split()[0]
        self.server_meter = Meter(int(pid), ended=True)
        return server

    @property
    def door(self) -> Door:
        """Straight to the server, for preparing."""
        return Door(self.server.port, SUPERUSER, self.server.password)

    def tool(self, name: str) -> str:
        """A PostgreSQL client program: the machine's, else the server's."""
        found = shutil.which(name) or self.server.bin / name
        if not Path(found).exists():
            raise BenchFault(f"there is no {name}: apt-get install postgresql-client {name}")
        return str(found)

    def once(self, what: str, make: Callable[[], None]) -> None:
        """Prepare data unless it is there."""
        if what not in self._made:
            self.say(f"preparing {what}")
            make()
            self._made.add(what)

    def execute(self, *statements: str) -> None:
        """Run statements on the server, not through anybody."""
        with psycopg.connect(self.door.dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def accounts(self) -> None:
        """The tables of pgbench."""

        def make() -> None:
            done = subprocess.run(
                [self.tool("pgbench"), "-i", "-q", "-I", "dtGvp", "-s", str(self.settings.scale)],
                env=self.door.environment,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise BenchFault(f"pgbench -i failed: {done.stderr[-400:]}")

        self.once("pgbench's tables", make)

    def contest(
        self, names: Sequence[str], checks: list[Check], skipped: dict[str, str]
    ) -> AbstractContextManager[dict[str, Contender]]:
        """``started``, for the contenders with these names."""
        return self.started([MAKERS[name](self.server) for name in names], checks, skipped)

    @contextlib.contextmanager
    def started(
        self, contenders: Sequence[Contender], checks: list[Check], skipped: dict[str, str]
    ) -> Iterator[dict[str, Contender]]:
        """Run them; afterwards ``checks`` has what is to be said about their
        work, ``skipped`` whom the machine hasn't."""
        with started(contenders, checks, skipped) as running:
            self.running = running
            try:
                yield running
            finally:
                self.running = {}
            self.say("verifying what was recorded")
