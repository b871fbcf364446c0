"""Who is asking? Answers the Proof questions of every protocol.

The evidence in the password field decides by its form: a ticket (``wwt_``), a
JWT (three parts with dots), else the password of a local principal.  With a
ticket or token the name that the client claims means nothing; who it is comes
from the evidence.  A name that is a local principal's is offered SCRAM, so it
can't be combined with a token; every other name is asked for a secret, which
tells a stranger which names are local. Where all are asked for a secret (SSH), a
refusal takes as long for a name that is nobody's.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from gateway.config import Config, PrincipalConfig
from gateway.identity.bindings import Bindings
from gateway.identity.errors import Refused
from gateway.identity.keys import (
    SALT_BYTES,
    VerifierInvalid,
    derive,
    is_verifier,
    matches,
    parse_verifier,
)
from gateway.identity.ssh_keys import SshKeys
from gateway.identity.tickets import PREFIX, Tickets
from gateway.policy.principal import Principal
from gateway.secrets.references import Secret, SecretUnavailable
from gateway.world import World
from protocols.contract import Offer, Proof, Verifier

if TYPE_CHECKING:
    from gateway.identity.oidc import Issuers

_LONGEST = 16 << 10
"""Bytes of evidence."""


class Authority:
    """Proves principals. ``tickets`` and ``ssh_keys.authority`` are where the command
    line has them minted and certified."""

    def __init__(self, config: Config, world: World) -> None:
        self._config = config
        self._issuers = _issuers(config, world)
        self._bindings = Bindings(config.state, world)
        self.tickets = Tickets(config.state, world)
        self.ssh_keys = SshKeys(config, world, self.local)
        self._world = world
        self._print_key = world.chance(32)
        self._derived: dict[str, tuple[bytes, Verifier]] = {}
        self._decoy = self._like_the_others()

    def offer(self, claimed: str) -> Offer:
        """How a client that calls itself ``claimed`` is to prove itself."""
        principal = self._config.principals.get(claimed)
        if principal is None:
            return Offer()
        try:
            return Offer(self._verifier(principal))
        except Refused:
            # Its secret can't be had: asked for a password, it is refused in
            # ``prove``, where the reason reaches the log.
            return Offer()

    def accepts_key(self, blob: bytes, peer: str) -> bool:
        """Whether ``prove`` would accept the public key or certificate ``blob`` of a
        client at ``peer`` now. Any thread may ask; it takes no waiting."""
        return self.ssh_keys.accepts(blob, peer)

    async def prove(self, proof: Proof, peer: str) -> Principal:
        """The principal behind ``proof``, which came from the IP address
        ``peer``; Refused otherwise. A ``peer`` of "" (the command line on this
        machine) binds no token to an address."""
        if proof.key:
            return self.ssh_keys.prove(proof.key, peer)
        if proof.scram:
            return self.local(proof.claimed)
        if proof.secret is None:
            raise Refused("no evidence at all")
        if len(proof.secret) > _LONGEST:
            raise Refused(f"a credential of more than {_LONGEST} bytes")
        try:
            secret = proof.secret.decode("utf-8")
        except UnicodeDecodeError:
            raise Refused("a credential that is not UTF-8") from None
        if secret.startswith(PREFIX):
            return self.tickets.redeem(secret)
        if secret.startswith("ey") and secret.count(".") == 2:
            if self._issuers is None:
                raise Refused("a token, and no issuer is configured")
            verified = await self._issuers.verify(secret)
            if peer and verified.issuer.bind == "address":
                self._bindings.bind(verified.id, peer, verified.until)
            return verified.principal
        principal = self._config.principals.get(proof.claimed)
        try:
            if principal is None:
                raise Refused("neither a ticket nor a token, and no local principal of that name")
            verifier = self._verifier(principal)
        except Refused:
            # As long as a wrong password takes: the time would tell which names there are.
            matches(self._decoy, secret)
            raise
        if not matches(verifier, secret):
            raise Refused("a wrong password for a local principal")
        return self.local(proof.claimed)

    def local(self, name: str) -> Principal:
        """The local principal ``name``, whose password or key was checked."""
        found = self._config.principals.get(name)
        if found is None:
            raise Refused("no local principal of that name")
        return Principal(
            subject=name,
            issuer="local",
            kind=found.kind,
            groups=found.groups,
            tags=found.tags,
        )

    def _like_the_others(self) -> Verifier:
        """Nobody's, as dear as that of the first principal who has one written down."""
        for principal in self._config.principals.values():
            if isinstance(principal.password, str) and principal.password:
                return parse_verifier(principal.password)
        return derive("", self._world.chance(SALT_BYTES))

    def _verifier(self, principal: PrincipalConfig) -> Verifier:
        """The principal's verifier: written down, or behind a reference, where
        a password does as well and is turned into one that lasts as long as
        the password and this process."""
        if not principal.password:
            raise Refused(f"principal {principal.name} has keys, and no password")
        if not isinstance(principal.password, Secret):
            return parse_verifier(principal.password)
        try:
            raw = principal.password.resolve().reveal()
            text = raw.decode("utf-8")
            if is_verifier(text):
                return parse_verifier(text)
        except (SecretUnavailable, UnicodeDecodeError, VerifierInvalid) as error:
            why = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
            raise Refused(f"the password of principal {principal.name}: {why}") from None
        return self._from_password(principal.name, text)

    def _from_password(self, name: str, password: str) -> Verifier:
        # The print tells a changed password and gives none away.
        known = self._derived.get(name)
        print_of = hmac.digest(self._print_key, password.encode(), "sha256")
        if known is not None and known[0] == print_of:
            return known[1]
        made = derive(password, self._world.chance(SALT_BYTES))
        self._derived[name] = (print_of, made)
        return made


def _issuers(config: Config, world: World) -> Issuers | None:
    """The libraries behind them take a fifth of a second to load: only where there are any."""
    if not config.issuers:
        return None
    from gateway.identity.oidc import Issuers

    return Issuers(config.issuers, world)
