"""The private key by which clients know an SSH listener."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from gateway.ssh_algorithms import fingerprint

_LEAST_RSA = 3072


@dataclass(frozen=True, slots=True)
class HostKey:
    """``private`` in OpenSSH's form, ``public`` as ``type base64``."""

    private: bytes = field(repr=False, compare=False)
    public: str

    @property
    def fingerprint(self) -> str:
        """``SHA256:...``, as ``ssh-keygen -l`` shows it."""
        return fingerprint(b64decode(self.public.split()[1]))


def make_host_key() -> HostKey:
    """A new one, Ed25519."""
    return _host_key(Ed25519PrivateKey.generate())


def load_host_key(source: str | Path | bytes) -> HostKey:
    """From a file (its path) or from the text of one: OpenSSH's form or PEM, without a
    passphrase; Ed25519, ECDSA, or RSA of 3072 bits and more.

    Raises OSError (the file) and ValueError (what is in it).
    """
    raw = source if isinstance(source, bytes) else Path(source).read_bytes()
    where = "the SSH host key" + ("" if isinstance(source, bytes) else f" in {source}")
    openssh = b"BEGIN OPENSSH PRIVATE KEY" in raw
    try:
        key = (load_ssh_private_key if openssh else load_pem_private_key)(raw, None)
    except TypeError:
        raise ValueError(f"{where} has a passphrase; the gateway can't ask for it") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"{where} is no private key of OpenSSH or in PEM") from None
    if isinstance(key, RSAPrivateKey):
        if key.key_size < _LEAST_RSA:
            raise ValueError(f"{where} is RSA of {key.key_size} bits; {_LEAST_RSA} are the least")
    elif not isinstance(key, Ed25519PrivateKey | EllipticCurvePrivateKey):
        raise ValueError(f"{where} is neither Ed25519 nor ECDSA nor RSA")
    return _host_key(key)


def _host_key(key: Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey) -> HostKey:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return HostKey(private, public.decode())
