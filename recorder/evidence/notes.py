"""Signed notes and checkpoints (C2SP signed-note, tlog-checkpoint and
tlog-cosignature): a text, an empty line, and lines with signatures.

A checkpoint's text is the origin, the tree's size, its root in base64, and
here one line more: ``wirewarden epoch N at T`` (T in Unix nanoseconds).
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from recorder.errors import FormatError
from recorder.files import read_file

ED25519, COSIGNATURE = 1, 4
NOTE_MAX = 1 << 16
_SIGNATURE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_NUMBER = r"0|[1-9][0-9]{0,18}"
_EXTENSION = re.compile(rf"wirewarden epoch ({_NUMBER}) at ({_NUMBER})")


class NoteError(ValueError):
    """Not a note, not a checkpoint, or not signed as it must be."""


def unbase64(text: str) -> bytes:
    """Strict base64; ``NoteError``. Exactly one text stands for given bytes."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteError("not base64") from error
    if base64.b64encode(raw).decode() != text:
        raise NoteError("not base64 as it must be")
    return raw


def to_base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def key_hash(name: str, public: bytes, kind: int = ED25519) -> bytes:
    """The four bytes by which a signature line names its key."""
    return sha256(name.encode() + b"\n" + bytes((kind,)) + public).digest()[:4]


def verifier_key(name: str, public: bytes, kind: int = ED25519) -> str:
    """A public key as others configure it: ``name+hash+key``."""
    hashed = key_hash(name, public, kind).hex()
    return f"{name}+{hashed}+{to_base64(bytes((kind,)) + public)}"


def parse_verifier_key(text: str) -> tuple[str, int, bytes]:
    """Name, kind of signature and public key of a ``name+hash+key`` text."""
    name, _, rest = text.strip().partition("+")
    hashed, _, encoded = rest.partition("+")
    raw = unbase64(encoded)
    if not name or re.search(r"\s", name) or len(raw) != 33 or raw[0] not in (ED25519, COSIGNATURE):
        raise NoteError("not a verifier key of Ed25519")
    if key_hash(name, raw[1:], raw[0]).hex() != hashed:
        raise NoteError("a verifier key's hash is not its own")
    return name, raw[0], raw[1:]


@dataclass(frozen=True, slots=True)
class Note:
    """``text`` ends with a newline; ``signatures``: name, and the bytes of the
    line (key hash and signature)."""

    text: str
    signatures: tuple[tuple[str, bytes], ...]

    def encoded(self) -> bytes:
        lines = "".join(signature_line(name, raw) for name, raw in self.signatures)
        return f"{self.text}\n{lines}".encode()


def signature_line(name: str, raw: bytes) -> str:
    return f"— {name} {to_base64(raw)}\n"


def parse_signatures(text: str) -> tuple[tuple[str, bytes], ...]:
    """Lines with signatures, each ended by a newline."""
    if not text.endswith("\n"):
        raise NoteError("a note ends with a newline")
    found = []
    for line in text[:-1].split("\n"):
        match = _SIGNATURE.fullmatch(line)
        if match is None:
            raise NoteError("not a line with a signature")
        raw = unbase64(match[2])
        if len(raw) < 5:
            raise NoteError("a signature is too short")
        found.append((match[1], raw))
    if len(found) > 100:
        raise NoteError("too many signatures")
    return tuple(found)


def read_note(path: Path) -> bytes:
    """The bytes of a note's file; ``NoteError`` where they can't be any, ``OSError``."""
    try:
        return read_file(path, NOTE_MAX)
    except FormatError as error:
        raise NoteError(str(error)) from error


def parse_note(raw: bytes) -> Note:
    """``NoteError`` unless ``raw`` is a whole signed note."""
    if len(raw) > NOTE_MAX:
        raise NoteError("a note is too long")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NoteError("a note is not UTF-8") from error
    if any(ord(char) < 0x20 and char != "\n" for char in text):
        raise NoteError("a note holds control characters")
    body, found, rest = text.rpartition("\n\n")
    if not found:
        raise NoteError("a note has no signatures")
    return Note(body + "\n", parse_signatures(rest))


def sign(text: str, name: str, key: Ed25519PrivateKey) -> tuple[str, bytes]:
    """A signature for a ``Note``."""
    hashed = key_hash(name, key.public_key().public_bytes_raw())
    return name, hashed + key.sign(text.encode())


def verified(note: Note, name: str, public: bytes) -> bool:
    """Is there a good signature of this key? ``NoteError`` when one that
    claims to be of it is false."""
    hashed = key_hash(name, public)
    mine = [raw for who, raw in note.signatures if who == name and raw[:4] == hashed]
    if not mine:
        return False
    if len(mine) > 1:
        raise NoteError("a note is signed twice by one key")
    _check(public, mine[0][4:], note.text.encode())
    return True


def cosigned_at(note_text: str, signature: bytes, name: str, public: bytes) -> int:
    """The Unix time in seconds of a witness's cosignature/v1 over a checkpoint
    (the bytes of its line); ``NoteError`` when it is none of this key."""
    if len(signature) != 76 or signature[:4] != key_hash(name, public, COSIGNATURE):
        raise NoteError("not a cosignature of this witness")
    at = int.from_bytes(signature[4:12], "big")
    _check(public, signature[12:], f"cosignature/v1\ntime {at}\n{note_text}".encode())
    return at


def cosign(note_text: str, name: str, key: Ed25519PrivateKey, at: int) -> tuple[str, bytes]:
    """What a witness answers."""
    said = key.sign(f"cosignature/v1\ntime {at}\n{note_text}".encode())
    hashed = key_hash(name, key.public_key().public_bytes_raw(), COSIGNATURE)
    return name, hashed + at.to_bytes(8, "big") + said


def _check(public: bytes, signature: bytes, message: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise NoteError("a signature is false") from error


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``at``: Unix nanoseconds, ``epoch``: whose key signs it."""

    origin: str
    size: int
    root: bytes
    epoch: int
    at: int

    def text(self) -> str:
        return (
            f"{self.origin}\n{self.size}\n{to_base64(self.root)}\n"
            f"wirewarden epoch {self.epoch} at {self.at}\n"
        )


def parse_checkpoint(text: str) -> Checkpoint:
    """The text of a note of ours; ``NoteError``."""
    lines = text.split("\n")
    if len(lines) != 5 or lines[4] or not lines[0] or re.search(r"[\s+]", lines[0]):
        raise NoteError("not a checkpoint of a gateway")
    match = _EXTENSION.fullmatch(lines[3])
    if match is None or not re.fullmatch(_NUMBER, lines[1]):
        raise NoteError("not a checkpoint of a gateway")
    found = unbase64(lines[2])
    if len(found) != 32:
        raise NoteError("a checkpoint's root is not 32 bytes")
    return Checkpoint(lines[0], int(lines[1]), found, int(match[1]), int(match[2]))
