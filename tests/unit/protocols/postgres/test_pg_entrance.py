"""Real clients (psycopg's libpq, psql) and a real server meet in the entrance."""

from __future__ import annotations

import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer

import psycopg
import pytest
from pg_bridge import BIN, Bridge, cluster
from pg_stage import Stage
from test_pg_conversation import Tape

from protocols.contract import (
    Answer,
    Cancel,
    Challenge,
    Credential,
    Destination,
    Destined,
    Done,
    Offer,
    Opening,
    Proof,
    Proven,
    Question,
    Refuse,
    Upgrade,
)
from protocols.postgres import conversation, messages
from protocols.postgres.errands import UpstreamErrand
from protocols.postgres.scram import make_verifier
from protocols.wire import Side

pytestmark = [
    pytest.mark.clients,
    pytest.mark.timeout(60),
    pytest.mark.skipif(not (BIN / "initdb").exists(), reason="no PostgreSQL 15 server here"),
]
PASSWORD = "upstream-p\u00e4ss"
KEY = b"\x00\x00\x10\x01keyk"


class House:
    """What the relay's services would say."""

    def __init__(self) -> None:
        self.user, self.tls, self.auth = "svc", "require", ["scram-sha-256"]
        self.secret = b"let me in"
        self.scram = False
        self.bridge: Bridge | None = None

    def destined(self) -> Destined:
        return Destined(self.user, "postgres", self.tls, KEY, {"auth": self.auth})

    def __call__(self, question: Question) -> Answer:
        if isinstance(question, Proof):
            if question.scram or question.secret == self.secret:
                return Proven(question.claimed)
            if question.secret is not None:
                return Refuse("not that one", kind="identity")
            return Offer(make_verifier(self.secret, b"0123456789abcdef") if self.scram else None)
        if isinstance(question, Destination):
            return self.destined()
        if isinstance(question, Challenge):
            return Credential(PASSWORD.encode())
        if isinstance(question, Cancel):
            assert self.bridge is not None
            if question.key != KEY:
                return Done(error="no such session")
            # The newest conversation is the one that asks; the one that runs is before it.
            errands = [t.cancel() for t in self.bridge.talks]
            talk = next(t for t in errands if t is not None)
            self.bridge.errand(talk)
            return Done(talk.result)
        raise AssertionError(question)


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[int, bytes]]:
    # Not pytest's folder: its other runs close that to the server's own user.
    with (
        TemporaryDirectory(prefix="pg-entrance-") as folder,
        cluster(Path(folder), PASSWORD) as running,
    ):
        yield running


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def bridge(
    server: tuple[int, bytes], house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bridge]:
    monkeypatch.setattr(conversation, "Traffic", Tape)
    port, binding = server
    house.bridge = Bridge(tmp_path / "own", port, binding, house)
    yield house.bridge
    house.bridge.close()


def connect(bridge: Bridge, **more: object) -> psycopg.Connection:
    words = {
        "host": "localhost",
        "hostaddr": "127.0.0.1",
        "port": bridge.port,
        "user": "mia",
        "password": "let me in",
        "dbname": "shop",
        "autocommit": True,
        "connect_timeout": 10,
        **more,
    }
    return psycopg.connect(**words)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "how",
    [
        {"sslmode": "disable"},
        {"sslmode": "require"},
        {"sslmode": "require", "sslnegotiation": "direct"},
        {"sslmode": "require", "max_protocol_version": "3.2"},
        {"sslmode": "prefer", "gssencmode": "prefer", "application_name": "x y"},
        {"sslmode": "require", "options": "-c statement_timeout=7s"},
    ],
)
@pytest.mark.parametrize("scram", [False, True])
def test_libpq(bridge: Bridge, house: House, how: dict[str, str], scram: bool) -> None:
    house.scram = scram
    with connect(bridge, **how) as c:
        row = c.execute(
            "select current_user, current_database(), current_setting('client_encoding'),"
            " current_setting('application_name'), current_setting('statement_timeout')"
        ).fetchone()
        assert row == (
            "svc",
            "postgres",
            "UTF8",
            how.get("application_name", ""),
            "7s" if "options" in how else "0",
        )
        assert c.info.backend_pid == 0x1001
        in_tls = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
        assert c.execute(in_tls).fetchone() == (True,)
    methods = [q.method for q in bridge.questions if isinstance(q, Challenge)]
    assert methods == ["scram-sha-256-plus"]
    assert not bridge.errors


def test_libpq_binds_to_the_gateway(bridge: Bridge, house: House) -> None:
    house.scram = True
    with connect(bridge, sslmode="require", channel_binding="require") as c:
        assert c.execute("select 1").fetchone() == (1,)


def test_wrong_password(bridge: Bridge, house: House) -> None:
    for scram in (False, True):
        house.scram = scram
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            connect(bridge, password="guess", sslmode="require")


def test_long_password(bridge: Bridge, house: House) -> None:
    house.secret = b"x" * 9000
    with connect(bridge, password="x" * 9000, sslmode="require") as c:
        assert c.execute("select 1").fetchone() == (1,)


def test_plain_text_refused(server: tuple[int, bytes], house: House, tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, *server, house, tls="require")
    with pytest.raises(psycopg.OperationalError, match="sslmode=require"):
        connect(bridge, sslmode="disable")
    bridge.close()


@pytest.mark.parametrize(
    ("user", "auth", "tls"),
    [
        ("svc", ["scram-sha-256"], "disable"),
        ("svc", ["scram-sha-256-plus"], "verify-full"),
        ("old", ["md5"], "require"),
        ("clear", ["cleartext"], "require"),
        ("free", ["trust"], "prefer"),
    ],
)
def test_methods(bridge: Bridge, house: House, user: str, auth: list[str], tls: str) -> None:
    house.user, house.auth, house.tls = user, auth, tls
    with connect(bridge) as c:
        assert c.execute("select current_user").fetchone() == (user,)
    house.auth = ["scram-sha-256-plus"]
    if user != "svc":
        with pytest.raises(psycopg.OperationalError, match="does not allow"):
            connect(bridge)


def test_wrong_credential_names_nobody(bridge: Bridge, house: House) -> None:
    house.user = "nobody_here"
    with pytest.raises(psycopg.OperationalError, match="credential was refused") as caught:
        connect(bridge)
    assert "nobody_here" not in str(caught.value)


@pytest.mark.parametrize("version", ["3.0", "3.2"])
@pytest.mark.parametrize("sslmode", ["disable", "require"])
def test_cancel(bridge: Bridge, version: str, sslmode: str) -> None:
    with connect(bridge, sslmode=sslmode, max_protocol_version=version) as c:
        began = time.monotonic()
        canceller = Timer(0.3, lambda: c.cancel_safe(timeout=10))
        canceller.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            c.execute("select pg_sleep(15)")
        assert time.monotonic() - began < 10
        canceller.join()


def test_cancel_with_a_guessed_key(bridge: Bridge) -> None:
    def guess() -> None:
        with socket.create_connection(("127.0.0.1", bridge.port)) as s:
            s.sendall(messages.cancel_request(struct.pack("!I", 0x1001) + b"gues"))
            assert s.recv(10) == b""

    with connect(bridge) as c:
        guesser = Timer(0.1, guess)
        guesser.start()
        assert c.execute("select 1 from pg_sleep(0.6)").fetchone() == (1,)
        guesser.join()
    assert any(isinstance(q, Cancel) for q in bridge.questions)


def test_psql(bridge: Bridge) -> None:
    words = f"host=127.0.0.1 port={bridge.port} user=mia dbname=shop sslmode=require"
    done = subprocess.run(
        [BIN / "psql", "-X", "-At", "-c", "select current_user", words],
        env={"PGPASSWORD": "let me in", "PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (done.stdout, done.stderr) == (b"svc\n", b"")


class Version(UpstreamErrand):
    def ready(self, status: bytes) -> bytes:
        return messages.frame(b"Q", b"select 41 + 1\0")

    def message(self, kind: bytes, payload: bytes) -> bytes:
        if kind == b"D":
            self.finish(payload[6:])
        return super().message(kind, payload)


@pytest.mark.parametrize("tls", ["disable", "require"])
def test_errand(bridge: Bridge, house: House, tls: str) -> None:
    house.tls = tls
    talk = Version(Opening("s-1", bytes), house.destined())
    bridge.errand(talk)
    assert talk.error == ""
    assert talk.result == b"42"
    assert isinstance(bridge.questions[0], Upgrade) == (tls == "require")
    assert Stage(talk).sent(Side.CLIENT) == b""
