"""Row 64: a cancel key is of the gateway's own making, works for its session only,
and can't be found by trying.

Goes red without ``hmac.compare_digest`` in ``Cancels._cancel_here`` (any key with
the right number cancels then).
"""

from __future__ import annotations

import os
import struct
import threading
import time
from itertools import pairwise

import pytest
from stack import Stack
from wire import Wire, enter, frame, query

from gateway.demo.postgres import Server


def key_of(stack: Stack) -> tuple[Wire, bytes]:
    wire = Wire(stack.port)
    answer = wire.login(stack.token(), {"user": "agent", "database": "shop"})
    keys = [body for kind, body in answer if kind == "K"]
    assert len(keys) == 1
    return wire, keys[0]


def cancel(stack: Stack, key: bytes) -> Wire:
    wire = Wire(stack.port)
    return wire.send(struct.pack(">II", 8 + len(key), 80877102) + key)


def test_the_right_key_cancels(anything: Stack) -> None:
    wire, key = key_of(anything)
    with wire:
        wire.send(query("SELECT pg_sleep(20)"))
        time.sleep(0.3)
        assert cancel(anything, key).rest() == []
        assert wire.until().code == "57014"
        assert wire.ask("SELECT 1").rows == [[b"1"]]


def test_the_key_is_not_the_servers(anything: Stack, pg: Server) -> None:
    wire, key = key_of(anything)
    with wire:
        pid = wire.ask("SELECT pg_backend_pid()").rows[0][0]
        assert pid is not None
        assert struct.pack(">I", int(pid)) != key[:4]
        wire.send(query("SELECT pg_sleep(0.7)"))
        time.sleep(0.2)
        # The server's own number with our secret, at the server's own door.
        direct = Wire(pg.port)
        direct.send(struct.pack(">IIII", 16, 80877102, int(pid), int.from_bytes(key[4:], "big")))
        direct.close()
        assert wire.until().errors == []


def test_wrong_keys_have_no_effect_and_no_answer(anything: Stack) -> None:
    wire, key = key_of(anything)
    other, other_key = key_of(anything)
    wrong = [
        key[:4] + bytes(4),
        key[:4] + os.urandom(4),
        key[:-1] + bytes([key[-1] ^ 1]),
        key[:5] + bytes(3),
        bytes(4) + key[4:],
        other_key[:4] + key[4:],
        key[:4] + other_key[4:],
        key + b"\0",
        key[:4] + b"",
        other_key,
        b"\x3f\0\0\1" + bytes(4),
        b"\xff" * 8,
    ]
    with wire, other:
        wire.send(query("SELECT pg_sleep(1.2), 'undisturbed'"))
        time.sleep(0.2)
        for guess in wrong:
            with cancel(anything, guess) as asked:
                assert asked.rest().kinds in ("", "E"), "no answer that tells anything"
        assert wire.until().rows[0][1] == b"undisturbed"
        assert other.ask("SELECT 1").rows == [[b"1"]]


def test_guessing(anything: Stack) -> None:
    """Tries by many connections at once: none hits, the budget per second is
    spent, and the session and the gateway go on."""
    wire, key = key_of(anything)
    stop = threading.Event()

    def guess() -> None:
        while not stop.is_set():
            try:
                with cancel(anything, key[:4] + os.urandom(4)) as asked:
                    asked.fill()
            except OSError:
                return

    with wire:
        threads = [threading.Thread(target=guess, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        assert wire.ask("SELECT pg_sleep(1.5), 'undisturbed'").rows[0][1] == b"undisturbed"
        stop.set()
        for thread in threads:
            thread.join()
    time.sleep(1.0)
    test_the_right_key_cancels(anything)


def test_a_key_dies_with_its_session(anything: Stack) -> None:
    wire, key = key_of(anything)
    wire.close()
    time.sleep(0.2)
    with enter(anything) as other:
        other.send(query("SELECT pg_sleep(0.5), 'x'"))
        time.sleep(0.1)
        cancel(anything, key).close()
        assert other.until().rows[0][1] == b"x"


def test_keys_are_not_to_be_guessed_from_one_another(anything: Stack) -> None:
    keys = []
    for _ in range(30):
        wire, key = key_of(anything)
        wire.close()
        keys.append(key)
    assert len({k[:4] for k in keys}) == 30
    assert len({k[4:] for k in keys}) == 30
    steps = {int.from_bytes(b, "big") - int.from_bytes(a, "big") for a, b in pairwise(keys)}
    assert len(steps) == 29


@pytest.mark.parametrize("size", [0, 3, 4, 257, 9000])
def test_malformed(anything: Stack, size: int) -> None:
    with cancel(anything, bytes(size)) as asked:
        asked.rest()
    assert frame  # the gateway still serves:
    enter(anything).close()
