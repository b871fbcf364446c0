"""Row 99: neither the upstream's credential nor a client's token, nor a proof made of
them, is in anything that the gateway writes.

Greps every file of the state directory (the recordings unpacked as well), the log on
stderr and what the commands print, for each secret raw, in base64 and in hex. Goes
red when the password message is taken as PLAIN instead of SECRET .
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator

import psycopg
import pytest
from audit import Tapped, wait_sealed
from stack import Stack
from wire import Wire, enter

from gateway.demo.postgres import Server
from protocols.wire import Side
from recorder.reader import every_log, open_recording
from recorder.streams import Hop, Streams

LOCAL_PASSWORD = "a-local-password-of-lena"


@pytest.fixture(scope="module")
def tapped(pg: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tapped]:
    folder = tmp_path_factory.mktemp("secrets")
    secret = folder / "lena"
    secret.touch(mode=0o600)
    secret.write_text(LOCAL_PASSWORD)
    stack = Tapped(folder, pg, extra='[principal.lena]\npassword = "ref+file://lena"\n')
    yield stack.start()
    stack.stop()


def forms(secret: bytes) -> set[bytes]:
    """``secret`` as it may be written; of base64 all three alignments."""
    out = {secret, secret.hex().encode(), secret.hex().upper().encode(), secret[::-1]}
    for shift in range(3):
        coded = base64.b64encode(bytes(shift) + secret)
        out.add(coded[(8 * shift + 5) // 6 : -4])
    return {form for form in out if len(form) >= 8}


def everything(stack: Stack) -> Iterator[tuple[str, bytes]]:
    for path in stack.state.rglob("*"):
        if path.is_file():
            yield str(path), path.read_bytes()
    yield "stderr", stack.log.read_bytes()
    for log in every_log(stack.state):
        recording = open_recording(stack.state, log.stem)
        try:
            for side in Side:
                for arrives in (True, False):
                    pieces = Streams(recording).pieces(Hop(side, arrives))
                    whole = b"".join(p.raw or b"" for p in pieces)
                    yield f"{log.stem} {side.name} {arrives}", whole
        finally:
            recording.close()
        for command in ("show", "events", "play"):
            done = stack.recorder(command, log.stem, text=False)
            yield command, done.stdout + done.stderr
    yield "list", stack.recorder("list", "--json", text=False).stdout


def test_grep(tapped: Tapped) -> None:
    tokens = [tapped.token("agent-1"), tapped.token("agent-2"), tapped.token("bad")[:-4] + "AAAA"]
    for token in tokens[:2]:
        with enter(tapped, token=token) as wire:
            wire.ask("SELECT 1")
            wire.ask("SELECT rolpassword FROM pg_authid")
            wire.ask(f"SELECT '{tapped.server.password}'::int")
    with Wire(tapped.port) as wire:
        assert wire.login(tokens[2]).code == "28P01"
    with Wire(tapped.port) as wire:
        wire.login(LOCAL_PASSWORD + "x", {"user": "agent", "database": "shop"})

    psycopg.connect(
        f"host=127.0.0.1 port={tapped.port} dbname=shop user=lena password={LOCAL_PASSWORD} "
        "sslmode=disable"
    ).close()
    environment = os.environ | {"WIREWARDEN_TOKEN": tokens[0]}
    ticket = tapped.gateway("ticket", "--ttl", "1h", env=environment).stdout.strip()
    assert ticket.startswith("wwt_")
    with enter(tapped, token=ticket) as wire:
        wire.ask("SELECT 2")
    wait_sealed(tapped)
    tapped.stop()

    secrets = {
        "token 1": tokens[0].encode(),
        "signature 1": tokens[0].rpartition(".")[2].encode(),
        "signature 2": tokens[1].rpartition(".")[2].encode(),
        "forged token": tokens[2].encode(),
        "ticket": ticket.encode(),
        "local password": LOCAL_PASSWORD.encode(),
        **proofs(tapped),
    }
    assert sum(name.startswith("proof") for name in secrets) >= 4
    for where, content in everything(tapped):
        for name, secret in secrets.items():
            for form in forms(secret):
                assert form not in content, f"{name} is in {where}"
    # The client itself typed the upstream's password into a statement once: that text is
    # the client's; apart from it the password is nowhere.
    own = tapped.server.password.encode()
    for where, content in everything(tapped):
        rest = re.sub(rb"SELECT '" + re.escape(own) + rb"'::int", b"", content)
        assert own not in rest.replace(b'"' + own + b'"', b""), where


def proofs(stack: Tapped) -> dict[str, bytes]:
    """Proofs, signatures and keys that really went over the two legs."""
    assert stack.client_tap is not None
    out: dict[str, bytes] = {}
    for tap in (stack.client_tap, stack.upstream_tap):
        tap.settle(1)
        for number, wire in enumerate(tap.wires):
            both = bytes(wire.to_upstream) + bytes(wire.to_client)
            for found in re.findall(rb"[,\0]?[pv]=([A-Za-z0-9+/]{43}=)", both):
                out[f"proof {number} {found[:4]!r} {len(out)}"] = found
            for key in re.findall(rb"K\0\0\0\x0c(.{8})", bytes(wire.to_client), re.DOTALL):
                out[f"key {number} {len(out)}"] = key
    return out


def test_modes(tapped: Tapped) -> None:
    """Nobody else on the machine reads the state."""
    assert tapped.state.stat().st_mode & 0o077 == 0
    for path in tapped.state.rglob("*"):
        if path.is_file() and path.parent == tapped.state:
            assert path.stat().st_mode & 0o077 == 0 or path.suffix in ("", ".db-wal"), path
