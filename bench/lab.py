"""What scenarios run in: one PostgreSQL with its data, and the contenders."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psycopg

from bench.contenders import (
    DATABASE,
    BareRelay,
    Contender,
    Direct,
    Door,
    Missing,
    Pgbouncer,
)
from bench.figures import BenchFault, Check
from bench.wirewarden import Wirewarden
from gateway.demo.postgres import SUPERUSER, Server

MAKERS: Mapping[str, Callable[[Server], Contender]] = {
    "direct": Direct,
    "bare relay": BareRelay,
    "pgbouncer": Pgbouncer,
    "gateway os": lambda server: Wirewarden(server, "os"),
    "gateway disk": lambda server: Wirewarden(server, "disk"),
}
"""The contenders, in the order in which they take their turns."""

SERVER_SETTINGS = {"max_connections": "1300", "shared_buffers": "256MB", "autovacuum": "off"}


@dataclass(frozen=True, slots=True)
class Settings:
    """``seconds`` per measurement, ``size`` in MB of a COPY, ``rows`` of a
    result, ``sessions`` that idle, ``clients`` of pgbench, ``scale`` of its data,
    ``git_size`` in MB of a repository, ``clones`` at once."""

    rounds: int = 3
    seconds: int = 1
    size: int = 500
    rows: int = 200_000
    sessions: int = 1000
    clients: tuple[int, ...] = (1, 8, 32)
    scale: int = 10
    git_size: int = 100
    clones: int = 100
    smoke: bool = False

    @classmethod
    def of_smoke(cls) -> Settings:
        """The least of everything: for correctness, not for time."""
        return cls(
            rounds=1,
            seconds=1,
            size=2,
            rows=2000,
            sessions=10,
            clients=(2,),
            scale=1,
            git_size=2,
            clones=6,
            smoke=True,
        )


class Lab:
    """Starts what scenarios ask for when they ask for it."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self.settings = settings
        self.say = say
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
        server = self._stack.enter_context(Server(settings=SERVER_SETTINGS))
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {DATABASE}".encode())
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

    @contextlib.contextmanager
    def contest(
        self, names: Sequence[str], checks: list[Check], skipped: dict[str, str]
    ) -> Iterator[dict[str, Contender]]:
        """Run the contenders ``names``; afterwards ``checks`` has what is to
        be said about their work, ``skipped`` whom the machine hasn't."""
        running: dict[str, Contender] = {}
        with contextlib.ExitStack() as stack:
            for name in names:
                contender = MAKERS[name](self.server)
                try:
                    contender.start()
                except Missing as missing:
                    skipped[name] = str(missing)
                    continue
                stack.callback(lambda ended: checks.extend(ended.stop()), contender)
                running[name] = contender
            yield running
            self.say("verifying what was recorded")
