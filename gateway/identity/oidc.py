"""Tokens of OIDC issuers: JWS compact JWTs (RFC 7515, RFC 7519, RFC 8725).

The order of checks: form and size, then the issuer by its exact name, then
the header against what that issuer is pinned to, then the signature, and only
then the claims. What a client learns of a refusal before the signature holds
is nothing; after it, which claim was wrong.
"""

from __future__ import annotations

import base64
import hashlib
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from joserfc import jwt
from joserfc.errors import ClaimError, JoseError, SecurityWarning
from joserfc.jws import JWSRegistry

from gateway.config import IssuerConfig
from gateway.identity.claims import principal_of
from gateway.identity.errors import Refused
from gateway.identity.sources import FileKeys, KeySource, UrlKeys
from gateway.identity.strict_json import StrictDecoder, loads
from gateway.policy.principal import Principal
from gateway.world import World

# RFC 9864 renames EdDSA; issuers go on to say it, and here it means Ed25519 only.
warnings.filterwarnings("ignore", "EdDSA is deprecated", SecurityWarning)

LIMIT = 16 << 10
"""Characters of a token."""

_FORM = re.compile(r"([A-Za-z0-9_-]{2,})\.([A-Za-z0-9_-]{2,})\.([A-Za-z0-9_-]{2,})")
_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
_FORBIDDEN = ("crit", "b64", "jwk", "jku", "x5u", "x5c", "zip", "enc", "p2s", "p2c", "epk")
"""Header parameters that bring keys or meanings of their own."""
_LATEST = 1 << 40
"""A time in seconds that no honest token carries."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token taken apart, nothing verified."""

    text: str = field(repr=False)
    header: Mapping[str, Any]
    claims: Mapping[str, Any] = field(repr=False)
    signed: str = field(repr=False)
    """The part under the signature."""


@dataclass(frozen=True, slots=True)
class Verified:
    """``id`` names the token for all time (SHA-256, hex) and can't be varied
    by its bearer; ``until`` is the Unix second after which it is worthless."""

    principal: Principal
    issuer: IssuerConfig
    id: str
    until: float


class Registry(JWSRegistry):
    """joserfc's, with room for the headers of large providers."""

    max_header_length = 4096


class Issuers:
    """Every configured issuer, with its keys."""

    def __init__(self, issuers: Mapping[str, IssuerConfig], world: World) -> None:
        self._world = world
        self._by_iss: dict[str, tuple[IssuerConfig, KeySource]] = {}
        for issuer in issuers.values():
            source: KeySource
            if issuer.jwks_file is not None:
                source = FileKeys(issuer.jwks_file)
            else:
                source = UrlKeys(issuer.jwks_url, world, issuer.ca)
            self._by_iss[issuer.iss] = (issuer, source)

    async def verify(self, text: str) -> Verified:
        """The principal that the token ``text`` proves; Refused otherwise."""
        token = take_apart(text)
        iss = token.claims.get("iss")
        found = self._by_iss.get(iss) if isinstance(iss, str) else None
        if found is None:
            raise Refused("a token of an issuer that is not configured")
        issuer, source = found
        algorithm, kid = _pinned(issuer, token.header)
        keys = await source.keys(kid)
        if keys is None:
            raise Refused(
                f"issuer {issuer.name}: its keys can't be had",
                "the issuer's keys can't be had at the moment",
            )
        key = keys.find(kid, algorithm)
        if key is None:
            raise Refused(f"issuer {issuer.name}: no key for the token's kid and {algorithm}")
        try:
            checked = jwt.decode(
                text,
                key.key,
                algorithms=[algorithm],
                registry=Registry(algorithms=[algorithm], strict_check_header=False),
                decoder_cls=StrictDecoder,
            )
        except (JoseError, ValueError, TypeError) as error:
            raise Refused(
                f"issuer {issuer.name}: the signature does not hold ({type(error).__name__})"
            ) from None
        until = self._check(issuer, checked.claims)
        jti = checked.claims.get("jti")
        name = f"jti\0{jti}" if isinstance(jti, str) and jti else f"signed\0{token.signed}"
        return Verified(
            principal_of(issuer, checked.claims, until),
            issuer,
            hashlib.sha256(f"{issuer.iss}\0{name}".encode("utf-8", "surrogatepass")).hexdigest(),
            until,
        )

    def _check(self, issuer: IssuerConfig, claims: Mapping[str, Any]) -> float:
        """Check the claims that every token has; until when it is good."""
        now, leeway = self._world.wall(), issuer.leeway
        registry = jwt.JWTClaimsRegistry(
            now=int(now),
            leeway=int(leeway),
            iss={"essential": True, "value": issuer.iss},
            aud={"essential": True, "value": issuer.audience},
            exp={"essential": True},
            iat={"essential": True},
        )
        try:
            registry.validate(dict(claims))
        except ClaimError as error:
            public = f"the token's claim {error.claim} is not accepted"
            if error.claim == "exp" and "exp" in claims:
                public = "the token has expired"
            raise Refused(f"issuer {issuer.name}: {error.description or error}", public) from None
        audience = claims["aud"]
        if audience not in (issuer.audience, [issuer.audience]):
            raise Refused(
                f"issuer {issuer.name}: the token is meant for others too",
                "the token's claim aud is not accepted",
            )
        for name in ("exp", "iat", "nbf"):
            value = claims.get(name, 0)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise Refused(f"issuer {issuer.name}: {name} is no time")
            if not 0 <= value < _LATEST:
                raise Refused(f"issuer {issuer.name}: {name} is out of range")
        exp, iat = float(claims["exp"]), float(claims["iat"])
        if exp <= iat:
            raise Refused(f"issuer {issuer.name}: exp is not after iat")
        if issuer.max_age:
            if now - iat > issuer.max_age + leeway:
                raise Refused(f"issuer {issuer.name}: older than max_age", "the token is too old")
            exp = min(exp, iat + issuer.max_age)
        return exp + leeway


def take_apart(text: str) -> Token:
    """The parts of a compact JWT. Refused when its form is not exact: sizes,
    alphabet, base64url with no stray bits, JSON objects with no key twice."""
    if len(text) > LIMIT:
        raise Refused(f"a token of more than {LIMIT} characters")
    match = _FORM.fullmatch(text)
    if match is None:
        raise Refused("not a JWT of three parts")
    header, claims = _object(match[1]), _object(match[2])
    _bytes(match[3])
    return Token(text, header, claims, f"{match[1]}.{match[2]}")


def _object(part: str) -> dict[str, Any]:
    try:
        value = loads(_bytes(part).decode("utf-8"))
    except (ValueError, RecursionError):
        raise Refused("a part of the token is not strict JSON") from None
    if not isinstance(value, dict):
        raise Refused("a part of the token is not a JSON object")
    return value


def _bytes(part: str) -> bytes:
    try:
        raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise Refused("a part of the token is not base64url") from None
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != part:
        raise Refused("a part of the token is not canonical base64url")
    return raw


def _pinned(issuer: IssuerConfig, header: Mapping[str, Any]) -> tuple[str, str]:
    """The algorithm and key id of a header that keeps to ``issuer``'s rules."""
    algorithm, kid = header.get("alg"), header.get("kid", "")
    if not isinstance(algorithm, str) or algorithm not in issuer.algorithms:
        raise Refused(f"issuer {issuer.name}: the token's algorithm is not one of the issuer's")
    if not isinstance(kid, str) or len(kid) > 1024:
        raise Refused(f"issuer {issuer.name}: the token's kid is no key id")
    for name in _FORBIDDEN:
        if name in header:
            raise Refused(f"issuer {issuer.name}: the token's header holds {name}")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise Refused(f"issuer {issuer.name}: the token is of another type than JWT")
    return algorithm, kid
