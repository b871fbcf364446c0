"""The secrets that this gateway holds: what must never leave by any result."""

from __future__ import annotations

from gateway.config import Config
from gateway.identity.keys import is_verifier
from gateway.policy.own import OWN_MIN
from gateway.secrets.errors import SecretUnavailable
from gateway.secrets.key_pieces import key_pieces
from gateway.secrets.references import Secret


def held_secrets(config: Config) -> list[bytes]:
    """Every target's credential, and every local principal's password that is
    behind a reference. Of a private key these are its lines and numbers; a
    certificate is no secret, but it must be there. Raises SecretUnavailable, which
    names the reference: a gateway that can't read its secrets can't keep them either;
    and of one that is too short to be told from ordinary data."""
    passwords = {f"target {name}": t.password for name, t in config.targets.items()}
    passwords |= {
        f"principal {name}": p.password
        for name, p in config.principals.items()
        if isinstance(p.password, Secret)
    }
    resolved = [
        _resolved(f"the password of {owner}", secret)
        for owner, secret in passwords.items()
        if secret is not None
    ]
    held = [raw for raw in resolved if not is_verifier(raw.decode("utf-8", "backslashreplace"))]
    for name, target in config.targets.items():
        if target.key is not None:
            raw = _resolved(f"the key of target {name}", target.key)
            try:
                held += key_pieces(raw)
            except ValueError as error:
                raise SecretUnavailable(f"the key of target {name}: {target.key} {error}") from None
        if target.certificate is not None:
            _resolved(f"the certificate of target {name}", target.certificate)
    return held


def _resolved(what: str, secret: Secret) -> bytes:
    try:
        raw = secret.resolve().reveal()
    except SecretUnavailable as error:
        raise SecretUnavailable(f"{what}: {error}") from None
    # The screen refuses it too, but does not know whose it is.
    if len(raw) < OWN_MIN:
        told = f"has {len(raw)} bytes; it takes at least {OWN_MIN} to find a secret in results"
        raise SecretUnavailable(f"{what} {told}")
    return raw
