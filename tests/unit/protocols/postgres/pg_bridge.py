"""A gateway in miniature for login tests: sockets, TLS, a server, no policy.

One thread per session, one ``select`` loop in it. The questions are answered
from a table, as the relay would; the traffic is passed on as it is.
"""

from __future__ import annotations

import hashlib
import os
import select
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from protocols.contract import Answer, Exchange, Opening, Question, Talk, Upgrade, Upgraded
from protocols.errors import WireError
from protocols.postgres.conversation import PostgresConversation
from protocols.wire import Move, Side

BIN = Path("/usr/lib/postgresql/15/bin")


def certificate(folder: Path) -> tuple[Path, Path, bytes]:
    """A self-signed one for localhost: its file, its key's, its binding."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "server.crt", folder / "server.key"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    binding = hashlib.sha256(made.public_bytes(serialization.Encoding.DER)).digest()
    return cert_file, key_file, binding


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


@contextmanager
def cluster(folder: Path, password: str) -> Iterator[tuple[int, bytes]]:
    """A running server with TLS and three users; yields port and binding.

    ``svc`` logs in with SCRAM, ``old`` with md5, ``clear`` in the clear and
    ``free`` with nothing.
    """
    as_root = os.getuid() == 0
    who = ["runuser", "-u", "postgres", "--"] if as_root else []
    data, port = folder / "data", free_port()
    folder.chmod(0o755)
    data.mkdir()
    cert, key, binding = certificate(data)
    cert_bytes, key_bytes = cert.read_bytes(), key.read_bytes()
    shutil.rmtree(data)
    data.mkdir()
    if as_root:
        shutil.chown(data, "postgres", "postgres")
    run = lambda *words: subprocess.run(  # noqa: E731
        [*who, *words], check=True, capture_output=True, cwd="/"
    )
    run(str(BIN / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N")
    (data / "server.crt").write_bytes(cert_bytes)
    (data / "server.key").write_bytes(key_bytes)
    (data / "server.key").chmod(0o600)
    if as_root:
        shutil.chown(data / "server.crt", "postgres")
        shutil.chown(data / "server.key", "postgres")
    (data / "pg_hba.conf").write_text(
        "local all postgres trust\n"
        "host all svc all scram-sha-256\n"
        "host all old all md5\n"
        "host all clear all password\n"
        "host all free all trust\n"
    )
    with (data / "postgresql.conf").open("a") as conf:
        conf.write(
            f"port={port}\nlisten_addresses='127.0.0.1'\nunix_socket_directories='{data}'\n"
            "ssl=on\nfsync=off\nshared_buffers=16MB\nmax_connections=20\n"
        )
    log = data / "log"
    run(str(BIN / "pg_ctl"), "-D", str(data), "-l", str(log), "-w", "start")
    try:
        run(
            *(str(BIN / "psql"), "-h", str(data), "-p", str(port), "-U", "postgres"),
            *("-c", "set password_encryption='md5'"),
            *("-c", f"create role old login password '{password}'"),
            *("-c", "set password_encryption='scram-sha-256'"),
            *("-c", f"create role svc login password '{password}'"),
            *("-c", f"create role clear login password '{password}'"),
            *("-c", "create role free login"),
        )
        yield port, binding
    finally:
        run(str(BIN / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")


class Leg:
    """A socket, perhaps with TLS on it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.tls: ssl.SSLObject | None = None
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()

    def upgrade(self, context: ssl.SSLContext, server: bool, unread: bytes) -> str:
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=server)
        self.incoming.write(unread)
        while True:
            try:
                self.tls.do_handshake()
                self.flush()
                return self.tls.selected_alpn_protocol() or ""
            except ssl.SSLWantReadError:
                self.flush()
                self.incoming.write(self.sock.recv(65536))

    def flush(self) -> None:
        self.sock.sendall(self.outgoing.read())

    def close(self) -> None:
        """Say goodbye in TLS too: libpq takes a bare end for an attack."""
        try:
            if self.tls:
                self.tls.unwrap()
        except ssl.SSLError:
            pass
        try:
            self.flush()
        except OSError:
            pass

    def write(self, data: bytes) -> None:
        if self.tls is None:
            self.sock.sendall(data)
        elif data:
            self.tls.write(data)
            self.flush()

    def read(self) -> bytes | None:
        """What came; b"" at the end, None when it was only TLS' own."""
        if self.tls is None or not self.incoming.pending:
            data = self.sock.recv(65536)
            if self.tls is None or not data:
                return data
            self.incoming.write(data)
        out = bytearray()
        try:
            while piece := self.tls.read(65536):
                out += piece
        except ssl.SSLWantReadError:
            return bytes(out) or None
        except ssl.SSLError:
            pass
        return bytes(out)


class Bridge:
    """Listens on ``port``; ``answer`` decides every question but Upgrade."""

    def __init__(
        self,
        folder: Path,
        upstream: int,
        binding: bytes | None,
        answer: Callable[[Question], Answer],
        tls: str = "allow",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        cert, key, self.own_binding = certificate(folder)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert, key)
        self.context.set_alpn_protocols(["postgresql"])
        self.out = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.out.check_hostname = False
        self.out.verify_mode = ssl.CERT_NONE
        self.upstream, self.binding, self.decide, self.tls = upstream, binding, answer, tls
        self.questions: list[Question] = []
        self.talks: list[PostgresConversation] = []
        self.errors: list[WireError] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        talk = PostgresConversation(Opening("s-1", os.urandom, self.tls))
        self.talks.append(talk)
        with sock, socket.create_connection(("127.0.0.1", self.upstream)) as up:
            self.run(talk, [Leg(sock), Leg(up)])

    def errand(self, talk: Talk) -> Talk:
        with socket.create_connection(("127.0.0.1", self.upstream)) as up:
            self.run(talk, [None, Leg(up)])
        return talk

    def run(self, talk: Exchange, legs: list[Leg | None]) -> None:
        try:
            self._move(talk, legs)
            by_sock = {leg.sock: Side(i) for i, leg in enumerate(legs) if leg}
            while not talk.closing:
                # A handshake may have read what comes behind it as well.
                early = [leg.sock for leg in legs if leg and leg.tls and leg.incoming.pending]
                for sock in early or select.select(list(by_sock), [], [], 20)[0]:
                    side = by_sock[sock]
                    leg = legs[side]
                    assert leg is not None
                    data = leg.read()
                    if data is None or talk.closing:
                        continue
                    questions = talk.receive(side, data)
                    while True:
                        self._move(talk, legs)
                        if not questions:
                            break
                        question = questions.pop(0)
                        self.questions.append(question)
                        answer = self._answer(question, legs)
                        questions += talk.answer(question.number, answer)
                    if not data:
                        return
        except WireError as error:
            self.errors.append(error)
            self._move(talk, legs)
        finally:
            for leg in legs:
                if leg:
                    leg.close()

    def _answer(self, question: Question, legs: list[Leg | None]) -> Answer:
        if isinstance(question, Upgrade):
            leg = legs[question.side]
            assert leg is not None
            if question.side is Side.CLIENT:
                alpn = leg.upgrade(self.context, True, question.unread)
                return Upgraded(self.own_binding, alpn)
            return Upgraded(self.binding, leg.upgrade(self.out, False, b""))
        return self.decide(question)

    @staticmethod
    def _move(talk: Exchange, legs: list[Leg | None]) -> None:
        for span in talk.moves():
            if span.move is Move.TAKE:
                continue
            leg = legs[span.side if span.move is Move.SEND else span.side.other]
            assert leg is not None
            leg.write(span.raw)
