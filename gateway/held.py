"""The secrets that this gateway holds: what must never leave by any result."""

from __future__ import annotations

from gateway.config import Config
from gateway.identity.keys import is_verifier
from gateway.secrets.errors import SecretUnavailable
from gateway.secrets.references import Secret


def held_secrets(config: Config) -> list[bytes]:
    """Every target's credential, and every local principal's password that is
    behind a reference. Raises SecretUnavailable, which names the reference:
    a gateway that can't read its secrets can't keep them either."""
    references = {f"target {name}": t.password for name, t in config.targets.items()}
    references |= {
        f"principal {name}": p.password
        for name, p in config.principals.items()
        if isinstance(p.password, Secret)
    }
    held = []
    for owner, secret in references.items():
        if secret is not None:
            try:
                held.append(secret.resolve().reveal())
            except SecretUnavailable as error:
                raise SecretUnavailable(f"the password of {owner}: {error}") from None
    return [raw for raw in held if not is_verifier(raw.decode("utf-8", "backslashreplace"))]
