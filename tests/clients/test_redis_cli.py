"""redis-cli through a whole gateway to a real Redis."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from stack import Stack

from gateway.demo.postgres import free_port

pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(
        not (shutil.which("redis-server") and shutil.which("redis-cli")),
        reason="redis-server and redis-cli are not installed",
    ),
]
CREDENTIAL = "canary-upstream-5e1f"
POLICY = """
version = 1
default = "deny"

[[rule]]
id = "all"
on = "resp.*"
incomplete = true
verdict = "allow"
message = "everything else"

[[rule]]
id = "no-wiping"
on = "resp.destroy"
verdict = "block"
message = "data is not wiped from here"
"""


@dataclass
class Redis:
    host: str
    port: int
    password: str


class RespStack(Stack):
    """A gateway whose only listener and target speak RESP."""

    def __init__(self, folder: Path, server: Redis, **more: str) -> None:
        target = 'auth = ["cleartext"]\n' + more.pop("target", "")
        super().__init__(
            folder,
            server,  # type: ignore[arg-type]
            user="default",
            policy=POLICY,
            target=target,
            **more,  # type: ignore[arg-type]
        )
        text = self.config_file.read_text()
        text = text.replace('"postgres"', '"resp"').replace('database = "resp"\n', "")
        self.config_file.write_text(text.replace('databases = ["*"]\n', ""))

    def cli(self, *words: str, stdin: str | None = None, token: str = "") -> str:
        done = subprocess.run(
            ["redis-cli", "-h", "127.0.0.1", "-p", str(self.port), *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env=os.environ | {"REDISCLI_AUTH": token or self.token()},
        )
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    folder = tmp_path_factory.mktemp("redis")
    port = free_port()
    config = folder / "redis.conf"
    config.write_text(
        f'bind 127.0.0.1\nport {port}\ndir {folder}\nsave ""\nrequirepass {CREDENTIAL}\n'
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["redis-server", str(config)], stdout=log, stderr=log)
    try:
        for _ in range(100):
            if "ready to accept" in (folder / "log").read_text().lower():
                break
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
        yield Redis("127.0.0.1", port, CREDENTIAL)
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def stack(redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RespStack]:
    with RespStack(tmp_path_factory.mktemp("gateway"), redis) as running:
        yield running


def test_set_and_get(stack: RespStack) -> None:
    assert stack.cli("SET", "greeting", "hello there") == "OK\n"
    assert stack.cli("GET", "greeting") == "hello there\n"


def test_resp3(stack: RespStack) -> None:
    assert stack.cli("-3", "HSET", "h", "a", "1").strip() == "1"
    assert stack.cli("-3", "HGETALL", "h").split() == ["a", "1"]


def test_flushall_is_blocked_and_the_session_lives_on(stack: RespStack) -> None:
    lines = stack.cli(stdin="SET kept 1\nFLUSHALL\nGET kept\n").splitlines()
    assert lines[0] == "OK"
    assert "NOPERM blocked by rule no-wiping: data is not wiped from here (session " in lines[1]
    assert [line for line in lines[2:] if line] == ["1"]


def test_a_pipeline_is_answered_in_order(stack: RespStack) -> None:
    def array(*words: str) -> bytes:
        return f"*{len(words)}\r\n".encode() + b"".join(
            f"${len(w)}\r\n{w}\r\n".encode() for w in words
        )

    pipeline = array("AUTH", stack.token()) + array("SET", "n", "1") + array("FLUSHALL")
    pipeline += array("INCR", "n") + array("FLUSHDB") + b"GET n\r\n" + array("QUIT")
    with socket.create_connection(("127.0.0.1", stack.port), timeout=10) as sock:
        sock.sendall(pipeline)
        got = b""
        while data := sock.recv(4096):
            got += data
    lines = got.split(b"\r\n")
    kinds = [line[:7] for line in lines]
    assert kinds == [b"+OK", b"+OK", b"-NOPERM", b":2", b"-NOPERM", b"$1", b"2", b"+OK", b""]


def test_a_transaction_with_a_blocked_command_does_nothing(stack: RespStack) -> None:
    out = stack.cli(stdin="SET t 1\nMULTI\nINCR t\nFLUSHALL\nEXEC\nGET t\n")
    assert "EXECABORT" in out
    assert out.rstrip().endswith("\n1")


def test_the_credential_can_not_be_read(stack: RespStack, redis: Redis) -> None:
    out = stack.cli("CONFIG", "GET", "requirepass")
    assert "*" * len(CREDENTIAL) in out
    assert CREDENTIAL not in out


def test_monitor_and_reset_are_never_allowed(stack: RespStack) -> None:
    assert "NOPERM MONITOR is not taken here" in stack.cli("MONITOR")
    assert "NOPERM CLIENT is not taken here" in stack.cli("CLIENT", "REPLY", "OFF")


def test_subscribing(stack: RespStack) -> None:
    child = subprocess.Popen(
        ["redis-cli", "-h", "127.0.0.1", "-p", str(stack.port), "SUBSCRIBE", "news"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"REDISCLI_AUTH": stack.token()},
    )
    try:
        assert child.stdout is not None
        first = [child.stdout.readline() for _ in range(3)]
        assert first[:2] == ["subscribe\n", "news\n"]
        assert stack.cli("PUBLISH", "news", "extra") == "1\n"
        assert [child.stdout.readline() for _ in range(3)] == ["message\n", "news\n", "extra\n"]
    finally:
        child.terminate()
        child.wait(10)


def test_a_wrong_token_is_refused(stack: RespStack) -> None:
    assert "WRONGPASS" in stack.cli("GET", "greeting", token="nonsense")


def test_tls(redis: Redis, tmp_path: Path) -> None:
    with RespStack(tmp_path, redis, tls="require") as stack:
        ca = str(stack.certificate)
        assert stack.cli("--tls", "--cacert", ca, "SET", "over", "tls") == "OK\n"
        assert stack.cli("--tls", "--cacert", ca, "GET", "over") == "tls\n"
        assert "the gateway requires TLS" in stack.cli("GET", "over")


def test_explain_judges_resp(stack: RespStack) -> None:
    done = stack.gateway("explain", "FLUSHALL")
    assert done.returncode == 3, done.stderr
    assert "no-wiping" in done.stdout


def test_every_session_verifies(stack: RespStack) -> None:
    for number in range(3):
        assert stack.cli("SET", f"verified:{number}", "x") == "OK\n"
    sessions = stack.sessions()
    assert len(sessions) >= 3
    for session in sessions:
        done = stack.recorder("verify", session["session"])
        assert done.returncode == 0, done.stdout + done.stderr
    stored = b"".join(p.read_bytes() for p in stack.state.rglob("*") if p.is_file())
    assert CREDENTIAL.encode() not in stored
