"""Who may log in over SSH with a key: the bearer of one that is registered, or of a
certificate of this gateway's own authority.

Nothing here waits, and any thread may ask: the configuration does not change while
the gateway runs.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping

from gateway.config import Config
from gateway.identity.errors import Refused
from gateway.identity.public_keys import fingerprint, kind_of
from gateway.identity.ssh_ca import SshCa
from gateway.identity.ssh_certificates import Read, is_certificate, read_certificate
from gateway.policy.principal import Principal
from gateway.world import World


class SshKeys:
    """``local(name)`` gives the local principal of that name, or raises Refused."""

    def __init__(self, config: Config, world: World, local: Callable[[str], Principal]) -> None:
        self.authority = SshCa(config.state, world)
        self._issuers = frozenset(config.issuers)
        self._world = world
        self._local = local
        self._owners = {
            base64.b64decode(line.split()[1]): name
            for name, principal in config.principals.items()
            for line in principal.ssh_keys
        }

    def accepts(self, blob: bytes, peer: str) -> bool:
        """Whether a client at the IP address ``peer`` that proves to hold ``blob``'s
        private key would be let in now."""
        try:
            self.prove(blob, peer)
        except Refused:
            return False
        return True

    def prove(self, blob: bytes, peer: str) -> Principal:
        """The principal behind ``blob``, a public key or certificate (RFC 4253 section
        6.6), whose private key was proven to be the client's; Refused otherwise."""
        if is_certificate(blob):
            return self._certified(self._read(blob, peer).principal)
        owner = self._owners.get(blob)
        if owner is None:
            raise Refused(f"the unknown key {fingerprint(blob)} ({kind_of(blob)[:40]!r})")
        return self._local(owner)

    def facts(self, blob: bytes, peer: str) -> Mapping[str, object]:
        """For the record, of what was proven: ``method`` (``key`` or ``certificate``),
        ``fingerprint``; of a certificate ``serial`` and ``key_id`` too."""
        found: dict[str, object] = {"method": "key", "fingerprint": fingerprint(blob)}
        if is_certificate(blob):
            found["method"] = "certificate"
            try:
                read = self._read(blob, peer)
            except Refused:
                return found  # It expired just now.
            found |= {"serial": read.serial, "key_id": read.key_id}
        return found

    def _read(self, blob: bytes, peer: str) -> Read:
        return read_certificate(blob, self.authority.public(), self._world.wall(), peer)

    def _certified(self, inside: Principal) -> Principal:
        """``inside``, as far as the configuration still knows who it speaks of. A local
        principal is what the file says now, not what it said at the time of issue."""
        if inside.issuer == "local":
            now = self._local(inside.subject)
            return Principal(
                now.subject, now.issuer, now.kind, now.groups, inside.run, now.tags, now.claims,
                inside.expires,
            )  # fmt: skip
        if inside.issuer not in self._issuers:
            raise Refused("a certificate of an issuer that is not configured any more")
        return inside
