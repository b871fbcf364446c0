"""Issuers and local principals: who may connect."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from gateway.addresses import is_loopback
from gateway.config import ClaimNames, IssuerConfig, PrincipalConfig
from gateway.config_table import Table
from gateway.identity.jwks import ALGORITHMS, JwksInvalid, read_jwks
from gateway.identity.keys import VerifierInvalid, is_verifier, parse_verifier
from gateway.identity.public_keys import KeyInvalid, public_key
from gateway.policy.globs import complaint
from gateway.secrets.references import ReferenceInvalid, Secret

KINDS = ("ci", "agent", "person")
LOCAL = "local"
"""The issuer name of principals with a password of this gateway."""

_ISSUER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_PRINCIPAL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,62}")
_MOST_LEEWAY = 300.0


def read_issuer(name: str, table: Table) -> IssuerConfig:
    """``[issuer.NAME]``."""
    if _ISSUER_NAME.fullmatch(name) is None or name == LOCAL:
        table.report.error(
            table.place,
            f'must be called by 1 to 63 of A-Z a-z 0-9 . _ -, and not "{LOCAL}"',
        )
    for key in ("iss", "audience", "jwks", "algorithms"):
        table.require(key)
    algorithms = table.texts("algorithms", (), ALGORITHMS)
    if table.has("algorithms") and not algorithms:
        table.error("algorithms", "is empty: no token could be verified")
    jwks = table.text("jwks")
    url = jwks if "://" in jwks else ""
    file = None
    if url:
        _check_url(table, url)
    elif jwks:
        file = table.path("jwks")
        _check_keys(table, name)
    issuer = IssuerConfig(
        name=name,
        iss=table.text("iss"),
        audience=table.text("audience"),
        algorithms=algorithms,
        jwks_file=file,
        jwks_url=url,
        kind=table.text("kind", "ci", KINDS),
        claims=_claims(table.table("claims")),
        leeway=table.duration("leeway", 30.0),
        max_age=table.duration("max_age", 0.0),
        required=_required(table),
        bind=table.text("bind", "address", ("address", "none")),
        ca=table.path("ca"),
    )
    if issuer.leeway > _MOST_LEEWAY:
        table.error("leeway", "is more than 5m: expired tokens would live on")
    if issuer.ca is not None and not url.startswith("https:"):
        table.error("ca", "is of no use unless jwks is an https URL")
    table.finish()
    return issuer


def _check_url(table: Table, url: str) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        table.error("jwks", "is not a well-formed URL")
        return
    if parts.scheme not in ("https", "http"):
        table.error("jwks", f'has the scheme "{parts.scheme}"; it must be an https URL or a path')
    elif not host or parts.username is not None or parts.fragment or not url.isascii():
        table.error("jwks", "must be a URL with a host, and without a user or fragment")
    elif parts.scheme == "http" and not is_loopback(host):
        table.error("jwks", "is http, which is for loopback only: keys must come over https")


def _check_keys(table: Table, name: str) -> None:
    where = table.report.base / table.text("jwks")
    try:
        raw = where.read_bytes()
    except OSError:
        return  # Reported with the path.
    try:
        read_jwks(raw)
    except JwksInvalid as error:
        table.error("jwks", f"is {where}, which {error}")


def _claims(table: Table) -> ClaimNames:
    plain = ClaimNames()
    names = ClaimNames(
        subject=table.text("subject", plain.subject),
        groups=table.text("groups", plain.groups),
        run=table.text("run", plain.run),
        tags=table.text_map("tags"),
    )
    table.finish()
    return names


def _required(table: Table) -> dict[str, tuple[str, ...]]:
    inner = table.table("required")
    raw = table.raw("required")
    if not isinstance(raw, dict):
        return {}
    out: dict[str, tuple[str, ...]] = {}
    for claim, value in raw.items():
        globs = [value] if isinstance(value, str) else value
        if not isinstance(globs, list) or not globs or not all(isinstance(g, str) for g in globs):
            inner.error(claim, "must be a text or a list of texts, which may hold *")
            continue
        for wrong in filter(None, map(complaint, globs)):
            inner.error(claim, f"has a bad pattern: {wrong}")
        out[claim] = tuple(globs)
    return out


def read_principal(name: str, table: Table) -> PrincipalConfig:
    """``[principal.NAME]``."""
    if _PRINCIPAL_NAME.fullmatch(name) is None:
        table.report.error(
            table.place,
            "must be called by 1 to 63 of A-Z a-z 0-9 _ . @ + -, a letter, digit or _ first",
        )
    keys = _ssh_keys(table)
    if not table.has("password") and not table.has("ssh_keys"):
        table.error("password", "is missing, and so is ssh_keys")
    principal = PrincipalConfig(
        name=name,
        password=_password(table),
        groups=frozenset(table.texts("groups")),
        kind=table.text("kind", "person", KINDS),
        tags=table.text_map("tags"),
        ssh_keys=keys,
    )
    table.finish()
    return principal


def _ssh_keys(table: Table) -> tuple[str, ...]:
    keys: list[str] = []
    given = table.texts("ssh_keys")
    if table.has("ssh_keys") and not given:
        table.error("ssh_keys", 'is empty: write a list of keys such as "ssh-ed25519 AAAA..."')
    for number, text in enumerate(given):
        place = (*table.at("ssh_keys"), number)
        try:
            key = public_key(text).line
        except KeyInvalid as error:
            table.report.error(place, str(error))
            continue
        if key in keys:
            table.report.error(place, "is there twice")
        keys.append(key)
    return tuple(keys)


def _password(table: Table) -> str | Secret:
    text = table.text("password")
    if not text:
        return ""
    if is_verifier(text):
        try:
            parse_verifier(text)
        except VerifierInvalid as error:
            table.error("password", str(error))
        return text
    try:
        secret = Secret(text, table.report.base)
    except ReferenceInvalid as error:
        table.error("password", f"{error}; or write a SCRAM-SHA-256 verifier")
        return ""
    for warning in secret.warnings():
        table.report.warn(table.at("password"), warning)
    return secret
