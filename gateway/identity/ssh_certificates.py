"""Checks a client's OpenSSH certificate (PROTOCOL.certkeys), whole, before it counts.

Whatever speaks SSH has verified that the client holds the private key; everything
else is here: who signed, for whom, when, from where. A library's own checks ask for
other things (a principal that is the login name), so they don't count.
"""

from __future__ import annotations

import base64
import ipaddress
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    SSHCertificate,
    SSHCertificateType,
    load_ssh_public_identity,
)

from gateway.addresses import ip_of
from gateway.identity.errors import Refused
from gateway.identity.public_keys import RSA_BITS, kind_of
from gateway.identity.ssh_ca import EXTENSION, MOST_TTL, SKEW, name_of
from gateway.identity.strict_json import loads
from gateway.policy.principal import Principal

SUFFIX = "-cert-v01@openssh.com"
LIMIT = 64 << 10
"""Bytes of a certificate."""
_MOST_NETWORKS = 64
_STALE = "the certificate has expired or does not count yet"


@dataclass(frozen=True, slots=True)
class Read:
    """What a good certificate says."""

    principal: Principal
    serial: int
    key_id: str


def is_certificate(blob: bytes) -> bool:
    return kind_of(blob).endswith(SUFFIX)


def read_certificate(blob: bytes, authority: bytes, now: float, peer: str) -> Read:
    """The principal that ``blob`` speaks for at the Unix second ``now``, for a client at
    the IP address ``peer``. ``authority`` is the 32 bytes of our public key. Refused
    for all that PROTOCOL.certkeys forbids, and all that we never issue."""
    certificate = _parsed(blob)
    _signed(certificate, authority)
    if certificate.type is not SSHCertificateType.USER:
        raise Refused("a certificate for hosts")
    first, last = certificate.valid_after, certificate.valid_before
    if not first <= now < last:
        raise Refused("a certificate that has expired or does not count yet", _STALE)
    if last - first > MOST_TTL + SKEW:
        raise Refused("a certificate that lives longer than any that is issued")
    key = certificate.public_key()
    if isinstance(key, RSAPublicKey) and key.key_size < RSA_BITS:
        raise Refused(f"a certificate of an RSA key of {key.key_size} bits")
    _critical(certificate.critical_options, peer)
    principal = _principal(certificate.extensions.get(EXTENSION), float(last))
    names = certificate.valid_principals
    if len(names) != 1 or names[0] != name_of(principal.subject).encode():
        raise Refused("a certificate whose principals are not just the one inside")
    return Read(principal, certificate.serial, certificate.key_id.decode("utf-8", "replace"))


def _parsed(blob: bytes) -> SSHCertificate:
    kind = kind_of(blob)
    if not kind.endswith(SUFFIX) or len(blob) > LIMIT:
        raise Refused("no certificate, or one that is too long")
    line = f"{kind} ".encode() + base64.b64encode(blob)
    try:
        read = load_ssh_public_identity(line)
    except Exception:  # a foreign parser on a stranger's bytes: whatever it meets, no
        raise Refused(f"a certificate that can't be read, of the kind {kind!r}") from None
    if not isinstance(read, SSHCertificate):
        raise Refused("a key that calls itself a certificate")
    return read


def _signed(certificate: SSHCertificate, authority: bytes) -> None:
    try:
        signer = certificate.signature_key()
        ours = isinstance(signer, Ed25519PublicKey) and signer.public_bytes_raw() == authority
    except Exception:
        # Signed by a certificate, or by a key of a kind that nobody knows.
        ours = False
    if not ours:
        raise Refused("a certificate of another authority")
    try:
        certificate.verify_cert_signature()
    except InvalidSignature:
        raise Refused("a certificate with a false signature") from None


def _critical(options: dict[bytes, bytes], peer: str) -> None:
    for name, value in options.items():
        if name != b"source-address":
            raise Refused(f"a certificate with the critical option {name[:40]!r}")
        if not _within(value, peer):
            raise Refused(
                "a certificate for other addresses",
                "the certificate does not count at your address",
            )


def _within(value: bytes, peer: str) -> bool:
    ip = ip_of(peer)
    try:
        texts = value.decode("ascii").split(",")
        networks = [ipaddress.ip_network(text) for text in texts[: _MOST_NETWORKS + 1]]
    except ValueError:
        return False
    return ip is not None and len(texts) <= _MOST_NETWORKS and any(ip in n for n in networks)


def _principal(inside: bytes | None, expires: float) -> Principal:
    if inside is None:
        raise Refused("a certificate without a principal of this gateway")
    try:
        plain: Any = loads(inside.decode("utf-8"))
        if plain["version"] != 1:
            raise ValueError
        texts = [plain[key] for key in ("subject", "issuer", "kind", "run")]
        groups, tags, claims = plain["groups"], plain["tags"], plain["claims"]
        if not all(isinstance(text, str) for text in (*texts, *groups)):
            raise ValueError
        for table in (tags, claims):
            if not all(isinstance(text, str) for text in (*table, *table.values())):
                raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Refused("a certificate whose principal can't be read") from None
    subject, issuer, kind, run = texts
    if not subject:
        raise Refused("a certificate for nobody")
    return Principal(subject, issuer, kind, frozenset(groups), run, tags, claims, expires)
