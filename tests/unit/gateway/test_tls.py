"""Channel binding by RFC 5929, against certificates that openssl makes."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
from pathlib import Path

import pytest

from gateway.leg import LegLost
from gateway.tls import end_point_binding

CASES = [
    (["-newkey", "rsa:2048", "-sha256"], "sha256"),
    (["-newkey", "rsa:2048", "-sha1"], "sha256"),
    (["-newkey", "rsa:2048", "-sha384"], "sha384"),
    (["-newkey", "rsa:2048", "-sha512"], "sha512"),
    (["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-sha384"], "sha384"),
    (["-newkey", "rsa:2048", "-sha512", "-sigopt", "rsa_padding_mode:pss"], "sha512"),
    (["-newkey", "rsa:2048", "-sha256", "-sigopt", "rsa_padding_mode:pss"], "sha256"),
]


def make(folder: Path, arguments: list[str]) -> bytes:
    out = folder / "c.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-nodes", "-subj", "/CN=x", "-days", "1", *arguments,
         "-keyout", folder / "k.pem", "-out", out],
        check=True, capture_output=True,
    )  # fmt: skip
    return ssl.PEM_cert_to_DER_cert(out.read_text())


@pytest.mark.parametrize(("arguments", "name"), CASES)
def test_the_hash_is_that_of_the_signature(tmp_path: Path, arguments: list[str], name: str) -> None:
    der = make(tmp_path, arguments)
    assert end_point_binding(der) == hashlib.new(name, der).digest()


def test_ed25519_has_no_binding(tmp_path: Path) -> None:
    assert end_point_binding(make(tmp_path, ["-newkey", "ed25519"])) is None


def test_rubbish_is_the_upstreams_fault() -> None:
    with pytest.raises(LegLost):
        end_point_binding(b"\x30\x03\x02\x01")
