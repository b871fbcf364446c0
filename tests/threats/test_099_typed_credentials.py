"""Row 99 (and 74): a password that a client types into a statement is in nothing that the
gateway writes, shows or has approved; an auditor's key has it.

Goes red when ``Cover`` hides nothing, or ``Intent.text`` is the whole text.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from audit import Tapped, wait_sealed
from people import dba, decide, held, with_people
from stack import Stack
from test_099_no_secret_on_record import everything, forms
from wire import enter, query

from gateway.demo.postgres import Server
from recorder.keys import new_pair

EVERYTHING = """
version = 1
default = "deny"

[[rule]]
id = "all"
on = "sql.*"
verdict = "hold"
approve = { groups = ["dba"], count = 1, ttl = "10m" }
message = "all waits"
"""
SIMPLE, EXTENDED, NESTED = "typed-horse-staple", "bound-horse-staple", "deep-horse-staple"


def test_grep(pg: Server, tmp_path: Path) -> None:
    new_pair(tmp_path, "one")
    recording = f'auditors = ["{tmp_path}/one.pub"]\ncredentials = "seal"\n'
    stack = Tapped(tmp_path, pg, recording=recording)
    stack.start()
    try:
        with stack.connect("shop") as connection:
            connection.execute("DROP ROLE IF EXISTS typed")
            connection.execute(f"CREATE ROLE typed PASSWORD '{SIMPLE}'".encode(), prepare=False)
            connection.execute(f"ALTER ROLE typed PASSWORD '{EXTENDED}'".encode(), prepare=True)
            connection.execute(f"DO $$ BEGIN ALTER ROLE typed PASSWORD '{NESTED}'; END $$".encode())
            with pytest.raises(psycopg.Error):
                connection.execute(f"ALTER ROLE typed PASSWORD '{SIMPLE}' VALID ANTIL 'x'".encode())
            connection.execute("DROP ROLE typed")
        wait_sealed(stack)
        (session,) = [row["session"] for row in stack.sessions()]
        for words in (("grep", "horse"), ("grep", "-F", SIMPLE), ("list", "--text", SIMPLE)):
            done = stack.recorder(*words)
            assert SIMPLE not in done.stdout + done.stderr
        told = stack.recorder("grep", "PASSWORD '").stdout
        assert told.count("***") >= 4
        for form in ("ndjson", "pcapng"):
            exported = stack.recorder("export", session, "--format", form, text=False)
            assert exported.returncode == 0, exported.stderr
            assert b"horse" not in exported.stdout
    finally:
        stack.stop()
    for where, content in everything(stack):
        for secret in (SIMPLE, EXTENDED, NESTED):
            for form in forms(secret.encode()):
                assert form not in content, f"{secret} is in {where}"
    done = stack.recorder(
        "cat", session, "--leg", "upstream", "--side", "out", "--key", str(tmp_path / "one.key"),
        text=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == bytes(stack.upstream_tap.wires[-1].to_upstream)
    assert all(secret.encode() in done.stdout for secret in (SIMPLE, EXTENDED, NESTED))
    done = stack.recorder("verify", session)
    assert done.returncode == 0, done.stdout + done.stderr


def test_held(
    started: Callable[..., Stack], pg: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stack = with_people(started, tmp_path_factory.mktemp("typed"), pg, policy=EVERYTHING)
    secret = b"waiting-horse"
    with enter(stack) as wire:
        for verb in ("deny", "approve"):
            # What is behind it in the same packet waits unread.
            wire.send(
                query("SELECT 1") + query(f"ALTER ROLE nobody_at_all PASSWORD '{secret.decode()}'")
            )
            card = held(stack)
            assert decide(stack, "deny", card["id"], dba(stack)).returncode == 0
            assert wire.until().code == "42501"
            card = held(stack)
            assert card["text"] == "ALTER ROLE nobody_at_all PASSWORD '***'"
            for where, content in everything(stack):
                assert secret not in content, where
            assert decide(stack, verb, card["id"], dba(stack)).returncode == 0
            assert wire.until().code == ("42501" if verb == "deny" else "42704")
    stack.stop()
    for where, content in everything(stack):
        assert secret not in content, where
