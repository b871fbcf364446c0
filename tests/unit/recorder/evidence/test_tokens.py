"""Time stamps by signers who may not give them: ``openssl cms`` signs what ``openssl ts``
would refuse to."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pyasn1.codec.der import encoder
from pyasn1.type import univ, useful
from pyasn1_modules import rfc3161

from recorder.evidence.tokens import TokenError, check_response

NOW = datetime.now(UTC).replace(microsecond=0)
DATA = b"a checkpoint"
STAMPING = [ExtendedKeyUsageOID.TIME_STAMPING]
SERVING = [ExtendedKeyUsageOID.SERVER_AUTH]


class Holder(NamedTuple):
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def holder(
    name: str, issuer: Holder | None = None, *, ca: bool | None = None, path: int | None = None,
    usage: list[x509.ObjectIdentifier] | None = None, critical: bool = True, days: int = 0,
    signs: bool = True,
) -> Holder:  # fmt: skip
    """Somebody with a certificate; valid for two days from ``days`` before or after yesterday."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    by = issuer or Holder(None, key)  # type: ignore[arg-type]
    begin = NOW - timedelta(days=1) + timedelta(days=days)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=2))
    )
    if ca is not None:
        made = made.add_extension(x509.BasicConstraints(ca, path if ca else None), critical=True)
        use = dict.fromkeys(
            ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
             "key_agreement", "crl_sign", "encipher_only", "decipher_only"), False,
        )  # fmt: skip
        made = made.add_extension(x509.KeyUsage(key_cert_sign=signs, **use), critical=True)
    if usage is not None:
        made = made.add_extension(x509.ExtendedKeyUsage(usage), critical=critical)
    return Holder(made.sign(by.key, hashes.SHA256()), key)


def pem(*holders: Holder) -> bytes:
    return b"".join(one.certificate.public_bytes(Encoding.PEM) for one in holders)


def der(tag: int, content: bytes) -> bytes:
    size = len(content)
    length = size.to_bytes((size.bit_length() + 7) // 8 or 1, "big")
    return bytes([tag]) + (length if size < 128 else bytes([128 + len(length)]) + length) + content


Stamp = Callable[..., bytes]


@pytest.fixture
def stamp(tmp_path: Path) -> Stamp:
    """A whole TimeStampResp over ``data``."""

    def made(by: Holder, *others: Holder, data: bytes = DATA, at: datetime = NOW) -> bytes:
        info = rfc3161.TSTInfo()
        info["version"] = 1
        info["policy"] = univ.ObjectIdentifier("1.2.3.4.1")
        algorithm = univ.ObjectIdentifier("2.16.840.1.101.3.4.2.1")
        info["messageImprint"]["hashAlgorithm"]["algorithm"] = algorithm
        info["messageImprint"]["hashedMessage"] = sha256(data).digest()
        info["serialNumber"] = 1
        info["genTime"] = useful.GeneralizedTime(f"{at:%Y%m%d%H%M%SZ}")
        (tmp_path / "info").write_bytes(encoder.encode(info))
        secret = by.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / "key").write_bytes(secret)
        (tmp_path / "cert").write_bytes(pem(by))
        (tmp_path / "more").write_bytes(pem(*others))
        more = ["-certfile", "more"] if others else []
        subprocess.run(
            ["openssl", "cms", "-sign", "-binary", "-nodetach", "-cades", "-nosmimecap",
             "-econtent_type", "1.2.840.113549.1.9.16.1.4", "-md", "sha256", "-in", "info",
             "-signer", "cert", "-inkey", "key", *more, "-outform", "DER", "-out", "token"],
            cwd=tmp_path, check=True, capture_output=True,
        )  # fmt: skip
        return der(0x30, der(0x30, der(2, b"\0")) + (tmp_path / "token").read_bytes())

    return made


@pytest.fixture(scope="module")
def authority() -> Holder:
    return holder("ca", ca=True)


def test_a_good_one(stamp: Stamp, authority: Holder) -> None:
    signer = holder("stamp", authority, usage=STAMPING)
    token = check_response(stamp(signer), DATA, pem(authority))
    assert (token.signer, token.at) == ("CN=stamp", int(NOW.timestamp()) * 1_000_000_000)
    with pytest.raises(TokenError, match="imprint"):
        check_response(stamp(signer, data=b"another checkpoint"), DATA, pem(authority))


def test_certificates_too_many(stamp: Stamp, authority: Holder) -> None:
    """Whatever else is in it neither helps nor harms."""
    signer = holder("stamp", authority, usage=STAMPING)
    impostor = holder("ca", ca=True)
    extra = [impostor, holder("stamp", impostor, usage=STAMPING), authority, holder("x")]
    assert check_response(stamp(signer, *extra), DATA, pem(authority)).signer == "CN=stamp"
    assert check_response(stamp(signer, *extra), DATA, pem(impostor, authority))
    other = holder("stamp", impostor, usage=STAMPING)
    with pytest.raises(TokenError, match="does not lead"):
        check_response(stamp(other, authority, impostor, signer), DATA, pem(authority))
    with pytest.raises(TokenError, match="does not lead"):
        check_response(stamp(other), DATA, pem(authority))


@pytest.mark.parametrize(
    ("usage", "critical", "why"),
    [(SERVING, True, "time stamping"), ([*STAMPING, *SERVING], True, "time stamping"),
     (STAMPING, False, "time stamping"), (None, True, "malformed")],
)  # fmt: skip
def test_a_signer_for_something_else(
    stamp: Stamp, authority: Holder, usage: list[x509.ObjectIdentifier], critical: bool, why: str
) -> None:
    signer = holder("stamp", authority, usage=usage, critical=critical)
    with pytest.raises(TokenError, match=why):
        check_response(stamp(signer), DATA, pem(authority))


@pytest.mark.parametrize("days", [-30, 30])
def test_a_signer_or_authority_at_another_time(stamp: Stamp, authority: Holder, days: int) -> None:
    signer = holder("stamp", authority, usage=STAMPING, days=days)
    with pytest.raises(TokenError, match="not valid at its time"):
        check_response(stamp(signer), DATA, pem(authority))
    # It is the token's time that counts, for all of the chain.
    then = NOW + timedelta(days=days)
    with pytest.raises(TokenError, match="not valid at its time"):
        check_response(stamp(signer, at=then), DATA, pem(authority))
    old = holder("ca", ca=True, days=days)
    signer = holder("stamp", old, usage=STAMPING, days=days)
    assert check_response(stamp(signer, at=then), DATA, pem(old)).signer == "CN=stamp"


def test_authorities_in_between(stamp: Stamp, authority: Holder) -> None:
    between = holder("between", authority, ca=True)
    signer = holder("stamp", between, usage=STAMPING)
    assert check_response(stamp(signer, between), DATA, pem(authority)).signer == "CN=stamp"
    with pytest.raises(TokenError, match="does not lead"):
        check_response(stamp(signer), DATA, pem(authority))  # it is not in it
    for wrong in (
        holder("between", authority, usage=STAMPING),  # no authority
        holder("between", authority, ca=False),
        holder("between", authority, ca=True, signs=False),  # not for certificates
    ):
        signer = holder("stamp", wrong, usage=STAMPING)
        with pytest.raises(TokenError, match="does not lead"):
            check_response(stamp(signer, wrong), DATA, pem(authority))
    # One that may have none below it.
    last = holder("last", authority, ca=True, path=0)
    below = holder("below", last, ca=True)
    signer = holder("stamp", below, usage=STAMPING)
    with pytest.raises(TokenError, match="does not lead"):
        check_response(stamp(signer, below, last), DATA, pem(authority))
