"""Peers that are slow, deaf, or leave in the middle."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

from mock_upstream import NO_PASSWORD, READY, Call, MockUpstream, columns, complete, data
from process import at_rest, descriptors, idle, pid, rss, soon, watched
from stack import Stack
from wire import TERMINATE, Wire, enter, frame, query, startup

MB = 1 << 20
SMALL = columns("n") + data(b"1") + complete("SELECT 1") + READY
ROW = data(b"x" * 8000)


def answering(call: Call) -> None:
    while (message := call.message()) is not None and message[0] != "X":
        call.say(SMALL)


def endless(call: Call) -> None:
    """The first query never ends; others are answered."""
    while (message := call.message()) is not None and message[0] != "X":
        if b"endless" not in message[1]:
            call.say(SMALL)
            continue
        call.say(columns("n"))
        while True:
            call.say(ROW * 8)


def long(count: int) -> Callable[[Call], None]:
    """A result of ``count`` rows, and then the end of the script."""

    def script(call: Call) -> None:
        while (message := call.message()) is not None and message[0] != "X":
            call.say(columns("n"))
            for _ in range(count // 8):
                call.say(ROW * 8)
            call.say(complete(f"SELECT {count}") + READY)

    return script


def test_both_legs_a_byte_at_a_time(before_mock: Stack, mock: MockUpstream) -> None:
    stack = before_mock

    def script(call: Call) -> None:
        while (message := call.message()) is not None and message[0] != "X":
            call.trickle(SMALL)

    mock.script = script
    wire = Wire(stack.port)
    parts = [
        startup({"user": "agent", "database": "shop"}),
        frame("p", stack.token().encode() + b"\0"),
        query("select 1"),
    ]
    for part, awaited in zip(parts, ("R", "Z", "Z"), strict=True):
        for at in range(len(part)):
            wire.send(part[at : at + 1])
        answer = wire.until(awaited)
        assert not answer.errors
    assert answer.tags == ["SELECT 1"]
    wire.close()


def test_deaf_clients_cost_little_and_stop_nobody(before_mock: Stack, mock: MockUpstream) -> None:
    stack = before_mock
    number = pid(stack)
    mock.script = endless
    with enter(stack) as wire:
        wire.ask("select 1")
    deaf = [enter(stack) for _ in range(10)]
    with watched(number) as peak:
        for each in deaf:
            each.send(query("select endless"))
        time.sleep(1.5)
        with enter(stack) as wire:
            began = time.monotonic()
            for _ in range(50):
                assert wire.ask("select 1").tags == ["SELECT 1"]
            assert time.monotonic() - began < 3
        assert idle(number) < 0.3, "it spins while nobody reads"
    print(f"10 deaf clients: {peak.grown / MB:.1f} MB more")
    # A megabyte queued, one more read and what the allocator keeps, for each.
    assert peak.grown < 60 * MB
    for each in deaf:
        each.close()
    # They end, though nobody took what was queued for them.
    soon(lambda: _open(stack) == 0, "sessions of deaf clients end", 15)


def _open(stack: Stack) -> int:
    return sum(row["status"] == "open" for row in stack.sessions())


def test_a_deaf_upstream_stops_its_client_only(before_mock: Stack, mock: MockUpstream) -> None:
    stack = before_mock
    number = pid(stack)
    over = threading.Event()

    def script(call: Call) -> None:
        while (message := call.message()) is not None and message[0] != "X":
            if b"copy" in message[1].lower():
                call.say(frame("G", b"\0\0\1\0\0"))
                over.wait(20)
                return
            call.say(SMALL)

    mock.script = script
    wire = enter(stack)
    assert wire.send(query("COPY orders FROM STDIN")).until("GE").kinds == "G"
    wire.sock.setblocking(False)
    piece = frame("d", b"1\t1\t1.00\topen\n" * 600)
    sent = 0
    with watched(number) as peak:
        end = time.monotonic() + 2
        while time.monotonic() < end:
            try:
                sent += wire.sock.send(piece[sent % len(piece) :])
            except BlockingIOError:
                time.sleep(0.02)
        assert sent < 40 * MB, "nobody stopped the client"
        with enter(stack) as other:
            assert other.ask("select 1").tags == ["SELECT 1"]
        assert idle(number) < 0.3
    assert peak.grown < 30 * MB
    over.set()
    wire.close()


def test_a_slow_reader_costs_no_cpu_afterwards(before_mock: Stack, mock: MockUpstream) -> None:
    """Once the queue is empty nobody waits for the socket to be writable."""
    stack = before_mock
    mock.script = long(800)
    wire = enter(stack)
    wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    wire.send(query("select 1"))
    time.sleep(0.5)
    assert len(wire.until().rows) == 800
    assert idle(pid(stack)) < 0.2
    wire.close()


def test_a_client_that_says_goodbye_in_the_middle_of_a_result(
    before_mock: Stack, mock: MockUpstream
) -> None:
    """Terminate is heard while rows still come, and then nobody takes them."""
    stack = before_mock
    mock.script = endless
    before = at_rest(pid(stack))
    wire = enter(stack)
    wire.send(query("select endless"))
    wire.until("T")
    wire.send(TERMINATE)
    wire.close()
    soon(lambda: descriptors(pid(stack)) <= before, "both legs are closed")


def test_a_client_that_half_closes_gets_all_of_its_result(
    before_mock: Stack, mock: MockUpstream
) -> None:
    """Query, Terminate, end of stream; then it reads 24 MB, slowly at first."""
    stack = before_mock
    mock.script = long(3000)
    before = at_rest(pid(stack))
    wire = enter(stack)
    wire.send(query("select 1"), TERMINATE)
    wire.sock.shutdown(socket.SHUT_WR)
    time.sleep(1)
    assert idle(pid(stack), 0.5) < 0.3
    answer = wire.rest()
    assert len(answer.rows) == 3000
    assert answer.tags == ["SELECT 3000"]
    wire.close()
    soon(lambda: descriptors(pid(stack)) <= before, "both legs are closed")


def test_a_client_that_speaks_and_never_listens(before_mock: Stack, mock: MockUpstream) -> None:
    """Queries without end, and not one answer taken: it is slowed down."""
    stack = before_mock
    number = pid(stack)
    mock.script = answering
    wire = enter(stack)
    wire.sock.setblocking(False)
    piece = query("select 1") * 1000
    sent = 0
    with watched(number) as peak:
        end = time.monotonic() + 3
        while time.monotonic() < end:
            try:
                sent += wire.sock.send(piece[sent % len(piece) :])
            except BlockingIOError:
                time.sleep(0.05)
        idling = idle(number)
    print(
        f"deaf speaker: {sent / MB:.1f} MB taken, {peak.grown / MB:.1f} MB more, {idling:.2f} CPU"
    )
    # All that the kernel's buffers took are requests that wait for an answer.
    assert peak.grown < 80 * MB
    wire.close()


def test_many_queries_wait_behind_a_slow_answer(before_mock: Stack, mock: MockUpstream) -> None:
    """More than ``limits.held`` is pipelined, all of it at once: what waits for
    the server to speak must not keep the server from being heard."""
    stack = before_mock
    mock.script = answering
    wire = enter(stack)
    count = 16_000
    piece = query("select 1 /* " + "x" * 200 + " */") * 400
    sender = threading.Thread(
        target=lambda: [wire.sock.sendall(piece) for _ in range(count // 400)], daemon=True
    )
    sender.start()
    seen = 0
    while seen < count:
        answer = wire.until()
        assert answer.tags == ["SELECT 1"], answer
        seen += 1
    sender.join(5)
    wire.close()


def test_a_result_behind_tls_to_a_slow_reader(
    serve: Callable[..., Stack], mock: MockUpstream
) -> None:
    """TLS holds bytes that the kernel knows nothing of."""
    import ssl

    stack = serve(mock, target=NO_PASSWORD, tls="require")
    mock.script = long(1600)
    wire = Wire(stack.port)
    wire.send((8).to_bytes(4, "big") + (80877103).to_bytes(4, "big"))
    assert wire.byte() == b"S"
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    wire.sock = context.wrap_socket(wire.sock)
    assert wire.login(stack.token()).status == "I"
    for _ in range(3):
        wire.send(query("select 1"))
        time.sleep(0.3)
        assert len(wire.until().rows) == 1600
    # A pipeline in one TLS record after another, larger than one read.
    wire.send(query("select 1 /* " + "y" * 2000 + " */") * 20)
    for _ in range(20):
        assert len(wire.until().rows) == 1600
    assert idle(pid(stack), 0.5) < 0.2
    assert rss(pid(stack)) < 400 * MB
    wire.close()
