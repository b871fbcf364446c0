"""The private key by which clients know an SSH listener."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from gateway.identity.public_keys import fingerprint
from gateway.key_file import PrivateKey, private_key

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
    """From a file (its path) or from the text of one; Ed25519, ECDSA, or RSA of 3072
    bits and more. Raises OSError (the file) and ValueError (what is in it)."""
    raw = source if isinstance(source, bytes) else Path(source).read_bytes()
    where = "the SSH host key" + ("" if isinstance(source, bytes) else f" in {source}")
    try:
        key = private_key(raw)
    except ValueError as error:
        raise ValueError(f"{where} {error}") from None
    if isinstance(key, RSAPrivateKey) and key.key_size < _LEAST_RSA:
        raise ValueError(f"{where} is RSA of {key.key_size} bits; {_LEAST_RSA} are the least")
    return _host_key(key)


def _host_key(key: PrivateKey) -> HostKey:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return HostKey(private, public.decode())
