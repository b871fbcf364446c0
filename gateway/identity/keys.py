"""SCRAM-SHA-256 verifiers as PostgreSQL stores them (RFC 5802, RFC 7677):
``SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>``, all in base64.

PostgreSQL's ``pg_authid.rolpassword`` holds the same text, so that a verifier
can be taken from there.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re

from protocols.contract import Verifier
from protocols.postgres.saslprep import prepared
from protocols.postgres.scram import make_verifier

ITERATIONS = 4096
"""PostgreSQL's default (scram_iterations)."""
SALT_BYTES = 16
_MOST_ITERATIONS = 10_000_000
_PREFIX = "SCRAM-SHA-256$"
_BASE64 = r"[A-Za-z0-9+/]+={0,2}"
_FORM = re.compile(rf"SCRAM-SHA-256\$([0-9]{{1,8}}):({_BASE64})\$({_BASE64}):({_BASE64})")


class VerifierInvalid(ValueError):
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


def verifier_text(password: str, salt: bytes, iterations: int = ITERATIONS) -> str:
    """The verifier text for ``password``; ``salt`` is SALT_BYTES of chance."""
    made = derive(password, salt, iterations)
    salt64, stored, server = (
        base64.b64encode(raw).decode() for raw in (made.salt, made.stored_key, made.server_key)
    )
    return f"{_PREFIX}{iterations}:{salt64}${stored}:{server}"


def derive(password: str, salt: bytes, iterations: int = ITERATIONS) -> Verifier:
    """What a server stores of ``password`` (RFC 5802 section 3)."""
    raw = password.encode("utf-8", "surrogateescape")
    return make_verifier(prepared(raw), salt, iterations)


def matches(verifier: Verifier, password: str) -> bool:
    """True when ``password`` is the one behind ``verifier``; costs
    ``iterations`` rounds of PBKDF2, the comparison takes constant time."""
    made = derive(password, verifier.salt, verifier.iterations)
    return hmac.compare_digest(made.stored_key, verifier.stored_key)
