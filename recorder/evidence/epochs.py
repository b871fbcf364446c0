"""Epochs: short-lived keys that sign checkpoints, each certified by the one
before it or by the root key, and then erased.

A certificate (a leaf of kind EPOCH, the first of its epoch) also signs size
and root of the whole tree before it: who steals a later key can't rewrite
what earlier keys vouched for.
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from recorder.evidence.leaves import Kind, Leaf, epoch_message, pack_fields
from recorder.evidence.notes import ED25519, parse_verifier_key, read_note, verifier_key
from recorder.evidence.tiles import put
from recorder.segment import fsync_directory, make_directory

BY_ROOT, BY_PREVIOUS = 0, 1


class EpochError(Exception):
    """The chain of epochs is broken."""


def origin_of(root_public: bytes) -> str:
    """The ledger's name: it says which root key it comes from."""
    return "wirewarden/" + sha256(b"wirewarden origin\0" + root_public).hexdigest()[:16]


def epoch_name(origin: str) -> str:
    """The name under which epoch keys sign."""
    return origin + "/epoch"


def certificate(  # noqa: PLR0917
    origin: str, number: int, public: bytes, size: int, root: bytes, by: int,
    signer: Ed25519PrivateKey,
) -> bytes:  # fmt: skip
    """The fields of an EPOCH leaf."""
    values: dict[str, int | str | bytes] = {
        "number": number,
        "public": public,
        "by": by,
        "size": size,
        "root": root,
        "signature": signer.sign(epoch_message(origin, number, public, size, root)),
    }
    return pack_fields(Kind.EPOCH, values)


class Chain:
    """Follows EPOCH leaves from the root; ``EpochError`` where they break."""

    def __init__(self, root_public: bytes) -> None:
        self.root_public = root_public
        self.origin = origin_of(root_public)
        self.epochs: list[Leaf] = []

    def add(self, leaf: Leaf) -> None:
        """The next epoch."""
        number = len(self.epochs)
        if leaf.number("number") != number or leaf.epoch != number:
            raise EpochError(f"epoch {leaf.number('number')} where epoch {number} must follow")
        by = leaf.number("by")
        if by == BY_PREVIOUS and self.epochs:
            signer = self.epochs[-1].raw("public")
        elif by == BY_ROOT:
            signer = self.root_public
        else:
            raise EpochError(f"epoch {number} is certified by nobody")
        message = epoch_message(
            self.origin, number, leaf.raw("public"), leaf.number("size"), leaf.raw("root")
        )
        try:
            Ed25519PublicKey.from_public_bytes(signer).verify(leaf.raw("signature"), message)
        except (InvalidSignature, ValueError) as error:
            text = f"the certificate of epoch {number} is not signed by "
            text += "the root key" if by == BY_ROOT else "the epoch before it"
            raise EpochError(text) from error
        if self.epochs and leaf.at < self.epochs[-1].at:
            raise EpochError(f"epoch {number} begins before the one before it")
        if self.epochs and leaf.number("size") <= self.epochs[-1].number("size"):
            raise EpochError(f"epoch {number} begins where the one before it does")
        self.epochs.append(leaf)

    def public(self, number: int) -> bytes:
        """The key of an epoch."""
        if not 0 <= number < len(self.epochs):
            raise EpochError(f"there is no epoch {number}")
        return self.epochs[number].raw("public")

    def at_size(self, size: int) -> int:
        """The number of the epoch that must sign a tree of ``size`` leaves."""
        found = -1
        for number, leaf in enumerate(self.epochs):
            if leaf.number("size") < size:
                found = number
        return found


def load_root(path: Path) -> bytes:
    """The public key in a ``root.pub``; ``ValueError``."""
    name, kind, public = parse_verifier_key(read_note(path).decode("utf-8"))
    if kind != ED25519 or name != origin_of(public):
        raise ValueError(f"{path} is not the root key of a ledger")
    return public


def root_text(public: bytes) -> str:
    """What a ``root.pub`` holds."""
    return verifier_key(origin_of(public), public) + "\n"


def write_root(directory: Path) -> tuple[Path, Path]:
    """A new root key to be kept apart: ``root.key`` (PEM, mode 0600) and
    ``root.pub``; ``FileExistsError`` rather than write over one."""
    directory.mkdir(parents=True, exist_ok=True)
    private, public = directory / "root.key", directory / "root.pub"
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    shown = root_text(key.public_key().public_bytes_raw()).encode()
    for path, text, mode in ((private, secret, 0o600), (public, shown, 0o644)):
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(text)
    return private, public


def read_root(path: Path) -> Ed25519PrivateKey:
    """The private key in a ``root.key``; ``ValueError``."""
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path}: not an Ed25519 private key")
    return key


def key_path(directory: Path, number: int) -> Path:
    return directory / "keys" / f"epoch-{number:08d}.key"


def new_key(path: Path) -> Ed25519PrivateKey:
    """A new private key, durably in a file of mode 0600."""
    make_directory(path.parent)
    os.chmod(path.parent, 0o700)
    key = Ed25519PrivateKey.generate()
    put(path, key.private_bytes_raw(), set())
    os.chmod(path, 0o600)
    fsync_directory(path.parent)
    return key


def read_key(path: Path) -> Ed25519PrivateKey:
    """``ValueError``, ``OSError``."""
    return Ed25519PrivateKey.from_private_bytes(path.read_bytes())


def erase_others(directory: Path, number: int) -> None:
    """Erase the private keys of all epochs but ``number``: written over, then
    removed. (A file system that copies on write may keep the old blocks.)"""
    keep = key_path(directory, number).name
    gone = False
    for path in (directory / "keys").glob("epoch-*.key"):
        if path.name != keep:
            fd = os.open(path, os.O_WRONLY)
            try:
                os.write(fd, bytes(32))
                os.fsync(fd)
            finally:
                os.close(fd)
            path.unlink()
            gone = True
    if gone:
        fsync_directory(directory / "keys")
