"""Public keys as OpenSSH writes them: ``type base64 comment`` (sshd(8), AUTHORIZED_KEYS)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

KINDS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
RSA_BITS = 3072
"""The least for keys of principals: NIST SP 800-57, 128 bits of strength."""
HOST_RSA_BITS = 2048
"""The least for an upstream's host key, which is not ours to choose."""

_LINE = re.compile(r"([a-z0-9@.-]{1,64})[ \t]+([A-Za-z0-9+/]{16,24000}={0,2})(?:[ \t]+(.*))?")


class KeyInvalid(ValueError):
    """Not a public key that is taken. The message continues a sentence about it."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """``blob`` is RFC 4253 section 6.6's form, by which keys are compared."""

    kind: str
    blob: bytes

    @property
    def line(self) -> str:
        """The one spelling without a comment."""
        return f"{self.kind} {base64.b64encode(self.blob).decode()}"

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.blob)


def fingerprint(blob: bytes) -> str:
    """As ``ssh-keygen -l`` prints it: ``SHA256:`` and base64 without padding."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def kind_of(blob: bytes) -> str:
    """The first string of a key's or certificate's blob, "" for what can't be one."""
    size = int.from_bytes(blob[:4], "big")
    if not 0 < size <= 64 or len(blob) < 4 + size:
        return ""
    try:
        return blob[4 : 4 + size].decode("ascii")
    except UnicodeDecodeError:
        return ""


def public_key(line: str, least_rsa: int = RSA_BITS) -> PublicKey:
    """The key of one line; KeyInvalid for certificates, options before the key,
    kinds that nobody should use any more, and RSA of fewer bits than ``least_rsa``."""
    found = _LINE.fullmatch(line.strip())
    if found is None:
        raise KeyInvalid('is not a public key such as "ssh-ed25519 AAAA... comment"')
    kind = found[1]
    if "-cert-v01@" in kind:
        raise KeyInvalid("is a certificate, and not a key")
    if kind not in KINDS:
        raise KeyInvalid(f'is of the kind "{kind}", and not one of {", ".join(KINDS)}')
    try:
        blob = base64.b64decode(found[2], validate=True)
        key = load_ssh_public_key(f"{kind} {found[2]}".encode())
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        raise KeyInvalid("is not a whole public key") from None
    if isinstance(key, RSAPublicKey) and key.key_size < least_rsa:
        raise KeyInvalid(f"is RSA of {key.key_size} bits, and takes {least_rsa} or more")
    return PublicKey(kind, blob)
