"""Auditors' keys: X25519 pairs in PEM files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)


def key_id(key: X25519PublicKey) -> str:
    """The name of a public key: 16 hex digits of its SHA-256."""
    return hashlib.sha256(b"wirewarden auditor\0" + key.public_bytes_raw()).hexdigest()[:16]


def new_pair(directory: Path, name: str = "auditor") -> tuple[Path, Path]:
    """Write ``name.key`` (mode 0600) and ``name.pub``; never overwrites."""
    directory.mkdir(parents=True, exist_ok=True)
    private, public = directory / f"{name}.key", directory / f"{name}.pub"
    key = X25519PrivateKey.generate()
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    shown = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for path, text, mode in ((private, secret, 0o600), (public, shown, 0o644)):
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(text)
    return private, public


def load_public(path: Path) -> X25519PublicKey:
    """Read a ``.pub`` file; ``ValueError`` when it is no X25519 public key."""
    key = load_pem_public_key(path.read_bytes())
    if not isinstance(key, X25519PublicKey):
        raise ValueError(f"{path}: not an X25519 public key")
    return key


def load_private(path: Path) -> X25519PrivateKey:
    """Read a ``.key`` file; ``ValueError`` when it is no X25519 private key."""
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, X25519PrivateKey):
        raise ValueError(f"{path}: not an X25519 private key")
    return key
