"""Row 86 of THREATS.md: where keys come from, over a real HTTP server."""

from __future__ import annotations

import json
import os
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import forge
import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from forge import EC, ED, NOW, RSA, RSA_OTHER, token

from gateway.identity.errors import Refused
from gateway.identity.jwks import LIMIT, JwksInvalid, read_jwks
from gateway.identity.oidc import Issuers
from gateway.identity.sources import FileKeys, UrlKeys
from gateway.identity.strict_json import loads
from gateway.world import FixedWorld


class Site:
    """What the server answers, and what it was asked."""

    def __init__(self) -> None:
        self.body = forge.jwks(RSA)
        self.status = 200
        self.headers: dict[str, str] = {}
        self.asked: list[str] = []
        self.release = threading.Event()
        self.release.set()
        self.url = ""
        self.drip: tuple[bytes, float] | None = None
        self.sent = 0


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Site]:
    site = Site()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(self.path)
            site.release.wait(20)
            self.send_response(site.status)
            for name, value in site.headers.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):
                while site.drip and site.sent < 64 * LIMIT:
                    self.wfile.write(site.drip[0])
                    site.sent += len(site.drip[0])
                    if site.release.wait(20):
                        time.sleep(site.drip[1])
                self.wfile.write(site.body)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    site.url = f"http://127.0.0.1:{server.server_address[1]}/jwks"
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        site.url = site.url.replace("http:", "https:")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield site
    finally:
        site.release.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as one:
        yield one


def kids(source: FileKeys | UrlKeys, kid: str = "") -> set[str] | None:
    async def run() -> set[str] | None:
        found = await source.keys(kid)
        return None if found is None else {k.kid for k in found.keys}

    return trio.run(run)


def test_a_url_is_fetched_once_and_kept(site: Site) -> None:
    source = UrlKeys(site.url, FixedWorld())
    assert kids(source, "rsa-1") == {"rsa-1"}
    assert kids(source, "rsa-1") == {"rsa-1"}
    assert len(site.asked) == 1


def test_rotation_is_noticed_and_a_flood_of_key_ids_is_not_a_flood_of_fetches(site: Site) -> None:
    world = FixedWorld()
    source = UrlKeys(site.url, world)
    assert kids(source, "rsa-1") == {"rsa-1"}
    site.body = forge.jwks(RSA, EC)
    for n in range(50):
        assert kids(source, f"made-up-{n}") == {"rsa-1"}
    assert len(site.asked) == 1
    world.pass_time(61)
    assert kids(source, "ec-1") == {"rsa-1", "ec-1"}
    for n in range(50):
        kids(source, f"made-up-{n}")
    assert len(site.asked) == 2


def test_a_withdrawn_key_goes_with_the_next_fetch(site: Site) -> None:
    world = FixedWorld()
    source = UrlKeys(site.url, world)
    site.body = forge.jwks(RSA, EC)
    assert kids(source) == {"rsa-1", "ec-1"}
    site.body = forge.jwks(EC)
    world.pass_time(601)
    assert kids(source, "ec-1") == {"ec-1"}


def test_an_outage_keeps_the_keys_for_a_day(site: Site) -> None:
    world = FixedWorld()
    source = UrlKeys(site.url, world)
    assert kids(source) == {"rsa-1"}
    site.status = 503
    world.pass_time(3600)
    assert kids(source) == {"rsa-1"}
    assert len(site.asked) == 2
    world.pass_time(24 * 3600)
    assert kids(source) is None


def test_no_keys_at_first_is_tried_again_soon(site: Site) -> None:
    world = FixedWorld()
    site.status = 500
    source = UrlKeys(site.url, world)
    assert kids(source) is None
    assert kids(source) is None
    assert len(site.asked) == 1
    site.status = 200
    world.pass_time(6)
    assert kids(source) == {"rsa-1"}


def test_row_86_redirects_are_not_followed(site: Site) -> None:
    with serving() as other:
        site.status, site.headers = 302, {"Location": other.url}
        assert kids(UrlKeys(site.url, FixedWorld())) is None
        assert site.asked
        assert not other.asked


def test_row_86_a_huge_set_stops_at_the_cap(site: Site) -> None:
    site.drip = (b" " * (LIMIT // 4), 0.0)
    assert kids(UrlKeys(site.url, FixedWorld())) is None
    assert site.sent < 32 * LIMIT  # what the sockets' buffers took


def test_row_86_compression_is_refused(site: Site) -> None:
    site.headers = {"Content-Encoding": "gzip"}
    assert kids(UrlKeys(site.url, FixedWorld())) is None


def test_row_86_a_slow_server_does_not_hold_a_session(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.identity.sources._TIMEOUT", 0.2)
    site.release.clear()
    assert kids(UrlKeys(site.url, FixedWorld())) is None
    # A byte now and then keeps every single read within its time.
    site.release.set()
    site.drip = (b" ", 0.05)
    started = time.monotonic()
    assert kids(UrlKeys(site.url, FixedWorld())) is None
    assert time.monotonic() - started < 2
    site.drip = None


def certificate(home: Path, name: str) -> Path:
    """A self-signed certificate for ``name`` (an IP address), with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(name))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .sign(key, hashes.SHA256())
    )
    where = home / f"{name}.pem"
    where.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return where


@pytest.mark.parametrize("name", ["127.0.0.1", "127.0.0.2"])
def test_https_is_verified(tmp_path: Path, name: str) -> None:
    """The server at 127.0.0.1 shows a certificate for ``name``."""
    pem = certificate(tmp_path, name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with serving(context) as site:
        assert kids(UrlKeys(site.url, FixedWorld())) is None  # not the system's
        trusted = kids(UrlKeys(site.url, FixedWorld(), pem))
        assert trusted == ({"rsa-1"} if name == "127.0.0.1" else None)


def test_no_proxy_is_taken_from_the_environment(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        assert kids(UrlKeys(site.url, FixedWorld())) == {"rsa-1"}
        assert not proxy.asked


def test_many_sessions_make_one_fetch(site: Site) -> None:
    source = UrlKeys(site.url, FixedWorld())

    async def run() -> int:
        found = []

        async def one() -> None:
            found.append(await source.keys("rsa-1"))

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(one)
        return sum(f is not None for f in found)

    assert trio.run(run) == 20
    assert len(site.asked) == 1


def test_a_session_that_comes_during_the_first_fetch_waits_for_it(site: Site) -> None:
    source = UrlKeys(site.url, FixedWorld())
    site.release.clear()

    async def run() -> int:
        found = []

        async def one() -> None:
            found.append(await source.keys("rsa-1"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            while not site.asked:
                await trio.sleep(0.01)
            nursery.start_soon(one)
            await trio.sleep(0.05)
            site.release.set()
        return sum(f is not None for f in found)

    assert trio.run(run) == 2
    assert len(site.asked) == 1


def test_a_token_verifies_over_http(site: Site) -> None:
    at = Issuers({"example": forge.issuer(url=site.url)}, FixedWorld(NOW + 10))

    async def run(text: str) -> str:
        return (await at.verify(text)).principal.subject

    assert trio.run(run, token()) == "repo:a/b"
    with pytest.raises(Refused, match="signature"):
        trio.run(run, token(key=RSA_OTHER))
    site.status = 500
    assert trio.run(run, token()) == "repo:a/b"


def test_keys_that_cannot_be_had_refuse_and_say_so(tmp_path: Path) -> None:
    at = Issuers({"example": forge.issuer(tmp_path / "none.json")}, FixedWorld(NOW + 10))

    async def run() -> None:
        await at.verify(token())

    with pytest.raises(Refused) as caught:
        trio.run(run)
    assert caught.value.public == "the issuer's keys can't be had at the moment"


def test_a_file_is_read_again_when_it_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    where = tmp_path / "jwks.json"
    where.write_bytes(forge.jwks(RSA))
    source = FileKeys(where)
    assert kids(source) == {"rsa-1"}
    where.write_bytes(forge.jwks(EC))
    assert kids(source) == {"ec-1"}
    where.write_text("{")
    assert kids(source) == {"ec-1"}
    caplog.clear()
    os.unlink(where)
    assert kids(source) == kids(source) == {"ec-1"}
    assert len(caplog.records) == 1
    where.write_bytes(forge.jwks(ED))
    assert kids(source) == {"ed-1"}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": []}',
        b'{"keys": [], "keys": []}',
        b'{"keys": [1, null, {}, {"kty": 5}, {"kty": "RSA"}, {"kty": "RSA", "n": 5, "e": []}]}',
        b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}',
        b'{"keys": [' + b"{}," * 300 + b"{}]}",
        b"[" * 100_000,
        b"\xff\xfe",
        b" " * (LIMIT + 1),
    ],
)
def test_sets_that_are_none(raw: bytes) -> None:
    with pytest.raises(JwksInvalid):
        read_jwks(raw)


@pytest.mark.parametrize(
    "change",
    [{"use": "enc"}, {"alg": "RS512"}, {"alg": "HS256"}, {"key_ops": ["encrypt"]}, {"kid": 5}],
)
def test_keys_for_other_uses_are_left_aside(change: dict[str, Any]) -> None:
    with pytest.raises(JwksInvalid):
        read_jwks(forge.jwks(RSA, **change))
    assert len(read_jwks(forge.jwks(RSA)).keys) == 1


@pytest.mark.parametrize("text", ['{"a": 1, "a": 1}', "NaN", "-Infinity", "1e999", "[-1e999]"])
def test_json_of_two_meanings(text: str) -> None:
    with pytest.raises(ValueError):
        loads(text)
    assert loads('{"a": [1.5, {"a": null}]}') == {"a": [1.5, {"a": None}]}


def test_a_private_key_in_a_set_is_an_alarm() -> None:
    raw = json.dumps({"keys": [RSA.as_dict(private=True)]}).encode()
    with pytest.raises(JwksInvalid, match="private"):
        read_jwks(raw)


def test_two_keys_of_one_kid_and_kind_are_nobody() -> None:
    found = read_jwks(forge.jwks(RSA, RSA_OTHER, ED))
    assert found.find("rsa-1", "RS256") is None
    assert found.find("ed-1", "EdDSA") is not None
