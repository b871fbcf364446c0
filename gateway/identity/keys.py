"""SCRAM-SHA-256 verifiers as PostgreSQL stores them (RFC 5802, RFC 7677):
``SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>``, all in base64.

PostgreSQL's ``pg_authid.rolpassword`` holds the same text, so that a verifier
can be taken from there.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import stringprep
import unicodedata

from protocols.contract import Verifier

ITERATIONS = 4096
"""PostgreSQL's default (scram_iterations)."""
SALT_BYTES = 16
_MOST_ITERATIONS = 10_000_000
_PREFIX = "SCRAM-SHA-256$"
_BASE64 = r"[A-Za-z0-9+/]+={0,2}"
_FORM = re.compile(rf"SCRAM-SHA-256\$([0-9]{{1,8}}):({_BASE64})\$({_BASE64}):({_BASE64})")


class VerifierInvalid(ValueError):  # noqa: N818
    """Not a verifier. The message continues a sentence about its key."""


def is_verifier(text: str) -> bool:
    """True when ``text`` is meant as a verifier, right or wrong."""
    return text.startswith(_PREFIX)


def parse_verifier(text: str) -> Verifier:
    """The verifier that ``text`` writes; VerifierInvalid otherwise."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise VerifierInvalid("is not a whole SCRAM-SHA-256 verifier")
    iterations = int(match[1])
    if not ITERATIONS <= iterations <= _MOST_ITERATIONS:
        raise VerifierInvalid(f"has {iterations} iterations, not {ITERATIONS} or more")
    try:
        salt, stored, server = (base64.b64decode(match[n], validate=True) for n in (2, 3, 4))
    except binascii.Error:
        raise VerifierInvalid("is not a whole SCRAM-SHA-256 verifier") from None
    if len(stored) != 32 or len(server) != 32 or not 8 <= len(salt) <= 256:
        raise VerifierInvalid("has keys or a salt of the wrong length")
    return Verifier(salt, iterations, stored, server)


def make_verifier(password: str, salt: bytes, iterations: int = ITERATIONS) -> str:
    """The verifier text for ``password``; ``salt`` is SALT_BYTES of chance."""
    made = derive(password, salt, iterations)
    salt64, stored, server = (
        base64.b64encode(raw).decode() for raw in (made.salt, made.stored_key, made.server_key)
    )
    return f"{_PREFIX}{iterations}:{salt64}${stored}:{server}"


def derive(password: str, salt: bytes, iterations: int = ITERATIONS) -> Verifier:
    """What a server stores of ``password`` (RFC 5802 section 3)."""
    salted = hashlib.pbkdf2_hmac("sha256", saslprep(password), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    return Verifier(salt, iterations, hashlib.sha256(client_key).digest(), server_key)


def matches(verifier: Verifier, password: str) -> bool:
    """True when ``password`` is the one behind ``verifier``; costs
    ``iterations`` rounds of PBKDF2, the comparison takes constant time."""
    made = derive(password, verifier.salt, verifier.iterations)
    return hmac.compare_digest(made.stored_key, verifier.stored_key)


_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)


def saslprep(password: str) -> bytes:
    """RFC 4013 as PostgreSQL does it: a password that the profile prohibits
    is used as it is, so that it still works."""
    raw = password.encode("utf-8", "surrogateescape")
    if password.isascii():
        return raw
    mapped = "".join(
        " " if stringprep.in_table_c12(c) else c
        for c in password
        if not stringprep.in_table_b1(c) or stringprep.in_table_c12(c)
    )
    text = unicodedata.normalize("NFKC", mapped)
    if not text or any(test(c) for c in text for test in _PROHIBITED):
        return raw
    if any(stringprep.in_table_d1(c) for c in text):
        ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
        if not ends or any(stringprep.in_table_d2(c) for c in text):
            return raw
    return text.encode("utf-8")
