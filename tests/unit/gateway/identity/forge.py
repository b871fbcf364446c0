"""An issuer for tests: keys, key sets and tokens, honest or forged."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from gateway.config import ClaimNames, IssuerConfig

ISS = "https://issuer.example"
AUD = "wirewarden"
NOW = 1_700_000_000

RSA = RSAKey.generate_key(2048, {"kid": "rsa-1"})
RSA_OTHER = RSAKey.generate_key(2048, {"kid": "rsa-1"})
EC = ECKey.generate_key("P-256", {"kid": "ec-1"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed-1"})


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims(**change: Any) -> dict[str, Any]:
    """Good claims; a change to None takes the claim out."""
    good = {"iss": ISS, "aud": AUD, "sub": "repo:a/b", "iat": NOW, "exp": NOW + 300, "jti": "t1"}
    return {k: v for k, v in {**good, **change}.items() if v is not None}


def sign_raw(header: bytes | str, payload: bytes | str, key: Any, algorithm: str) -> str:
    """A token over exactly these bytes, signed with joserfc's primitives."""
    parts = [b64(p.encode() if isinstance(p, str) else p) for p in (header, payload)]
    signing = ".".join(parts)
    signature = JWSRegistry.algorithms[algorithm].sign(signing.encode(), key)
    return f"{signing}.{b64(signature)}"


def token(
    payload: Mapping[str, Any] | None = None,
    key: Any = RSA,
    algorithm: str = "RS256",
    **header: Any,
) -> str:
    head = {"alg": algorithm, "typ": "JWT", "kid": key.get("kid"), **header}
    head = {k: v for k, v in head.items() if v is not None}
    return sign_raw(json.dumps(head), json.dumps(payload or claims()), key, algorithm)


def jwks(*keys: Any, **change: Any) -> bytes:
    return json.dumps({"keys": [{**k.as_dict(private=False), **change} for k in keys]}).encode()


def issuer(file: Path | None = None, url: str = "", **change: Any) -> IssuerConfig:
    fields: dict[str, Any] = {
        "name": "example",
        "iss": ISS,
        "audience": AUD,
        "algorithms": ("RS256", "ES256", "EdDSA"),
        "jwks_file": file,
        "jwks_url": url,
        "claims": ClaimNames(tags={"env": "environment"}),
        **change,
    }
    return IssuerConfig(**fields)
