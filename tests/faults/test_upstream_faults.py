"""Upstreams that are gone, hang, or don't let the gateway in."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from mock_upstream import NO_PASSWORD, Call, MockUpstream
from process import pid, rss, soon
from stack import Stack
from wire import Wire, enter, fields, frame, query

from gateway.demo.postgres import Server, free_port

QUICK = """
[limits]
greeting = "1s"
dial = "1s"
"""


class Nowhere:
    """Where a server could be."""

    host, password = "127.0.0.1", "not-used"

    def __init__(self, port: int) -> None:
        self.port = port


@contextmanager
def full() -> Iterator[int]:
    """A port whose connections are never taken: the queue is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            try:
                filler.connect(("127.0.0.1", port))
            except BlockingIOError:
                pass
        time.sleep(0.1)
        yield port
        for filler in fillers:
            filler.close()


def refused(stack: Stack) -> dict[str, str]:
    with Wire(stack.port) as wire:
        answer = wire.login(stack.token())
        assert answer.status == "", answer
        rest = [*answer, *wire.rest()]
        errors = [fields(body) for kind, body in rest if kind == "E"]
        assert len(errors) == 1, rest
        return errors[0]


def test_nobody_listens(serve: Callable[..., Stack]) -> None:
    stack = serve(Nowhere(free_port()))
    error = refused(stack)
    assert (error["S"], error["C"][:2]) == ("FATAL", "08")
    assert "refused" in error["M"]


def test_nobody_takes_the_connection(serve: Callable[..., Stack]) -> None:
    with full() as port:
        stack = serve(Nowhere(port), extra=QUICK)
        began = time.monotonic()
        error = refused(stack)
        assert "did not answer within 1 s" in error["M"]
        assert time.monotonic() - began < 4


@pytest.mark.parametrize("stage", ["silent", "tls", "ask", "ok", "half"])
def test_an_upstream_that_hangs_in_the_login(
    serve: Callable[..., Stack], mock: MockUpstream, stage: str
) -> None:
    over = threading.Event()

    def script(call: Call) -> None:
        first = call.packet()
        if stage == "tls":
            assert len(first) == 8
            call.say(b"S")
        elif stage == "ask":
            call.say(frame("R", struct.pack(">I", 10) + b"SCRAM-SHA-256\0\0"))
            call.message()
        elif stage == "ok":
            call.say(frame("R", struct.pack(">I", 0)))
        elif stage == "half":
            call.say(frame("R", struct.pack(">I", 0)) + b"S\0\0")
        over.wait(15)

    mock.script, mock.raw = script, True
    tls = "require" if stage == "tls" else "disable"
    target = "" if stage in ("ask", "tls") else NO_PASSWORD
    stack = serve(mock, extra=QUICK, upstream_tls=tls, target=target)
    began = time.monotonic()
    error = refused(stack)
    assert error["M"].endswith("the upstream did not let us in in time"), error
    assert 1.5 < time.monotonic() - began < 6
    over.set()


def test_a_client_that_never_proves_itself_is_told(
    serve: Callable[..., Stack], mock: MockUpstream
) -> None:
    stack = serve(mock, extra=QUICK)
    with Wire(stack.port) as wire:
        answer = wire.rest()
        assert "did not prove itself in time" in answer.error["M"]
    # The client hears it before the session's end is on record.
    soon(lambda: stack.sessions()[0]["status"] == "terminated", "the session's end")


def test_why_the_credential_was_refused_reaches_the_operator_only(
    serve: Callable[..., Stack], pg: Server
) -> None:
    stack = serve(pg, password="wrong-on-purpose")
    with Wire(stack.port) as wire:
        answer = wire.login(stack.token())
        assert "credential was refused" in answer.error["M"]
        wire.rest()
        assert b"postgres" not in bytes(wire.seen)
    soon(lambda: "28P01" in stack.output(), "the alarm")
    assert 'password authentication failed for user "postgres"' in stack.output()
    events = stack.events(stack.sessions()[0]["session"])
    assert "28P01" in str([e for e in events if "aside" in str(e)])
    assert "wrong-on-purpose" not in stack.output() + str(events)


def test_a_secret_that_is_gone_at_runtime(serve: Callable[..., Stack], pg: Server) -> None:
    stack = serve(pg)
    secret = stack.folder / "upstream-password"
    with stack.connect() as connection:
        secret.rename(secret.with_name("elsewhere"))
        error = refused(stack)
        assert "credential of db is not to be had" in error["M"]
        assert "upstream-password" not in error["M"]
        assert "upstream-password" in stack.output()
        # Who is in stays in, and the next one gets in when it is back.
        assert connection.execute("select 1").fetchone() == (1,)
        secret.with_name("elsewhere").rename(secret)
        with stack.connect() as another:
            assert another.execute("select 2").fetchone() == (2,)


def test_an_upstream_that_dies_in_a_query(serve: Callable[..., Stack], pg: Server) -> None:
    stack = serve(pg)
    with stack.connect() as victim, psycopg.connect(pg.dsn(), autocommit=True) as admin:
        number = victim.execute("select pg_backend_pid()").fetchone()[0]
        thread = threading.Timer(
            0.3, lambda: admin.execute("select pg_terminate_backend(%s)", [number])
        )
        thread.start()
        with pytest.raises(psycopg.OperationalError) as caught:
            victim.execute("select pg_sleep(20)")
        thread.join()
        assert caught.value.sqlstate == "57P01"  # the server's own words


def test_an_upstream_that_resets_in_a_query(before_mock: Stack, mock: MockUpstream) -> None:
    def script(call: Call) -> None:
        call.message()
        linger = struct.pack("ii", 1, 0)
        call.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        call.sock.close()

    mock.script = script
    with enter(before_mock) as wire:
        answer = wire.send(query("select 1")).rest()
        assert answer.error["C"][:2] == "08", answer
        assert "upstream closed the connection" in answer.error["M"]


def test_an_upstream_that_never_stops_its_login(
    serve: Callable[..., Stack], mock: MockUpstream
) -> None:
    """Notices without end before the first ReadyForQuery: the deadline ends it."""

    def script(call: Call) -> None:
        call.packet()
        note = frame("N", b"SNOTICE\0VNOTICE\0C00000\0M" + b"x" * 2000 + b"\0\0")
        while True:
            call.say(note * 20)

    mock.script, mock.raw = script, True
    stack = serve(mock, extra=QUICK, target=NO_PASSWORD)
    before = rss(pid(stack))
    assert "in time" in refused(stack)["M"]
    assert rss(pid(stack)) - before < 60 << 20
