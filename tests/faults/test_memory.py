"""Memory stays flat, however much passes through."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg
from mock_upstream import NO_PASSWORD, READY, Call, MockUpstream, columns, complete, data
from process import pid, watched
from stack import Stack
from wire import enter, query

from gateway.demo.postgres import Server

MB = 1 << 20
MOST = 40 * MB


def test_a_300_megabyte_result_to_a_slow_reader(
    serve: Callable[..., Stack], mock: MockUpstream
) -> None:
    rows = data(b"x" * 8181) * 128  # a megabyte

    def script(call: Call) -> None:
        while (message := call.message()) is not None and message[0] != "X":
            call.say(columns("n"))
            for _ in range(300):
                call.say(rows)
            call.say(complete("SELECT 38400") + READY)

    mock.script = script
    stack = serve(mock, target=NO_PASSWORD)
    wire = enter(stack)
    with watched(pid(stack)) as peak:
        wire.send(query("select 1"))
        began, got = time.monotonic(), 0
        while got < 300 * len(rows):
            got += len(wire.sock.recv(1 << 20))
            if got < 20 * MB:
                time.sleep(0.05)
        took = time.monotonic() - began
    print(f"300 MB result: peak {peak.grown / MB:.1f} MB more, {took:.1f} s")
    assert peak.grown < MOST
    wire.close()


def test_200_megabytes_of_copy_in(serve: Callable[..., Stack], pg: Server) -> None:
    stack = serve(pg)
    block = b"x" * 1023 + b"\n"
    with psycopg.connect(pg.dsn(), autocommit=True) as admin:
        admin.execute("drop table if exists big; create unlogged table big (t text)")
    with stack.connect() as connection, watched(pid(stack)) as peak:
        began = time.monotonic()
        with connection.cursor().copy("COPY big FROM STDIN") as copy:
            for _ in range(200 * 16):
                copy.write(block * 64)
        took = time.monotonic() - began
    print(f"200 MB copy in: peak {peak.grown / MB:.1f} MB more, {took:.1f} s")
    assert peak.grown < MOST
    with psycopg.connect(pg.dsn(), autocommit=True) as admin:
        assert admin.execute("select count(*) from big").fetchone() == (200 * 16 * 64,)
        admin.execute("drop table big")


def test_a_field_of_200_megabytes(serve: Callable[..., Stack], mock: MockUpstream) -> None:
    size = 200 * MB
    head = b"\0\1" + size.to_bytes(4, "big")

    def script(call: Call) -> None:
        while (message := call.message()) is not None and message[0] != "X":
            call.say(columns("n") + b"D" + (size + 10).to_bytes(4, "big") + head)
            for _ in range(200):
                call.say(bytes(MB))
            call.say(complete("SELECT 1") + READY)

    mock.script = script
    stack = serve(mock, target=NO_PASSWORD)
    wire = enter(stack)
    with watched(pid(stack)) as peak:
        wire.send(query("select 1"))
        assert wire.until("T").kinds == "T"
        got = len(wire.seen) - wire._at
        tail = bytes(wire.seen[-64:])
        while got < 5 + 6 + size + len(complete("SELECT 1") + READY):
            piece = wire.sock.recv(1 << 20)
            tail = (tail + piece)[-64:]
            got += len(piece)
    print(f"200 MB field: peak {peak.grown / MB:.1f} MB more")
    assert tail.endswith(complete("SELECT 1") + READY)
    assert peak.grown < MOST
    wire.close()
