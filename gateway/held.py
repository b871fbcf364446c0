"""The secrets that this gateway holds: what must never leave by any result."""

from __future__ import annotations

from gateway.config import Config
from gateway.identity.keys import is_verifier
from gateway.secrets.references import Secret


def held_secrets(config: Config) -> list[bytes]:
    """Every target's credential, and every local principal's password that is
    behind a reference. Raises SecretUnavailable, which names the reference:
    a gateway that can't read its secrets can't keep them either."""
    references = [target.password for target in config.targets.values()]
    references += [
        principal.password
        for principal in config.principals.values()
        if isinstance(principal.password, Secret)
    ]
    held = [secret.resolve().reveal() for secret in references if secret is not None]
    return [raw for raw in held if not is_verifier(raw.decode("utf-8", "backslashreplace"))]
