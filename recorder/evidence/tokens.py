"""RFC 3161: requests for time stamps, and the full check of what comes back.

A response holds if its token is a CMS SignedData over a TSTInfo whose imprint
is SHA-256 of our data (and whose nonce is ours, where we know it), signed by a
certificate that is for time stamping and nothing else, that the token names by
its hash (RFC 2634, 5035), and that leads to an authority we were given, all
valid at the time that the token tells.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from pyasn1.codec.der import decoder, encoder
from pyasn1.error import PyAsn1Error
from pyasn1.type import univ, useful
from pyasn1_modules import rfc3161, rfc5035, rfc5652

_SHA256 = univ.ObjectIdentifier("2.16.840.1.101.3.4.2.1")
_HASHES: dict[str, Any] = {
    "2.16.840.1.101.3.4.2.1": hashes.SHA256,
    "2.16.840.1.101.3.4.2.2": hashes.SHA384,
    "2.16.840.1.101.3.4.2.3": hashes.SHA512,
}
_TST_INFO = univ.ObjectIdentifier("1.2.840.113549.1.9.16.1.4")
_RESPONSE_MAX = 1 << 18
_CHAIN_MAX = 6


class TokenError(ValueError):
    """A time stamp that does not hold, and why."""


class Token(NamedTuple):
    """``at``: what it says, in Unix nanoseconds; ``signer``: who says it."""

    at: int
    signer: str


def request(data: bytes, nonce: int) -> bytes:
    """A TimeStampReq over SHA-256 of ``data``, which asks for the certificate."""
    made = rfc3161.TimeStampReq()
    made["version"] = 1
    made["messageImprint"]["hashAlgorithm"]["algorithm"] = _SHA256
    made["messageImprint"]["hashAlgorithm"]["parameters"] = univ.Any(encoder.encode(univ.Null("")))
    made["messageImprint"]["hashedMessage"] = sha256(data).digest()
    made["nonce"] = nonce
    made["certReq"] = True
    return bytes(encoder.encode(made))


_MALFORMED = (
    PyAsn1Error, ValueError, LookupError, TypeError, AttributeError, ArithmeticError,
    RecursionError, UnsupportedAlgorithm, x509.ExtensionNotFound, x509.DuplicateExtension,
    x509.InvalidVersion, x509.UnsupportedGeneralNameType,
)  # fmt: skip
"""What the libraries raise about bytes that are none of theirs."""


def check_response(raw: bytes, data: bytes, authorities: bytes, nonce: int | None = None) -> Token:
    """What a TimeStampResp says of ``data``; ``authorities`` are certificates in
    PEM. ``TokenError`` unless all of it holds."""
    if len(raw) > _RESPONSE_MAX:
        raise TokenError("it is too long")
    try:
        return _check(raw, data, x509.load_pem_x509_certificates(authorities), nonce)
    except TokenError:
        raise
    except InvalidSignature as error:
        raise TokenError("its signature is false") from error
    except _MALFORMED as error:
        raise TokenError(f"it is malformed ({type(error).__name__})") from error


def _decode(raw: bytes, kind: Any) -> Any:
    found, rest = decoder.decode(raw, asn1Spec=kind)
    if rest:
        raise TokenError("something follows it")
    return found


def _check(
    raw: bytes, data: bytes, authorities: list[x509.Certificate], nonce: int | None
) -> Token:
    response = _decode(raw, rfc3161.TimeStampResp())
    if int(response["status"]["status"]) not in (0, 1):
        raise TokenError("the authority did not grant it")
    token = response["timeStampToken"]
    if not token.isValue or token["contentType"] != rfc5652.id_signedData:
        raise TokenError("it holds no token")
    signed = _decode(bytes(token["content"]), rfc5652.SignedData())
    content = signed["encapContentInfo"]
    if content["eContentType"] != _TST_INFO:
        raise TokenError("it signs no time stamp")
    body = bytes(content["eContent"])
    info = _decode(body, rfc3161.TSTInfo())
    imprint = info["messageImprint"]
    if imprint["hashAlgorithm"]["algorithm"] != _SHA256:
        raise TokenError("its imprint is by another hash")
    if bytes(imprint["hashedMessage"]) != sha256(data).digest():
        raise TokenError("its imprint is of something else")
    if nonce is not None and (not info["nonce"].isValue or int(info["nonce"]) != nonce):
        raise TokenError("its nonce is not ours")
    at = _instant(info["genTime"])
    certificates = [
        x509.load_der_x509_certificate(bytes(encoder.encode(item["certificate"])))
        for item in signed["certificates"]
        if item.getName() == "certificate"
    ]
    if len(signed["signerInfos"]) != 1:
        raise TokenError("it has not one signer")
    signer = _signer(signed["signerInfos"][0], body, certificates)
    _check_usage(signer)
    _check_chain(signer, certificates, authorities, at)
    return Token(round(at.timestamp() * 1e9), signer.subject.rfc4514_string())


def _instant(value: useful.GeneralizedTime) -> datetime:
    found: datetime = value.asDateTime
    if not str(value).endswith("Z"):
        raise TokenError("its time is not in UTC")
    return found.astimezone(UTC)


def _signer(info: Any, body: bytes, certificates: list[x509.Certificate]) -> x509.Certificate:
    """The certificate by which the token is signed."""
    attributes: dict[str, bytes] = {}
    for item in info["signedAttrs"]:
        name = str(item["attrType"])
        if name in attributes or len(item["attrValues"]) != 1:
            raise TokenError("a signed attribute is there twice")
        attributes[name] = bytes(item["attrValues"][0])
    kind = _HASHES[str(info["digestAlgorithm"]["algorithm"])]
    digest = hashes.Hash(kind())
    digest.update(body)
    said = _decode(attributes["1.2.840.113549.1.9.4"], univ.OctetString())
    if bytes(said) != digest.finalize():
        raise TokenError("its digest is not that of its content")
    said = _decode(attributes["1.2.840.113549.1.9.3"], univ.ObjectIdentifier())
    if said != _TST_INFO:
        raise TokenError("it is signed as something else")
    wanted, function = _named_certificate(attributes)
    found = [c for c in certificates if c.fingerprint(function) == wanted]
    if not found:
        raise TokenError("the signer's certificate is not in it")
    signer = found[0]
    name = info["sid"]["issuerAndSerialNumber"]
    if name.isValue and int(name["serialNumber"]) != signer.serial_number:
        raise TokenError("it names another signer's certificate")
    # Signed is the set, not the [0] that it is stored as (RFC 5652, 5.4).
    plain = rfc5652.SignedAttributes()
    for index, item in enumerate(info["signedAttrs"]):
        plain[index] = item
    _check_signature(signer, bytes(info["signature"]), bytes(encoder.encode(plain)), kind())
    return signer


def _named_certificate(attributes: dict[str, bytes]) -> tuple[bytes, hashes.HashAlgorithm]:
    """signingCertificateV2, or the older one, whose hash is SHA-1."""
    newer = attributes.get("1.2.840.113549.1.9.16.2.47")
    if newer is not None:
        first = _decode(newer, rfc5035.SigningCertificateV2())["certs"][0]
        algorithm = first["hashAlgorithm"]["algorithm"]
        kind = _HASHES[str(algorithm)] if algorithm.isValue else hashes.SHA256
        return bytes(first["certHash"]), kind()
    older = attributes.get("1.2.840.113549.1.9.16.2.12")
    if older is None:
        raise TokenError("it does not name its signer's certificate")
    first = _decode(older, rfc5035.SigningCertificate())["certs"][0]
    return bytes(first["certHash"]), hashes.SHA1()


def _check_signature(
    signer: x509.Certificate, signature: bytes, message: bytes, kind: hashes.HashAlgorithm
) -> None:
    key = signer.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < 2048:
            raise TokenError("its signer's key is too short")
        key.verify(signature, message, padding.PKCS1v15(), kind)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, message, ec.ECDSA(kind))
    elif isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(signature, message)
    else:
        raise TokenError("its signer's key is of an unknown kind")


def _check_usage(signer: x509.Certificate) -> None:
    usage = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    if not usage.critical or list(usage.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        raise TokenError("its signer's certificate is not for time stamping alone")


def _check_chain(
    signer: x509.Certificate,
    certificates: list[x509.Certificate],
    authorities: list[x509.Certificate],
    at: datetime,
) -> None:
    """From the signer to an authority, each valid at that time."""
    here = signer
    for depth in range(_CHAIN_MAX):
        if not here.not_valid_before_utc <= at <= here.not_valid_after_utc:
            raise TokenError("a certificate was not valid at its time")
        if here in authorities:
            return
        issuer = _issuer(here, authorities, depth) or _issuer(here, certificates, depth)
        if issuer is None:
            break
        here = issuer
    raise TokenError("its signer does not lead to an authority that is trusted")


def _issuer(
    of: x509.Certificate, among: list[x509.Certificate], below: int
) -> x509.Certificate | None:
    for one in among:
        if one.subject != of.issuer or one == of:
            continue
        try:
            of.verify_directly_issued_by(one)
            limits = one.extensions.get_extension_for_class(x509.BasicConstraints).value
        except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            continue
        if not limits.ca or (limits.path_length is not None and limits.path_length < below):
            continue
        try:
            usage = one.extensions.get_extension_for_class(x509.KeyUsage).value
        except x509.ExtensionNotFound:
            return one
        if usage.key_cert_sign:
            return one
    return None
