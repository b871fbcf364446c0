"""How clients get in, and how they don't: TLS, proofs, startup parameters, cancels."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from audit import Tapped
from stack import Stack

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("entrance")]

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def verifier() -> str:
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "password"],
        input=PASSWORD + "\n", capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.fixture(scope="module")
def gate(gateways: Callable[..., Stack], verifier: str) -> Tapped:
    extra = f'[principal.lena]\npassword = "{verifier}"\ngroups = ["dba"]\n'
    stack = gateways(tls="require", extra=extra)
    assert isinstance(stack, Tapped)
    return stack


def psql(gate: Stack, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["psql", "-X", "-A", "-t", "-c", "SELECT 'in'"], capture_output=True, text=True,
        env=gate.environment() | {"PGSSLMODE": "require"} | environment, timeout=20, check=False,
    )  # fmt: skip


# -- TLS ---------------------------------------------------------------------


def test_tls_required_by_the_client(gate: Tapped) -> None:
    done = psql(gate)
    assert (done.returncode, done.stdout) == (0, "in\n"), done.stderr
    with psycopg.connect(gate.dsn(sslmode="require")) as connection:
        assert connection.info.ssl_in_use if hasattr(connection.info, "ssl_in_use") else True
        assert connection.pgconn.ssl_in_use


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_the_gateway_proves_itself(gate: Tapped, mode: str, tmp_path: Path) -> None:
    done = psql(gate, PGSSLMODE=mode, PGSSLROOTCERT=str(gate.certificate))
    assert (done.returncode, done.stdout) == (0, "in\n"), done.stderr
    from gateway.demo.certificate import write_certificate

    stranger, _ = write_certificate(tmp_path)
    done = psql(gate, PGSSLMODE=mode, PGSSLROOTCERT=str(stranger))
    assert done.returncode == 2
    assert "certificate verify failed" in done.stderr


def test_plain_text_is_refused_where_tls_is_required(gate: Tapped) -> None:
    done = psql(gate, PGSSLMODE="disable")
    assert done.returncode == 2
    assert "the gateway requires TLS" in done.stderr
    assert "sslmode=require" in done.stderr


def test_prefer_gets_tls(gate: Tapped) -> None:
    assert psql(gate, PGSSLMODE="prefer").stdout == "in\n"


@pytest.mark.parametrize("mode", ["disable", "prefer"])
def test_gss_encryption_is_turned_down_politely(gate: Tapped, mode: str) -> None:
    assert psql(gate, PGGSSENCMODE=mode).stdout == "in\n"
    # Without a Kerberos ticket libpq never asks, so ask by hand.
    with socket.create_connection(("127.0.0.1", gate.port), 5) as sock:
        sock.sendall(struct.pack(">ii", 8, 80877104))
        assert sock.recv(1) == b"N"
        sock.sendall(struct.pack(">ii", 8, 80877103))
        assert sock.recv(1) == b"S"


def client_context(gate: Tapped, *alpn: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(gate.certificate))
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def startup(**parameters: str) -> bytes:
    body = b"\0\3\0\0" + b"".join(
        k.encode() + b"\0" + v.encode() + b"\0" for k, v in parameters.items()
    )
    return struct.pack(">i", len(body) + 5) + body + b"\0"


def read_until(sock: socket.socket, kind: bytes) -> dict[bytes, bytes]:
    """Messages by type, up to and with one of ``kind``."""
    found: dict[bytes, bytes] = {}
    file = sock.makefile("rb")
    while kind not in found:
        head = file.read(5)
        assert len(head) == 5, f"the gateway closed; seen {found}"
        found[head[:1]] = file.read(int.from_bytes(head[1:], "big") - 4)
    return found


def log_in(sock: socket.socket, gate: Tapped, **parameters: str) -> dict[bytes, bytes]:
    sock.sendall(startup(user="agent", database="postgres", **parameters))
    assert read_until(sock, b"R")[b"R"] == b"\0\0\0\3"
    token = gate.token().encode()
    sock.sendall(b"p" + struct.pack(">i", len(token) + 5) + token + b"\0")
    return read_until(sock, b"Z")


def query(sock: socket.socket, sql: str) -> dict[bytes, bytes]:
    raw = sql.encode() + b"\0"
    sock.sendall(b"Q" + struct.pack(">i", len(raw) + 4) + raw)
    return read_until(sock, b"Z")


def test_direct_tls(gate: Tapped) -> None:
    """As libpq 17 with sslnegotiation=direct."""
    raw = socket.create_connection(("127.0.0.1", gate.port), 5)
    with client_context(gate, "postgresql").wrap_socket(raw, server_hostname="localhost") as sock:
        assert sock.selected_alpn_protocol() == "postgresql"
        log_in(sock, gate)
        assert query(sock, "SELECT 'direct'")[b"D"] == b"\0\1\0\0\0\6direct"
        sock.sendall(b"X\0\0\0\4")


def test_direct_tls_without_its_name_is_refused(gate: Tapped) -> None:
    raw = socket.create_connection(("127.0.0.1", gate.port), 5)
    try:
        with client_context(gate).wrap_socket(raw, server_hostname="localhost") as sock:
            sock.sendall(startup(user="agent", database="postgres"))
            said = sock.recv(4096)
        assert b"R\0\0\0" not in said[:5]
        assert not said or said[:1] == b"E"
    except OSError:
        pass  # the handshake itself failed: as good


def test_plain_bytes_before_tls_end_the_session(gate: Tapped) -> None:
    """CVE-2021-23214: what came in clear must not count as said under TLS."""
    with socket.create_connection(("127.0.0.1", gate.port), 5) as sock:
        sock.sendall(struct.pack(">ii", 8, 80877103) + startup(user="agent", database="postgres"))
        said = b""
        try:
            while data := sock.recv(4096):
                said += data
        except OSError:
            pass
        assert said in (b"", b"S")


# -- who ---------------------------------------------------------------------


def test_a_wrong_token_is_refused_in_the_servers_words(gate: Tapped) -> None:
    for wrong in ("hello", gate.token()[:-4] + "AAAA", gate.token("x", aud="someone-else")):
        done = psql(gate, PGPASSWORD=wrong)
        assert done.returncode == 2
        assert 'password authentication failed for user "agent"' in done.stderr
        assert wrong not in done.stderr


def test_an_expired_token_is_refused(gate: Tapped) -> None:
    done = psql(gate, PGPASSWORD=gate.issuer.token("agent-7", seconds=-3600))
    assert done.returncode == 2
    assert 'password authentication failed for user "agent"' in done.stderr


def test_another_key_with_the_same_name(gate: Tapped, tmp_path: Path) -> None:
    from gateway.demo.issuer import DemoIssuer

    forged = DemoIssuer(tmp_path / "forger").token("agent-7", groups=["dba"])
    done = psql(gate, PGPASSWORD=forged)
    assert done.returncode == 2
    assert "password authentication failed" in done.stderr


def test_a_password_of_9_kb(gate: Tapped) -> None:
    token = gate.token(groups=[f"group-{n:04}-{'x' * 20}" for n in range(210)])
    assert len(token) > 9_000
    done = psql(gate, PGPASSWORD=token)
    assert (done.returncode, done.stdout) == (0, "in\n"), done.stderr


def test_a_ticket_stands_for_its_token(gate: Tapped) -> None:
    environment = os.environ | {"WIREWARDEN_TOKEN": gate.token("agent-ticket")}
    minted = gate.gateway("ticket", env=environment)
    assert minted.returncode == 0, minted.stderr
    ticket = minted.stdout.strip()
    assert len(ticket) < 100
    assert psql(gate, PGPASSWORD=ticket).stdout == "in\n"
    last = gate.sessions()[-1]
    identity = next(e for e in gate.events(last["session"]) if e.get("event") == "identity")
    assert "agent-ticket" in str(identity)
    revoked = gate.gateway("ticket", "--revoke", gate.gateway("ticket", "--list").stdout.split()[0])
    assert revoked.returncode == 0
    assert psql(gate, PGPASSWORD=ticket).returncode == 2


def test_scram_for_a_local_principal(gate: Tapped) -> None:
    done = psql(gate, PGUSER="lena", PGPASSWORD=PASSWORD)
    assert (done.returncode, done.stdout) == (0, "in\n"), done.stderr
    # libpq itself insists that it was SCRAM.
    with psycopg.connect(
        gate.dsn(sslmode="require"), user="lena", password=PASSWORD, require_auth="scram-sha-256"
    ) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert connection.pgconn.used_password
    wrong = psql(gate, PGUSER="lena", PGPASSWORD="wrong horse battery")
    assert wrong.returncode == 2
    assert 'password authentication failed for user "lena"' in wrong.stderr


def test_an_unknown_name_can_not_be_told_from_a_known_one(gate: Tapped) -> None:
    known = psql(gate, PGUSER="lena", PGPASSWORD="wrong-password").stderr
    unknown = psql(gate, PGUSER="nobody", PGPASSWORD="wrong-password").stderr
    assert "password authentication failed" in known
    assert "password authentication failed" in unknown


def test_no_password_at_all(gate: Tapped) -> None:
    environment = gate.environment() | {"PGSSLMODE": "require"}
    del environment["PGPASSWORD"]
    done = subprocess.run(
        ["psql", "-X", "-w", "-c", "SELECT 1"], env=environment, capture_output=True, text=True,
        timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "no password supplied" in done.stderr


# -- what they may ask for at the start ----------------------------------------


@pytest.mark.parametrize("value", ["database", "true"])
def test_replication_is_refused(gate: Tapped, value: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="replication is not allowed"):
        psycopg.connect(gate.dsn(sslmode="require"), replication=value)


@pytest.mark.parametrize(
    "options", ["-c search_path=evil", "--search_path=evil", "-c session_preload_libraries=x"]
)
def test_dangerous_settings_are_refused(gate: Tapped, options: str) -> None:
    done = psql(gate, PGOPTIONS=options)
    assert done.returncode == 2
    assert "is not allowed through the gateway" in done.stderr


def test_harmless_settings_arrive(gate: Tapped) -> None:
    with psycopg.connect(
        gate.dsn(sslmode="require"), application_name="nightly",
        options="-c statement_timeout=12345",
    ) as connection:  # fmt: skip
        assert connection.execute("SHOW application_name").fetchone() == ("nightly",)
        assert connection.execute("SHOW statement_timeout").fetchone() == ("12345ms",)
        assert connection.execute("SHOW search_path").fetchone() == ("public",)


def test_an_unknown_database(gate: Tapped) -> None:
    done = psql(gate, PGDATABASE="nowhere")
    assert done.returncode == 2
    assert 'database "nowhere" does not exist' in done.stderr


def test_protocol_3_2_is_spoken_and_options_are_negotiated(gate: Tapped) -> None:
    raw = socket.create_connection(("127.0.0.1", gate.port), 5)
    with client_context(gate, "postgresql").wrap_socket(raw, server_hostname="localhost") as sock:
        packet = startup(user="agent", database="postgres", **{"_pq_.shiny": "1"})
        sock.sendall(packet[:4] + struct.pack(">i", 0x30009) + packet[8:])
        found = read_until(sock, b"R")
        assert found[b"v"] == struct.pack(">ii", 0x30002, 1) + b"_pq_.shiny\0"


# -- cancels -----------------------------------------------------------------


def cancel_packet(key: bytes) -> bytes:
    return struct.pack(">ii", 8 + len(key), 80877102) + key


def send_cancel(port: int, key: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(cancel_packet(key))
        assert sock.recv(1) == b""


def test_a_cancel_needs_the_right_key(gate: Tapped, direct: Any) -> None:
    raw = socket.create_connection(("127.0.0.1", gate.port), 5)
    with client_context(gate, "postgresql").wrap_socket(raw, server_hostname="localhost") as sock:
        key = log_in(sock, gate)[b"K"]
        pid = query(sock, "SELECT pg_backend_pid()")[b"D"][6:]
        assert int.from_bytes(key[:4], "big") != int(pid)  # the server's own stays inside
        text = b"SELECT pg_sleep(2)\0"
        sock.sendall(b"Q" + struct.pack(">i", len(text) + 4) + text)
        time.sleep(0.3)
        for wrong in (
            key[:4] + bytes(4),
            bytes(4) + key[4:],
            int(pid).to_bytes(4, "big") + key[4:],
            bytes(8),
        ):
            send_cancel(gate.port, wrong)
        found = read_until(sock, b"Z")
        assert b"E" not in found, found
        assert b"D" in found
        sock.sendall(b"Q" + struct.pack(">i", len(text) + 4) + text)
        time.sleep(0.3)
        began = time.monotonic()
        send_cancel(gate.port, key)
        found = read_until(sock, b"Z")
        assert b"57014" in found[b"E"]
        assert time.monotonic() - began < 1.5


def test_a_cancel_of_an_ended_session_has_no_effect(gate: Tapped) -> None:
    raw = socket.create_connection(("127.0.0.1", gate.port), 5)
    with client_context(gate, "postgresql").wrap_socket(raw, server_hostname="localhost") as sock:
        key = log_in(sock, gate)[b"K"]
    send_cancel(gate.port, key)
    assert psql(gate).stdout == "in\n"


# -- towards the server --------------------------------------------------------


def credential_of(gate: Stack) -> str:
    with gate.connect() as connection:
        pid = connection.execute("SELECT pg_backend_pid()").fetchone()[0]
        sql = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = %s"
        with psycopg.connect(gate.real.dsn()) as direct:  # type: ignore[attr-defined]
            encrypted = direct.execute(sql, (pid,)).fetchone()
        assert encrypted is not None
    session = gate.sessions()[-1]["session"]
    event = next(e for e in gate.events(session) if e.get("event") == "credential")
    return f"{event['fields']['method']} {'tls' if encrypted[0] else 'plain'}"


@pytest.mark.parametrize(
    ("tls", "expected"),
    [
        ("verify-full", "scram-sha-256-plus tls"),
        ("verify-ca", "scram-sha-256-plus tls"),
        ("require", "scram-sha-256-plus tls"),
        ("disable", "scram-sha-256 plain"),
    ],
)
def test_upstream_tls(gateways: Callable[..., Stack], pg: Any, tls: str, expected: str) -> None:
    ca = f'ca = "{pg.certificate}"' if tls.startswith("verify") else ""
    stack = gateways(upstream_tls=tls, target=ca)
    stack.real = pg  # type: ignore[attr-defined]
    assert credential_of(stack) == expected


def test_an_upstream_with_the_wrong_certificate(
    gateways: Callable[..., Stack], tmp_path: Path
) -> None:
    from gateway.demo.certificate import write_certificate

    stranger, _ = write_certificate(tmp_path)
    stack = gateways(upstream_tls="verify-full", target=f'ca = "{stranger}"')
    with pytest.raises(psycopg.OperationalError, match="no TLS with the upstream"):
        stack.connect()


def test_md5_only_where_the_target_allows_it(gateways: Callable[..., Stack], pg: Any) -> None:
    with psycopg.connect(pg.dsn(), autocommit=True) as connection:
        connection.execute("SET password_encryption = 'md5'")
        connection.execute("CREATE ROLE old LOGIN PASSWORD 'old-password'")
        hba = connection.execute("SHOW hba_file").fetchone()[0]
        before = Path(hba).read_text()
        Path(hba).write_text("host all old 127.0.0.1/32 md5\n" + before)
        connection.execute("SELECT pg_reload_conf()")
        time.sleep(0.3)
    with pytest.raises(psycopg.OperationalError, match="md5"):
        gateways(user="old", password="old-password").connect()
    stack = gateways(user="old", password="old-password", target='auth = ["md5"]')
    stack.real = pg  # type: ignore[attr-defined]
    assert credential_of(stack) == "md5 plain"


def test_a_wrong_upstream_password_is_not_the_clients_fault(gateways: Callable[..., Stack]) -> None:
    stack = gateways(password="not-the-password")
    with pytest.raises(psycopg.OperationalError) as raised:
        stack.connect()
    assert "not-the-password" not in str(raised.value)
    assert "upstream" in str(raised.value)
