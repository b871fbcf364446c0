"""What tests with real servers and clients share."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "clients")]

from audit import Tapped, audit  # noqa: E402
from git_stack import NOT_SERVED, SERVED, GitStack, Route, verify  # noqa: E402
from stack import Stack  # noqa: E402

from gateway.demo.certificate import write_certificate  # noqa: E402
from gateway.demo.postgres import NoServer, Server  # noqa: E402
from gateway.demo.ssh_server import SshServer  # noqa: E402

SHOP = """
CREATE TABLE users (
    id integer PRIMARY KEY, name text NOT NULL, email text, ssn varchar(11), born date,
    score numeric(8, 2), tags text[], extra jsonb, photo bytea, seen timestamptz
);
INSERT INTO users VALUES
    (1, 'Ada', 'ada@example.com', '219-09-9999', '1815-12-10', 12.5, '{a,b}',
     '{"mail": "ada@example.com"}', '\\x0102', '2024-01-01 00:00:00+00'),
    (2, 'Grace', 'grace@example.org', '078-05-1120', '1906-12-09', 99.25, '{c}',
     '{"mail": "grace@example.org"}', '\\x03', '2024-01-02 00:00:00+00'),
    (3, 'Nobody', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE orders (
    id integer PRIMARY KEY, user_id integer NOT NULL REFERENCES users,
    total numeric(10, 2) NOT NULL, status text NOT NULL
);
INSERT INTO orders SELECT n, 1 + n % 3, n + 0.5, 'open' FROM generate_series(1, 30) n;
CREATE VIEW contacts AS SELECT name, email AS reach_at FROM users;
CREATE VIEW shouted AS SELECT id, upper(email) AS loud FROM users;
"""


# A shell that runs the tests in the background has them ignore SIGINT, and so would every
# git and psql that a test wants to interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Name the tests that were skipped, and why."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.section("not run")
    for report in skipped:
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        terminalreporter.line(f"{report.nodeid}: {why}")


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    """The path of a program; the test is skipped, by name, where it is missing."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"{name} is not installed (make tools installs it)")
        return path

    return find


@pytest.fixture(scope="session")
def pg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A PostgreSQL with TLS, and the databases ``shop`` and (on demand,
    ``bench``) ``bench``."""
    certificate, key = write_certificate(tmp_path_factory.mktemp("server"))
    try:
        server = Server(certificate=certificate, key=key).start()
    except NoServer as error:
        pytest.skip(str(error))
    server.certificate = certificate  # type: ignore[attr-defined]
    try:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE shop")
        with psycopg.connect(server.dsn("shop"), autocommit=True) as connection:
            connection.execute(SHOP.encode())
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def bench(pg: Server, tool: Callable[[str], str]) -> str:
    """The name of a database that pgbench has filled."""
    with psycopg.connect(pg.dsn(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE bench")
    subprocess.run(
        [tool("pgbench"), "-i", "-q", "-s", "1", pg.dsn("bench")], check=True, capture_output=True
    )
    return "bench"


@pytest.fixture(scope="module")
def gateways(
    pg: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Stack]]:
    """Starts gateways. At the module's end all of their sessions must verify and
    say what the witnesses on their legs saw."""
    made: list[Stack] = []
    others: list[Stack] = []

    def start(kind: type[Stack] = Tapped, *, audited: bool = True, **more: Any) -> Stack:
        stack = kind(tmp_path_factory.mktemp("gateway"), more.pop("server", pg), **more)
        stack.start()
        (made if audited else others).append(stack)
        return stack

    yield start
    try:
        for stack in (*made, *others):
            stack.ask_to_stop()
        for stack in made:
            audit(stack)
    finally:
        for stack in (*made, *others):
            stack.stop()


@pytest.fixture(scope="module")
def open_gate(gateways: Callable[..., Stack]) -> Stack:
    """A gateway that allows everything, with witnesses."""
    return gateways()


@pytest.fixture
def direct(pg: Server) -> Iterator[Any]:
    """A connection to ``shop`` that no gateway is in."""
    with psycopg.connect(pg.dsn("shop"), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def git_server() -> Iterator[SshServer]:
    """An OpenSSH server with bare repositories."""
    try:
        server = SshServer().start()
    except NoServer as error:
        pytest.skip(str(error))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def git_gateways(
    git_server: SshServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., GitStack]]:
    """Starts gateways for git. At the module's end all of their sessions must
    verify (``incomplete=True``: or say that they were cut off)."""
    made: list[tuple[GitStack, bool]] = []

    def start(*, incomplete: bool = False, **more: Any) -> GitStack:
        if not SERVED:
            pytest.skip(NOT_SERVED)
        server = more.pop("server", git_server)
        stack = GitStack(tmp_path_factory.mktemp("git-gateway"), server, **more).start()
        made.append((stack, incomplete))
        return stack

    yield start
    try:
        for stack, _ in made:
            stack.ask_to_stop()
        for stack, incomplete in made:
            verify(stack, incomplete=incomplete)
    finally:
        for stack, _ in made:
            stack.stop()


# The direct route proves the tests themselves.
@pytest.fixture(scope="module", params=[pytest.param("direct", marks=pytest.mark.deep), "gateway"])
def route(
    request: pytest.FixtureRequest,
    git_server: SshServer,
    git_gateways: Callable[..., GitStack],
    tmp_path_factory: pytest.TempPathFactory,
) -> Route:
    """Both ways to the same repositories: a test fails on one, or it is right."""
    stack = git_gateways() if request.param == "gateway" else None
    return Route(git_server, tmp_path_factory.mktemp("git"), stack)
