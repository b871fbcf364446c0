"""An issuer of OIDC tokens in a folder, for the demo and the tests.

It stands in for GitHub's or a company's issuer, which can't exist here: a key, a
JWKS file with its public half, and tokens signed with it. Nothing in the gateway
knows that it is small.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from joserfc import jwt
from joserfc.jwk import ECKey

ISS = "https://issuer.demo.invalid"
AUDIENCE = "wirewarden"


class DemoIssuer:
    """``jwks`` is the file that the gateway's configuration names."""

    def __init__(self, folder: Path, iss: str = ISS, audience: str = AUDIENCE) -> None:
        self.iss = iss
        self.audience = audience
        self.jwks = folder / "jwks.json"
        secret = folder / "issuer-key.json"
        folder.mkdir(parents=True, exist_ok=True)
        if secret.exists():
            self._key = ECKey.import_key(json.loads(secret.read_text()))
        else:
            self._key = ECKey.generate_key("P-256", {"kid": "demo-1", "use": "sig", "alg": "ES256"})
            secret.touch(mode=0o600)
            secret.write_text(json.dumps(self._key.as_dict(private=True)))
        self.jwks.write_text(json.dumps({"keys": [self._key.as_dict(private=False)]}))

    def token(self, subject: str, *, seconds: float = 3600, **claims: object) -> str:
        """A signed token for ``subject``; ``claims`` are added or override."""
        now = int(time.time())
        body = {
            "iss": self.iss,
            "aud": self.audience,
            "sub": subject,
            "iat": now,
            "exp": now + int(seconds),
            **claims,
        }
        header = {"alg": "ES256", "kid": "demo-1", "typ": "JWT"}
        return jwt.encode(header, body, self._key, algorithms=["ES256"])
