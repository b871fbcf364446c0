"""TLS contexts in libpq's words, handshakes, and channel binding."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path

import trio
from pyasn1.codec.der import decoder
from pyasn1.error import PyAsn1Error
from pyasn1_modules import rfc5280

from gateway.leg import Leg, LegLost
from protocols.contract import Upgraded

# RFC 5929 section 4.1: the hash of the certificate's signature algorithm, but SHA-256
# where that is MD5 or SHA-1. Keyed by the OID of signatureAlgorithm.
_HASHES = {
    "1.2.840.113549.1.1.4": "sha256",  # md5WithRSAEncryption
    "1.2.840.113549.1.1.5": "sha256",  # sha1WithRSAEncryption
    "1.2.840.113549.1.1.11": "sha256",
    "1.2.840.113549.1.1.12": "sha384",
    "1.2.840.113549.1.1.13": "sha512",
    "1.2.840.113549.1.1.14": "sha224",
    "1.2.840.10045.4.1": "sha256",  # ecdsa-with-SHA1
    "1.2.840.10045.4.3.1": "sha224",
    "1.2.840.10045.4.3.2": "sha256",
    "1.2.840.10045.4.3.3": "sha384",
    "1.2.840.10045.4.3.4": "sha512",
}
_RSASSA_PSS = "1.2.840.113549.1.1.10"
_PSS_HASHES = {
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}


def server_context(certificate: Path, key: Path, alpn: str = "") -> ssl.SSLContext:
    """What a listener presents: TLS 1.2 or newer, no renegotiation, no tickets
    that outlive the process's own keys."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.load_cert_chain(certificate, key)
    if alpn:
        context.set_alpn_protocols([alpn])
    return context


def client_context(mode: str, ca: Path | None, alpn: str = "") -> ssl.SSLContext:
    """What the upstream is held to, by libpq's sslmode words. ``allow``,
    ``prefer`` and ``require`` encrypt without knowing to whom (``require``
    with a ``ca`` verifies the chain, as libpq does)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION
    context.check_hostname = mode == "verify-full"
    verify = mode in ("verify-ca", "verify-full") or (mode == "require" and ca is not None)
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    if ca is not None:
        context.load_verify_locations(ca)
    elif verify:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if alpn:
        context.set_alpn_protocols([alpn])
    return context


async def shake(
    leg: Leg, context: ssl.SSLContext, *, server_side: bool, name: str | None, unread: bytes = b""
) -> None:
    """Run the handshake to its end. Raises LegLost."""
    leg.start_tls(context, server_side=server_side, name=name, unread=unread)
    while True:
        done = leg.shake()
        while not leg.flush():
            await trio.lowlevel.wait_writable(leg.sock)
        if done:
            return
        await trio.lowlevel.wait_readable(leg.sock)


def upgraded(leg: Leg) -> Upgraded:
    """What a conversation may know of the TLS on ``leg``."""
    assert leg.tls is not None
    binding = None
    if not leg.tls.server_side:
        der = leg.tls.getpeercert(binary_form=True)
        if der is not None:
            binding = end_point_binding(der)
    return Upgraded(binding=binding, alpn=leg.tls.selected_alpn_protocol() or "")


def facts(leg: Leg) -> dict[str, object]:
    """What goes on record about the TLS of ``leg``."""
    assert leg.tls is not None
    cipher = leg.tls.cipher()
    der = leg.tls.getpeercert(binary_form=True)
    return {
        "version": leg.tls.version() or "",
        "cipher": cipher[0] if cipher else "",
        "alpn": leg.tls.selected_alpn_protocol() or "",
        "certificate_sha256": hashlib.sha256(der).hexdigest() if der else "",
    }


def end_point_binding(der: bytes) -> bytes | None:
    """tls-server-end-point of a DER certificate (RFC 5929 section 4.1).

    None for a signature algorithm without a single hash (Ed25519): SCRAM-PLUS
    is then not to be had, and which side insists decides.
    """
    try:
        certificate, _ = decoder.decode(der, asn1Spec=rfc5280.Certificate())
        algorithm = certificate["signatureAlgorithm"]
        oid = str(algorithm["algorithm"])
        if oid == _RSASSA_PSS:
            name = _pss_hash(bytes(algorithm["parameters"]))
        else:
            name = _HASHES.get(oid)
    except PyAsn1Error as error:
        raise LegLost("the upstream's certificate can't be parsed") from error
    return hashlib.new(name, der).digest() if name else None


def _pss_hash(parameters: bytes) -> str | None:
    """The hash named in RSASSA-PSS-params (RFC 4055 section 3.1); SHA-1 is the
    default there, which RFC 5929 turns into SHA-256."""
    sequence, _ = decoder.decode(parameters)
    if not len(sequence):
        return "sha256"
    return _PSS_HASHES.get(str(sequence[0][0]))
