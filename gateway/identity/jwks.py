"""Key sets of issuers (RFC 7517), read with suspicion.

Only public signature keys of the three algorithms that the gateway accepts
are taken; everything else in a set (encryption keys, symmetric keys, unknown
kinds) is left aside, so that an issuer may add such keys without an outage.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey

from gateway.identity.strict_json import DuplicateKey, loads

PublicKey: TypeAlias = "RSAKey | ECKey | OKPKey"

ALGORITHMS = ("RS256", "ES256", "EdDSA")
LIMIT = 256 << 10
"""Bytes of a key set."""
MOST_KEYS = 256
MOST_RSA_BITS = 8192
"""A larger modulus makes each verification a gift to an attacker."""
LEAST_RSA_BITS = 2048

_CURVES = {"EC": {"P-256": "ES256"}, "OKP": {"Ed25519": "EdDSA"}}


class JwksInvalid(ValueError):
    """Not a usable key set. The message continues "the set ..."."""


@dataclass(frozen=True, slots=True)
class SignatureKey:
    """One key of a set. ``algorithm`` is the only one it may be used with;
    ``kid`` is "" where the set gives none."""

    kid: str
    algorithm: str
    key: PublicKey


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of an issuer."""

    keys: tuple[SignatureKey, ...]

    def find(self, kid: str, algorithm: str) -> SignatureKey | None:
        """The one key for a token's header. Without a ``kid`` there must be
        just one key in the set. None when there is no such key, or two."""
        if kid:
            found = [k for k in self.keys if k.kid == kid and k.algorithm == algorithm]
            if not found and len(self.keys) == 1 and not self.keys[0].kid:
                found = [k for k in self.keys if k.algorithm == algorithm]
        else:
            found = list(self.keys) if len(self.keys) == 1 else []
            found = [k for k in found if k.algorithm == algorithm]
        return found[0] if len(found) == 1 else None

    def knows(self, kid: str) -> bool:
        """True when fetching the set again would not find ``kid`` anew."""
        return any(k.kid == kid for k in self.keys)


def read_jwks(raw: bytes) -> KeySet:
    """The usable keys in a JWKS document; JwksInvalid when there are none."""
    if len(raw) > LIMIT:
        raise JwksInvalid(f"is larger than {LIMIT} bytes")
    try:
        document = loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, DuplicateKey, RecursionError, ValueError):
        raise JwksInvalid("is not strict JSON in UTF-8") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise JwksInvalid('is not an object with a list of "keys"')
    if len(entries) > MOST_KEYS:
        raise JwksInvalid(f"has more than {MOST_KEYS} keys")
    keys = [key for entry in entries if (key := _key(entry)) is not None]
    if not keys:
        raise JwksInvalid("has no public key for " + ", ".join(ALGORITHMS))
    return KeySet(tuple(keys))


def _key(entry: object) -> SignatureKey | None:
    """One entry, None when it is not for us."""
    if not isinstance(entry, dict):
        return None
    algorithm = _algorithm(entry)
    kid = entry.get("kid", "")
    if algorithm is None or not isinstance(kid, str) or entry.get("use", "sig") != "sig":
        return None
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    if "d" in entry:
        raise JwksInvalid("holds a private key: take it out, and replace the pair")
    # Certificates and URLs of the entry are no evidence here; only the key is.
    public: dict[str, Any] = {
        name: entry[name] for name in ("kty", "n", "e", "crv", "x", "y") if name in entry
    }
    modulus = public.get("n", "")
    if not isinstance(modulus, str) or len(modulus) > MOST_RSA_BITS // 6 + 4:
        return None
    if algorithm == "RS256" and len(modulus) < LEAST_RSA_BITS // 6:
        return None
    try:
        key = JWKRegistry.import_key(public)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    if isinstance(key, RSAKey):
        if not LEAST_RSA_BITS <= key.raw_value.key_size <= MOST_RSA_BITS:
            return None
    elif not isinstance(key, ECKey | OKPKey):
        return None
    return SignatureKey(kid, algorithm, key)


def _algorithm(entry: Mapping[str, object]) -> str | None:
    """The algorithm that a key's type allows; None for other types, and when
    the entry itself says another one."""
    kty, curve = entry.get("kty"), entry.get("crv")
    if kty == "RSA":
        allowed = "RS256"
    elif isinstance(kty, str) and isinstance(curve, str) and curve in _CURVES.get(kty, ()):
        allowed = _CURVES[kty][curve]
    else:
        return None
    said = entry.get("alg", allowed)
    return allowed if said in (allowed, curve) else None
