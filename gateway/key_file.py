"""Private keys: the gateway's own, each in a file that only its owner reads, and
what may serve as one at all.

The gateway's own are made on first use, by whichever process comes first; the
others read that one.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from recorder.segment import fsync_directory

PrivateKey: TypeAlias = "Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey"

HOST_KEY = "ssh_host_ed25519_key"
"""The file in the state directory for listeners that name none."""
_LIMIT = 64 << 10
_OPENSSH = b"-----BEGIN OPENSSH PRIVATE KEY-----"


class KeyFileError(Exception):
    """The key can't be had, and why. Never quotes it."""


def private_key(raw: bytes) -> PrivateKey:
    """The key that ``raw`` writes in OpenSSH's or PEM's form; ValueError, which
    continues a sentence about it, for anything else and for one with a passphrase."""
    try:
        load = load_ssh_private_key if _OPENSSH in raw else load_pem_private_key
        key = load(raw.strip() + b"\n", None)
    except TypeError:
        raise ValueError("has a passphrase, and nobody is there to type it") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("is not a private key in OpenSSH's or PEM's form") from None
    if not isinstance(key, Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey):
        raise ValueError("is not an Ed25519, ECDSA or RSA key")
    return key


def fresh_key() -> bytes:
    """A new Ed25519 key in OpenSSH's form."""
    return Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()
    )


def own_key(path: Path) -> bytes:
    """The private key in ``path``, made where there is none; safe when several
    processes start at once. KeyFileError otherwise."""
    raw = read_key(path)
    if raw is not None:
        return raw
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        write_secret(partial, fresh_key())
        try:
            os.link(partial, path)  # fails, and changes nothing, where another was first
            fsync_directory(path.parent)  # clients pin it: it must not be another one tomorrow
        except FileExistsError:
            pass
        finally:
            partial.unlink()
    except OSError as error:
        raise KeyFileError(f"{path} can't be made: {error.strerror}") from None
    raw = read_key(path)
    if raw is None:
        raise KeyFileError(f"{path} is gone again")
    return raw


def read_key(path: Path) -> bytes | None:
    """The private key in ``path``, None where there is no file. KeyFileError when it
    is somebody else's, can be read by others, or holds no key."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            raw = file.read(_LIMIT + 1) if stat.S_ISREG(status.st_mode) else b""
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeyFileError(f"{path} can't be read: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode) or len(raw) > _LIMIT:
        raise KeyFileError(f"{path} is no file with a key")
    if status.st_uid not in (os.geteuid(), 0):
        raise KeyFileError(f"{path} belongs to somebody else")
    if mode := status.st_mode & 0o077:
        mode |= status.st_mode & 0o700
        raise KeyFileError(f"{path} is open to others (mode {mode:04o}); make it 0600")
    try:
        private_key(raw)
    except ValueError as error:
        raise KeyFileError(f"{path} {error}") from None
    return raw


def write_secret(path: Path, raw: bytes) -> None:
    """A new file that only its owner reads; OSError when there is one already."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
