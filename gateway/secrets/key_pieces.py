"""What of a private key must never be shown: its lines as they stand in the file, and
its secret numbers, by which it could be told in other forms."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.key_file import private_key

SHORTEST = 8
"""Characters of a line that are looked for: what is shorter holds 5 bytes at most (the
padding, mostly), and stands in ordinary text by chance."""


def key_pieces(raw: bytes) -> list[bytes]:
    """The pieces of the private key ``raw`` (OpenSSH's or PEM's form, no passphrase);
    ValueError, which continues a sentence about it, when it is none."""
    key = private_key(raw)
    lines = [line.strip() for line in raw.splitlines()]
    pieces = [line for line in lines if len(line) >= SHORTEST and b"-----" not in line]
    if isinstance(key, Ed25519PrivateKey):
        return [*pieces, key.private_bytes_raw()]
    if isinstance(key, EllipticCurvePrivateKey):
        return [*pieces, _bytes(key.private_numbers().private_value)]
    numbers = key.private_numbers()
    secret = (numbers.d, numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp)
    return [*pieces, *map(_bytes, secret)]


def _bytes(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
