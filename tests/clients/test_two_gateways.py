"""Two gateways that share a store on PostgreSQL: one list, one search, approvals decided at
either, and what becomes of all that when a gateway or the database dies."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from stack import Stack

sys.path.insert(0, str(Path(__file__).parents[1] / "threats"))
sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))

from people import approvals, dba, decide, held, holds
from process import pid, soon

from gateway.demo.issuer import DemoIssuer
from gateway.demo.postgres import Server

PEOPLE = """
[issuer.people]
iss = "{iss}"
audience = "{audience}"
algorithms = ["ES256"]
jwks = "{jwks}"
kind = "person"
[issuer.demo.claims]
tags = {{ repo = "repository", env = "environment" }}
"""
MASKS = """
[[rule]]
id = "mail-is-masked"
on = "sql.select"
verdict = "mask"
mask = [{ columns = "*.email", with = "redact" }]
"""


class Wire:
    """A TCP port that leads to a database, until it is cut."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._open: list[socket.socket] = []
        self._whole = True
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self._whole:
                near.close()
                continue
            far = socket.create_connection(self._to)
            self._open += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                other.sendall(data)
        except OSError:
            pass
        for each in (one, other):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self) -> None:
        """Nobody gets through, and who was through is cut off."""
        self._whole = False
        for each in self._open:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._open.clear()

    def mend(self) -> None:
        self._whole = True

    def close(self) -> None:
        self.cut()
        self._listener.close()


@dataclass
class Fleet:
    one: Stack
    two: Stack
    wires: tuple[Wire, Wire]
    url: str

    def recorder(self, stack: Stack, *words: str) -> subprocess.CompletedProcess[str]:
        """A command where only gateway.toml says what is shared."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("WIREWARDEN_")}
        environment |= {
            "WIREWARDEN_STATE": str(stack.state),
            "WIREWARDEN_CONFIG": str(stack.config_file),
        }
        return subprocess.run(
            [sys.executable, "-m", "recorder.cli", *words],
            capture_output=True, text=True, timeout=60, check=False, env=environment,
        )  # fmt: skip

    def found(self, stack: Stack, *words: str) -> list[dict[str, Any]]:
        done = self.recorder(stack, *words)
        assert done.returncode == 0, done.stderr
        assert not done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def fleet(pg: Server, tmp_path: Path) -> Iterator[Fleet]:
    """Two gateways in front of one server; each has its own wire to their store."""
    name = f"store_{time.monotonic_ns()}"
    with psycopg.connect(pg.dsn("shop"), autocommit=True) as db:
        db.execute(f"create database {name}".encode())
        db.execute("delete from orders where id >= 900")
        db.execute("insert into orders values (901, 1, 1, 'open'), (902, 1, 1, 'open')")
    url = urlsplit(pg.dsn(name))
    wires = (Wire(pg.host, pg.port), Wire(pg.host, pg.port))
    people = DemoIssuer(tmp_path / "people", iss="https://people.demo.invalid")
    made = []
    for at, wire in enumerate(wires):
        place = urlunsplit(
            url._replace(netloc=f"{url.username}:{url.password}@127.0.0.1:{wire.port}")
        )
        extra = PEOPLE.format(iss=people.iss, audience=people.audience, jwks=people.jwks)
        folder = tmp_path / f"gateway{at + 1}"
        folder.mkdir()
        stack = Stack(folder, pg, policy=holds() + MASKS, extra=extra)
        stack.config_file.write_text(f'store = "{place}"\n' + stack.config_file.read_text())
        stack.people = people  # type: ignore[attr-defined]
        made.append(stack)
    try:
        yield Fleet(made[0].start(), made[1].start(), wires, urlunsplit(url))
    finally:
        for each in (*made, *wires):
            each.stop() if isinstance(each, Stack) else each.close()
        with psycopg.connect(pg.dsn("shop"), autocommit=True) as db:
            db.execute(f"drop database {name} with (force)".encode())


class Held:
    """A command that waits at a gateway, run by a thread of its own."""

    def __init__(self, stack: Stack, sql: str) -> None:
        self.stack = stack
        self.sql = sql
        self.outcome: Any = None
        self.ended = 0.0
        self.connection = stack.connect("shop")
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.outcome = self.connection.execute(self.sql.encode()).rowcount
        except psycopg.Error as error:
            self.outcome = error
        self.ended = time.monotonic()

    def end(self, seconds: float = 15.0) -> Any:
        self.thread.join(seconds)
        assert not self.thread.is_alive(), "it still waits"
        self.connection.close()
        return self.outcome


CHANGE = "update orders set status = 'paid' where id = {}"


def status(server: Server, order: int) -> str:
    with psycopg.connect(server.dsn("shop")) as db:
        row = db.execute("select status from orders where id = %s", [order]).fetchone()
        assert row is not None
        return str(row[0])


def test_held_at_one_and_approved_at_the_other(fleet: Fleet, pg: Server) -> None:
    approved(fleet.one, fleet.two)
    assert status(pg, 901) == "paid"
    for stack in (fleet.one, fleet.two):
        assert [each["state"] for each in approvals(stack, everything=True)] == ["consumed"]
        assert not (stack.state / "approvals.db").exists()
    # A file from before there was a shared store is left alone, and that is told.
    before = fleet.one.state / "approvals.db"
    before.touch(mode=0o600)
    done = fleet.one.gateway("approvals", "list", "--all")
    assert done.returncode == 0
    assert "AP-1" in done.stdout
    assert f"they stay in {before}" in done.stderr


def approved(here: Stack, there: Stack) -> None:
    waits = Held(here, CHANGE.format(901))
    asked = held(there)
    assert asked["text"] == waits.sql
    said = decide(there, "approve", asked["id"], dba(there), "-m", "ticket 7")
    decided = time.monotonic()
    assert said.returncode == 0, said.stderr
    assert waits.end() == 1
    assert waits.ended - decided < 1.0
    again = decide(here, "approve", asked["id"], dba(here, "erin"))
    assert again.returncode == 3
    assert "consumed already" in again.stderr


@pytest.mark.deep
def test_the_other_way_and_denied(fleet: Fleet, pg: Server) -> None:
    approved(fleet.two, fleet.one)
    denied = Held(fleet.one, CHANGE.format(902))
    asked = held(fleet.two)
    assert [each["id"] for each in approvals(fleet.one)] == [asked["id"]]
    assert denied.sql in fleet.two.gateway("approvals", "show", asked["id"]).stdout
    assert decide(fleet.two, "deny", asked["id"], dba(fleet.two), "-m", "no").returncode == 0
    assert "was denied by dana: no" in str(denied.end())
    assert status(pg, 902) == "open"
    states = [each["state"] for each in approvals(fleet.one, everything=True)]
    assert states == ["denied", "consumed"]


@pytest.mark.deep
def test_two_people_at_two_gateways_at_once(fleet: Fleet, pg: Server) -> None:
    """One says yes and one says no: one of them is first, and the other is told."""
    for _ in range(3):
        waits = Held(fleet.one, CHANGE.format(901))
        asked = held(fleet.two)
        said: dict[str, subprocess.CompletedProcess[str]] = {}

        def answer(verb: str, stack: Stack, id: str = asked["id"], said: Any = said) -> None:
            said[verb] = decide(stack, verb, id, dba(stack, verb))

        both = [
            threading.Thread(target=answer, args=each)
            for each in (("approve", fleet.one), ("deny", fleet.two))
        ]
        for each in both:
            each.start()
        for each in both:
            each.join()
        assert sorted(each.returncode for each in said.values()) == [0, 3]
        outcome = waits.end()
        if said["approve"].returncode == 0:
            assert outcome == 1
        else:
            assert "was denied by deny" in str(outcome)


def test_a_client_that_leaves_withdraws_for_all(fleet: Fleet) -> None:
    waits = Held(fleet.one, CHANGE.format(901))
    asked = held(fleet.two)
    waits.connection.cancel()
    assert isinstance(waits.end(), psycopg.Error)
    soon(lambda: approvals(fleet.two) == [], "withdrawn")
    said = decide(fleet.two, "approve", asked["id"], dba(fleet.two))
    assert said.returncode == 3
    assert "withdrawn already" in said.stderr


@pytest.mark.deep
def test_a_gateway_that_dies_takes_only_its_own_along(fleet: Fleet, pg: Server) -> None:
    lost = Held(fleet.one, CHANGE.format(901))
    first = held(fleet.two)
    lives = Held(fleet.two, CHANGE.format(902))
    soon(lambda: len(approvals(fleet.two)) == 2, "both are held")
    assert fleet.one.process is not None
    os.killpg(fleet.one.process.pid, signal.SIGKILL)
    assert isinstance(lost.end(), psycopg.Error)
    # The other looks every ten seconds, and gives it five to come back.
    soon(lambda: len(approvals(fleet.two)) == 1, "what the dead one asked for ends", 30)
    (left,) = approvals(fleet.two)
    every = {each["id"]: each for each in approvals(fleet.two, everything=True)}
    assert (every[first["id"]]["state"], every[first["id"]]["why"]) == (
        "denied",
        "gateway restarted",
    )
    assert decide(fleet.two, "approve", left["id"], dba(fleet.two)).returncode == 0
    assert lives.end() == 1
    assert status(pg, 901) == "open"
    fleet.one.stop()


@pytest.mark.deep
def test_without_the_database_nothing_new_is_held_and_all_else_goes_on(
    fleet: Fleet, pg: Server
) -> None:
    with fleet.one.connect("shop") as open_before:
        waits = Held(fleet.one, CHANGE.format(901))
        asked = held(fleet.two)
        began = time.monotonic()
        fleet.wires[0].cut()
        # What waits is refused: nobody could tell it of an answer.
        assert "approvals can't be asked for now" in str(waits.end())
        assert time.monotonic() - began < 8
        soon(lambda: "gateway: approvals:" in fleet.one.output(), "the alarm")
        assert open_before.execute("select count(*) from orders").fetchone() is not None
        with pytest.raises(psycopg.Error, match="approvals can't be asked for now"):
            open_before.execute(CHANGE.format(902).encode())
        for words in (("list",), ("show", asked["id"])):
            said = fleet.one.gateway("approvals", *words)
            assert said.returncode == 1
            assert "the approvals can't be read: the approvals' database" in said.stderr
        said = decide(fleet.one, "approve", asked["id"], dba(fleet.one))
        assert said.returncode == 1
        with fleet.one.connect("shop") as new:
            assert new.execute("select 1").fetchone() == (1,)
        # The other gateway has the database still.
        other = Held(fleet.two, CHANGE.format(902))
        soon(lambda: len(approvals(fleet.two)) >= 1, "held at the other")
        fleet.wires[0].mend()
        # Nobody waits for the first any more, and people are told once it can be said.
        soon(lambda: len(approvals(fleet.two)) == 1, "withdrawn late", 15)
        (left,) = approvals(fleet.two)
        assert left["id"] != asked["id"]
        soon(lambda: fleet.one.gateway("approvals", "list").returncode == 0, "it is back")
        assert decide(fleet.one, "approve", left["id"], dba(fleet.one)).returncode == 0
        assert other.end() == 1
        after = Held(fleet.one, CHANGE.format(902))
        again = held(fleet.two)
        assert decide(fleet.two, "approve", again["id"], dba(fleet.two)).returncode == 0
        assert after.end() == 1
    assert status(pg, 901) == "open"


@pytest.mark.deep
def test_a_blip_that_nobody_notices(fleet: Fleet) -> None:
    """The connection breaks and can be made again at once: what waits goes on waiting."""
    waits = Held(fleet.one, CHANGE.format(901))
    asked = held(fleet.two)
    with psycopg.connect(fleet.url, autocommit=True) as db:
        db.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname ="
            " current_database() and application_name = 'wirewarden'"
        )
    time.sleep(1.5)
    assert [each["id"] for each in approvals(fleet.two)] == [asked["id"]]
    assert decide(fleet.two, "approve", asked["id"], dba(fleet.two)).returncode == 0
    assert waits.end() == 1


@pytest.mark.deep
def test_a_gateway_starts_without_the_database(fleet: Fleet) -> None:
    fleet.two.stop()
    fleet.wires[1].cut()
    fleet.two.start()
    with fleet.two.connect("shop") as connection:
        assert connection.execute("select 1").fetchone() == (1,)
        with pytest.raises(psycopg.Error, match="approvals can't be asked for now"):
            connection.execute(CHANGE.format(901).encode())
    soon(lambda: "gateway: approvals:" in fleet.two.output(), "the alarm")
    fleet.wires[1].mend()
    time.sleep(1.1)  # so long it does not try again
    waits = Held(fleet.two, CHANGE.format(901))
    asked = held(fleet.one)
    assert decide(fleet.one, "approve", asked["id"], dba(fleet.one)).returncode == 0
    assert waits.end() == 1


def work(fleet: Fleet) -> tuple[dict[int, str], dict[str, Any]]:
    """Three sessions, two here and one there: the tokens of two, and what was held."""
    token = {
        stack.port: stack.token(f"agent-{stack.port}", repository=f"org/app-{stack.port}")
        for stack in (fleet.one, fleet.two)
    }
    for number, stack in enumerate((fleet.one, fleet.two), 1):
        with stack.connect("shop", token[stack.port]) as connection:
            connection.execute(f"select {number} as told_at_gateway_{number}".encode())
            with pytest.raises(psycopg.Error):
                connection.execute("truncate orders")
            if stack is fleet.two:
                assert connection.execute("select email from users").fetchone() != (
                    "ada@example.com",
                )
    waits = Held(fleet.one, CHANGE.format(901))
    asked = held(fleet.two)
    decide(fleet.two, "approve", asked["id"], dba(fleet.two), "-m", "fine")
    assert waits.end() == 1
    for stack in (fleet.one, fleet.two):
        soon(lambda s=stack: all(each["status"] != "open" for each in s.sessions()), "sealed")
        fleet.recorder(stack, "list")
    return token, asked


def test_one_list_and_one_search(fleet: Fleet) -> None:
    work(fleet)
    answers = []
    for stack in (fleet.one, fleet.two):
        rows = fleet.found(stack, "list", "--json")
        assert len(rows) == 3
        texts = [each["text"] for each in fleet.found(stack, "grep", "--json", "told_at_gateway")]
        assert texts == [f"select {n} as told_at_gateway_{n}" for n in (1, 2)]
        answers.append([(row["session"], row["principal"], row["status"]) for row in rows])
    assert answers[0] == answers[1]


def own_list(stack: Stack, *words: str) -> list[str]:
    """Sessions of that gateway alone: no configuration is named."""
    done = stack.recorder("list", "--json", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line)["session"] for line in done.stdout.splitlines()]


@pytest.mark.deep
def test_every_filter_at_either(fleet: Fleet, pg: Server) -> None:
    """In the shared index, in SQLite and without an index."""
    token, asked = work(fleet)
    filters: dict[tuple[str, ...], int] = {
        ("--principal", f"agent-{fleet.one.port}"): 1,
        ("--group", "developers"): 3,
        ("--run", "run-1"): 3,
        ("--tag", f"repo=org/app-{fleet.two.port}"): 1,
        ("--tag", "repo=other"): 0,
        ("--target", "db", "--protocol", "postgres", "--database", "shop"): 3,
        ("--status", "closed"): 3,
        ("--denied",): 2,
        ("--held",): 1,
        ("--masked",): 2,
        ("--approval", asked["id"]): 1,
        ("--approval", "dana"): 1,
        ("--approval", "consumed", "--rule", "changes", "--verdict", "hold"): 1,
        ("--rule", "mail-is-masked"): 2,
        ("--verdict", "block"): 2,
        ("--verdict", "mask"): 2,
        ("--since", "1h"): 3,
        ("--until", "2020-01-01"): 0,
        ("--text", "truncate ord*"): 2,
        ("--regex", "told_at_gateway_[2]"): 1,
        ("--regex", "truncate|email"): 2,
    }
    for stack in (fleet.one, fleet.two):
        own = {row["session"] for row in stack.sessions()}
        for words, count in filters.items():
            shared = [row["session"] for row in fleet.found(stack, "list", "--json", *words)]
            assert len(shared) == count, words
            local = [own_list(stack, *words, *more) for more in ((), ("--no-index",))]
            assert local[0] == local[1] == [each for each in shared if each in own], words
    # Nothing that is secret is in what they share.
    with psycopg.connect(fleet.url) as db:
        tables = db.execute(
            "select format('%I.%I', table_schema, table_name) from information_schema.tables"
            " where table_schema like 'wirewarden%'"
        ).fetchall()
        assert len(tables) >= 9
        for (table,) in tables:
            for (row,) in db.execute(f"select t::text from {table} t".encode()):
                for secret in (pg.password, *token.values()):
                    assert secret not in row
                    assert secret.encode().hex() not in row


@pytest.mark.deep
def test_a_hanging_writer_holds_nobody_up_for_long(fleet: Fleet) -> None:
    """A transaction that somebody left open ends by the server's own limit; until then who
    wants to write is refused in time, and no session of the gateway stands still for it."""
    assert pid(fleet.one)
    with psycopg.connect(fleet.url) as stuck, fleet.one.connect("shop") as connection:
        waits = Held(fleet.one, CHANGE.format(901))
        asked = held(fleet.two)
        stuck.execute("select pg_advisory_xact_lock(%s)", [0x57574150])
        began = time.monotonic()
        said = decide(fleet.two, "approve", asked["id"], dba(fleet.two))
        assert said.returncode == 1
        assert time.monotonic() - began < 12
        with pytest.raises(psycopg.Error, match="approvals can't be asked for now"):
            connection.execute(CHANGE.format(902).encode())
        stuck.rollback()
        assert decide(fleet.two, "approve", asked["id"], dba(fleet.two)).returncode == 0
        assert waits.end() == 1
