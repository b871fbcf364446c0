"""Anchors: a real time-stamping authority (openssl ts) and an honest witness."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from test_verify_evidence import NAMES, path_of, record, verify

from recorder.cli import main
from recorder.evidence import merkle
from recorder.evidence.epochs import load_root, read_key
from recorder.evidence.fetch import FetchError, ask_authority, ask_witness
from recorder.evidence.inbox import ledger_directory
from recorder.evidence.notes import (
    COSIGNATURE,
    cosign,
    parse_checkpoint,
    parse_note,
    signature_line,
    unbase64,
    verified,
    verifier_key,
)
from recorder.evidence.tokens import TokenError, check_response, request

CONFIG = """
[ tsa ]
default_tsa = one
[ one ]
serial = serial
crypto_device = builtin
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ess_cert_id_alg = sha256
[ stamps ]
basicConstraints = CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[ serves ]
basicConstraints = CA:false
extendedKeyUsage = critical,serverAuth
[ authority ]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign
[ req ]
distinguished_name = dn
[ dn ]
"""


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates: ``ca.pem``; ``stamp`` for time stamping, ``serve`` for none."""
    folder = tmp_path_factory.mktemp("tsa")
    (folder / "tsa.cnf").write_text(CONFIG)
    (folder / "serial").write_text("01")
    new = ("-newkey", "rsa:2048", "-nodes", "-config", "tsa.cnf")
    for name in ("ca", "other"):
        openssl(folder, "req", "-x509", *new, "-keyout", f"{name}.key", "-out", f"{name}.pem",
                "-subj", f"/CN={name}", "-days", "2", "-extensions", "authority")  # fmt: skip
    for name, kind in (("stamp", "stamps"), ("serve", "serves")):
        openssl(folder, "req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr",
                "-subj", f"/CN={name}")  # fmt: skip
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-out", f"{name}.pem", "-days", "1", "-extfile", "tsa.cnf",
                "-extensions", kind)  # fmt: skip
    return folder


def stamp(folder: Path, query: bytes) -> bytes:
    (folder / "q.tsq").write_bytes(query)
    openssl(folder, "ts", "-reply", "-config", "tsa.cnf", "-queryfile", "q.tsq", "-signer",
            "stamp.pem", "-inkey", "stamp.key", "-out", "r.tsr")  # fmt: skip
    return (folder / "r.tsr").read_bytes()


Answer = Callable[[str, bytes], tuple[int, bytes]]


@pytest.fixture
def serving() -> Iterator[Callable[[Answer], str]]:
    """Serves POST on loopback."""
    servers = []

    def serve(answer: Answer) -> str:
        class Post(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, data = answer(self.path, body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Post)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


class Witness:
    """An honest one, as C2SP tlog-witness has it."""

    def __init__(self, log_key: bytes) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.log_key = log_key
        self.size, self.root = 0, merkle.EMPTY
        public = self.key.public_key().public_bytes_raw()
        self.verifier = verifier_key("witness.example", public, COSIGNATURE)

    def __call__(self, path: str, body: bytes) -> tuple[int, bytes]:
        head, _, raw = body.partition(b"\n\n")
        first, *proof = head.decode().split("\n")
        note = parse_note(raw)
        said = parse_checkpoint(note.text)
        if path != "/add-checkpoint" or not verified(note, said.origin, self.log_key):
            return 403, b""
        if int(first.removeprefix("old ")) != self.size:
            return 409, b"%d\n" % self.size
        steps = list(map(unbase64, proof))
        try:
            merkle.check_consistency(self.size, said.size, steps, self.root, said.root)
        except merkle.ProofError:
            return 422, b""
        self.size, self.root = said.size, said.root
        line = signature_line(*cosign(note.text, "witness.example", self.key, int(time.time())))
        return 200, line.encode()


def test_tokens_are_checked_in_full(authority: Path) -> None:
    trusted = (authority / "ca.pem").read_bytes()
    data = b"a checkpoint"
    response = stamp(authority, request(data, 77))
    token = check_response(response, data, trusted, 77)
    assert token.signer == "CN=stamp"
    assert abs(token.at / 1e9 - time.time()) < 60
    with pytest.raises(TokenError, match="imprint"):
        check_response(response, b"another", trusted, 77)
    with pytest.raises(TokenError, match="nonce"):
        check_response(response, data, trusted, 78)
    with pytest.raises(TokenError, match="does not lead"):
        check_response(response, data, (authority / "other.pem").read_bytes(), 77)
    with pytest.raises(TokenError):
        check_response(response + b"\0", data, trusted)
    for at in range(0, len(response), 7):
        altered = bytearray(response)
        altered[at] ^= 1
        try:
            found = check_response(bytes(altered), data, trusted, 77)
        except TokenError:
            continue
        assert found == token, at  # a byte that nothing rests on (a status text, a tag's form)
    for cut in range(0, len(response), 41):
        with pytest.raises(TokenError):
            check_response(response[:cut], data, trusted)


def test_an_anchored_ledger_is_ok(
    tmp_path: Path, authority: Path, serving: Callable[[Answer], str]
) -> None:
    state = tmp_path / "state"
    record(state, NAMES[:1])
    ledger = ledger_directory(state)
    ca = authority / "ca.pem"
    tsa = serving(lambda _, body: (200, stamp(authority, body)))
    witness = Witness(read_key(ledger / "keys" / "log.key").public_key().public_bytes_raw())
    url = serving(witness)
    note = (ledger / "checkpoint").read_bytes()
    size = ask_authority(ledger, note, tsa, ca.read_bytes())
    assert ask_witness(ledger, note, url, witness.verifier) == size == witness.size
    options = ("--tsa-ca", str(ca)), ("--witness", witness.verifier)
    for option in options:
        code, found = verify(state, "--all", "--log", *option)
        assert code == 0
        assert {item["status"] for item in found.values()} == {"OK"}
        assert "anchored" in found[NAMES[0]]["scope"]
    assert verify(state, NAMES[0])[1][NAMES[0]]["status"] == "OK-UNANCHORED"
    wrong = ("--tsa-ca", str(authority / "other.pem"))
    assert verify(state, NAMES[0], *wrong)[1][NAMES[0]]["status"] == "OK-UNANCHORED"
    proof, trust, copy = tmp_path / "p.json", tmp_path / "root.pub", tmp_path / "copy.agr"
    assert main(["--dir", str(state), "proof", NAMES[0], "-o", str(proof)]) == 0
    shutil.copy(ledger / "root.pub", trust)
    shutil.copy(path_of(state, NAMES[0]), copy)
    given = ("--trust", str(trust), "--proof", str(proof))
    for option in options:
        _, found = verify(tmp_path, str(copy), *given, *option)
        assert found[NAMES[0]]["status"] == "OK"
    # What comes after the anchor is not covered by it.
    record(state, NAMES[1:2])
    _, found = verify(state, "--all", *options[0])
    assert [found[name]["status"] for name in NAMES[:2]] == ["OK", "OK-UNANCHORED"]
    # The witness is asked again: it says what it has, and gets a proof from there.
    later = (ledger / "checkpoint").read_bytes()
    assert ask_witness(ledger, later, url, witness.verifier) > size
    # The ledger is rolled back, and goes on another way: anchors contradict it.
    for path in (ledger / "anchors").iterdir():
        shutil.copy(path, tmp_path)
    assert load_root(trust)
    shutil.rmtree(state)
    record(state, NAMES[2:])
    shutil.copytree(tmp_path, ledger / "anchors", ignore=lambda *_: {"state"}, dirs_exist_ok=True)
    code, found = verify(state, "--all", *options[0])
    assert code in (4, 6)
    with pytest.raises(FetchError, match="status 403"):
        ask_witness(ledger, (ledger / "checkpoint").read_bytes(), url, witness.verifier)


def test_a_ledger_that_was_rolled_back_is_found_by_its_anchor(
    tmp_path: Path, authority: Path, serving: Callable[[Answer], str]
) -> None:
    state = tmp_path / "state"
    record(state, NAMES[:1])
    ledger = ledger_directory(state)
    old = shutil.copytree(state, tmp_path / "old")
    record(state, NAMES[1:])
    tsa = serving(lambda _, body: (200, stamp(authority, body)))
    ask_authority(
        ledger, (ledger / "checkpoint").read_bytes(), tsa, (authority / "ca.pem").read_bytes()
    )
    shutil.copytree(ledger / "anchors", ledger_directory(old) / "anchors")
    code, found = verify(old, "--all", "--tsa-ca", str(authority / "ca.pem"))
    assert code == 4
    assert "rolled back" in found["ledger"]["message"]
