"""What the gateway leans on is gone: approvals, key sets, the policy file."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import psycopg
import pytest
from people import held, holds, with_people
from process import pid, soon
from stack import Stack
from wire import enter

from gateway.demo.issuer import DemoIssuer
from gateway.demo.postgres import Server, free_port

QUICK = """
[limits]
greeting = "3s"
"""


def test_the_approval_store_breaks_while_a_command_waits(
    serve: Callable[..., Stack], pg: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The command is refused, the session and all others go on."""
    stack = with_people(serve, tmp_path_factory.mktemp("people"), pg, policy=holds())
    with stack.connect("shop") as connection, stack.connect("shop") as other:
        failed: list[psycopg.Error] = []

        def change() -> None:
            try:
                connection.execute("update orders set status = 'lost' where id = 1")
            except psycopg.Error as error:
                failed.append(error)

        thread = threading.Thread(target=change)
        thread.start()
        held(stack)
        for path in stack.state.glob("approvals.db*"):
            if path.is_file():
                path.write_bytes(b"not a database any more" * 1000)
        thread.join(15)
        assert not thread.is_alive(), "it waits for a store that is dead"
        assert failed[0].sqlstate == "42501"
        assert "approvals can't be asked for now" in str(failed[0])
        soon(lambda: "gateway: approvals:" in stack.output(), "the alarm")
        for each in (connection, other):
            assert each.execute("select status from orders where id = 1").fetchone() == ("open",)
        with pytest.raises(psycopg.Error, match="approvals can't be asked for now"):
            other.execute("update orders set status = 'lost' where id = 1")
        assert other.execute("select 1").fetchone() == (1,)
    assert stack.process is not None
    assert stack.process.poll() is None


def test_a_key_set_that_can_not_be_had(
    serve: Callable[..., Stack], pg: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Tokens of that issuer are refused in time, those of others are not."""
    down = f"""
{QUICK}
[issuer.down]
iss = "https://down.demo.invalid"
audience = "wirewarden"
algorithms = ["ES256"]
jwks = "https://127.0.0.1:{free_port()}/keys"
kind = "agent"
"""
    stack = serve(pg, extra=down)
    stranger = DemoIssuer(tmp_path_factory.mktemp("down"), iss="https://down.demo.invalid")
    began = time.monotonic()
    with pytest.raises(psycopg.OperationalError) as caught:
        stack.connect(token=stranger.token("agent-7", groups=["developers"], run_id="r"))
    assert "FATAL" in str(caught.value)
    assert time.monotonic() - began < 10
    with stack.connect() as connection:
        assert connection.execute("select 1").fetchone() == (1,)


@pytest.mark.parametrize(
    "broken",
    [b"\xff\xfe\x00binary", b"version = 1\nrule = [", b"", None, b"[[[[" * 20_000],
    ids=["binary", "torn", "empty", "gone", "deep"],
)
def test_a_broken_policy_changes_nothing(
    serve: Callable[..., Stack], pg: Server, broken: bytes | None
) -> None:
    stack = serve(pg)
    with stack.connect() as before:
        if broken is None:
            stack.policy_file.unlink()
        else:
            stack.policy_file.write_bytes(broken)
        os.kill(pid(stack), signal.SIGHUP)
        soon(lambda: "gateway: policy:" in stack.output(), "the alarm")
        assert "stays" in stack.output()
        assert before.execute("select 1").fetchone() == (1,)
        with stack.connect() as after:
            assert after.execute("select 1").fetchone() == (1,)


def test_guessing_has_a_price(serve: Callable[..., Stack], pg: Server) -> None:
    """Wrong tickets, then nothing is looked at, and another address is let in."""
    stack = serve(pg, extra="[limits]\nfailed_proofs = 5\n")
    words = []
    for n in range(7):
        with pytest.raises(psycopg.OperationalError) as caught:
            stack.connect(token=f"wwt_{n:040d}")
        words.append(str(caught.value))
    turned_away = ["too many failed logins from your address" in word for word in words]
    assert turned_away == [False] * 5 + [True] * 2, words
    with pytest.raises(psycopg.OperationalError, match="too many failed logins"):
        stack.connect()
    with enter(stack, source="127.0.0.2") as wire:
        assert wire.ask("select 1").tags == ["SELECT 1"]


def test_stale_tokens_lock_nobody_out(serve: Callable[..., Stack], pg: Server) -> None:
    stack = serve(pg, extra="[limits]\nfailed_proofs = 2\n")
    stale = stack.issuer.token("agent-7", seconds=-3600)
    for _ in range(4):
        with pytest.raises(psycopg.OperationalError, match="expired"):
            stack.connect(token=stale)
    with stack.connect() as connection:
        assert connection.execute("select 1").fetchone() == (1,)
