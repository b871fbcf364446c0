"""From the claims of a verified token to a Principal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.config import IssuerConfig
from gateway.identity.errors import Refused
from gateway.policy.globs import compile_globs
from gateway.policy.principal import Principal

_MOST_DEPTH = 4
_LONGEST = 1024


def principal_of(issuer: IssuerConfig, claims: Mapping[str, Any], expires: float) -> Principal:
    """Who ``claims`` speak of; Refused when they lack what the issuer's
    configuration requires."""
    flat: dict[str, str] = {}
    _flatten(claims, "", flat, 0)
    try:
        "".join((*flat, *flat.values())).encode("utf-8")
    except UnicodeEncodeError:
        # Half a surrogate pair can't be written to a log or a database.
        raise Refused(f"issuer {issuer.name}: a claim is not Unicode text") from None
    for claim, globs in issuer.required.items():
        values = _texts(look_up(claims, claim))
        if not any(map(compile_globs(globs), values)):
            raise Refused(
                f"issuer {issuer.name}: the claim {claim} is not one of {', '.join(globs)}",
                f"the token's claim {claim} is not accepted here",
            )
    names = issuer.claims
    subject = look_up(claims, names.subject)
    if not isinstance(subject, str) or not subject or len(subject) > _LONGEST:
        raise Refused(
            f"issuer {issuer.name}: the claim {names.subject} is no subject",
            f"the token has no usable claim {names.subject}",
        )
    groups = frozenset(_texts(look_up(claims, names.groups)))
    run = _texts(look_up(claims, names.run))
    tags = {
        tag: values[0]
        for tag, claim in names.tags.items()
        if (values := _texts(look_up(claims, claim)))
    }
    for text in (subject, *groups, *run, *tags.values()):
        if not text.isprintable():
            # They end up in logs, terminals and approval cards, where control
            # and bidirectional characters could make them look like others.
            raise Refused(
                f"issuer {issuer.name}: a claim that names someone holds unprintable characters",
                "a claim of the token holds unprintable characters",
            )
    return Principal(
        subject=subject,
        issuer=issuer.name,
        kind=issuer.kind,
        groups=groups,
        run=run[0] if len(run) == 1 else "",
        tags=tags,
        claims=flat,
        expires=expires,
    )


def look_up(claims: Mapping[str, Any], name: str) -> object:
    """The claim called ``name``, else what its dots lead to; None if absent."""
    if name in claims:
        return claims[name]
    at: object = claims
    for step in name.split("."):
        if not isinstance(at, dict) or step not in at:
            return None
        at = at[step]
    return at


def scalar(value: object) -> str | None:
    """A scalar as the text that rules match; None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return None


def _texts(value: object) -> list[str]:
    """A claim's value or values as texts; what is no scalar is left out."""
    values = value if isinstance(value, list) else [value]
    return [text for v in values if (text := scalar(v)) is not None]


def _flatten(claims: Mapping[str, Any], prefix: str, out: dict[str, str], depth: int) -> None:
    """Scalars by dotted name. A name at a higher level wins over a dotted one
    of the same spelling, whichever comes first."""
    for name, value in claims.items():
        text = scalar(value)
        if text is not None:
            out.setdefault(prefix + name, text)
    if depth < _MOST_DEPTH:
        for name, value in claims.items():
            if isinstance(value, dict):
                _flatten(value, f"{prefix}{name}.", out, depth + 1)
