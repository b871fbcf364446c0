"""Gateways that many of the threats share: they cost a second each to start."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from audit import audit
from git_kit import Attack, witness_script
from git_stack import ALLOW_GIT, NOT_SERVED, SERVED, GitStack, Route, verify
from mock_upstream import NO_PASSWORD, MockUpstream, Script
from ssh_door import GateDoor, gateway_door
from stack import Stack

from gateway.demo.postgres import NoServer, Server
from gateway.demo.ssh_server import SshServer

HERE = Path(__file__).parent

READERS = """
version = 1
default = "deny"

[[rule]]
id = "agents-read"
on = ["sql.select", "sql.show", "sql.explain"]
effects = ["read"]
verdict = "allow"

[[rule]]
id = "agents-begin-and-end"
on = "sql.transaction"
verdict = "allow"

[[rule]]
id = "no-unbounded-write"
on = ["sql.update", "sql.delete"]
where = { has_where = false }
verdict = "block"
message = "{verb} without WHERE on {tables}"
"""
"""Reads and transactions, nothing else."""

MASKED = """
version = 1
default = "deny"

[[rule]]
id = "everything"
on = "sql.*"
incomplete = true
verdict = "allow"

[[rule]]
id = "personal"
on = "sql.*"
verdict = "mask"
mask = [
    { columns = "*.email", with = "partial-email" },
    { columns = "*.ssn", with = "keep-last", args = { n = 4 } },
]
unresolved = "block"
message = "personal data is masked"
"""
"""Everything may run (as a superuser), and two columns are masked."""


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Stack]]:
    """Starts gateways that live as long as the tests. At the end each of
    their recordings must verify, and none may have met an internal error."""
    made: list[Stack] = []

    def start(server: Any, **more: Any) -> Stack:
        stack = Stack(tmp_path_factory.mktemp("threats"), server, **more)
        made.append(stack)
        return stack.start()

    yield start
    try:
        for stack in made:
            stack.ask_to_stop()
        for stack in made:
            audit(stack)
    finally:
        for stack in made:
            stack.stop()


@pytest.fixture(scope="session")
def anything(started: Callable[..., Stack], pg: Server) -> Stack:
    """A gateway that allows everything."""
    return started(pg)


@pytest.fixture(scope="session")
def readers(started: Callable[..., Stack], pg: Server) -> Stack:
    """A gateway that allows reads and transactions only."""
    return started(pg, policy=READERS)


@pytest.fixture(scope="session")
def masked(started: Callable[..., Stack], pg: Server) -> Stack:
    """A gateway that allows everything and masks e-mail and ssn. The table
    ``persons`` has them in no other column, as ``users.extra`` does."""
    with psycopg.connect(pg.dsn("shop"), autocommit=True) as direct:
        direct.execute("CREATE TABLE persons AS SELECT id, name, email, ssn FROM users")
    return started(pg, policy=MASKED)


class Staged:
    """A gateway before a mock: ``mock.script`` is what the next call does."""

    def __init__(self, stack: Stack, mock: MockUpstream) -> None:
        self.stack = stack
        self.mock = mock

    def play(self, script: Script | None, *, raw: bool = False) -> Stack:
        self.mock.script, self.mock.raw = script, raw
        return self.stack


@pytest.fixture(scope="session")
def staged(started: Callable[..., Stack]) -> Iterator[Staged]:
    """A gateway that allows everything, before a mock of a server."""
    mock = MockUpstream()
    yield Staged(started(mock, target=NO_PASSWORD), mock)
    mock.close()
    assert not mock.trouble, mock.trouble


@pytest.fixture(scope="session")
def attacks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Attack]]:
    """Starts gateways for git before one OpenSSH server that writes down what it
    is asked to run. At the end each of their recordings must verify."""
    if not SERVED:
        pytest.skip(NOT_SERVED)
    folder = tmp_path_factory.mktemp("git-threats")
    script, witness = witness_script(folder)
    try:
        server = SshServer(settings={"ForceCommand": str(script)}).start()
    except NoServer as error:
        pytest.skip(str(error))
    made: dict[str, Attack] = {}
    stacks: list[GitStack] = []

    def start(policy: str = ALLOW_GIT, **more: Any) -> Attack:
        known = repr((policy, sorted(more.items())))
        if known not in made:
            stack = GitStack(tmp_path_factory.mktemp("git"), server, policy=policy, **more)
            stacks.append(stack.start())
            route = Route(server, tmp_path_factory.mktemp("git-clients"), stack)
            made[known] = Attack(route, witness)
        return made[known]

    try:
        yield start
        for stack in stacks:
            stack.ask_to_stop()
        for stack in stacks:
            verify(stack)
    finally:
        for stack in stacks:
            stack.stop()
        server.stop()


@pytest.fixture
def attack(attacks: Callable[..., Attack]) -> Attack:
    """Before a gateway that allows everything."""
    return attacks()


@pytest.fixture(scope="session")
def doors(
    tmp_path_factory: pytest.TempPathFactory, git_server: SshServer
) -> Iterator[Callable[..., GateDoor]]:
    """Starts gateways for SSH. At the end each of their recordings must verify."""
    made: list[GateDoor] = []

    def start(**more: Any) -> GateDoor:
        server = more.pop("server", git_server)
        made.append(gateway_door(tmp_path_factory.mktemp("door"), server, **more))
        return made[-1]

    try:
        yield start
        for door in made:
            door.stack.ask_to_stop()
        for door in made:
            verify(door.stack)
    finally:
        for door in made:
            door.stack.stop()


@pytest.fixture(scope="session")
def _door(doors: Callable[..., GateDoor]) -> GateDoor:
    return doors()


@pytest.fixture
def door(_door: GateDoor) -> GateDoor:
    """The SSH door of a gateway that allows everything; nothing was heard yet."""
    _door.forget()
    return _door


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A module's tests share a gateway: one worker runs them all."""
    for item in items:
        if item.path.parent == HERE and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
