"""The gateway's own authority for SSH certificates (OpenSSH, PROTOCOL.certkeys).

A certificate stands for a proven principal, as a ticket does: it works until it
expires, in every worker, and may outlive the proof that it was issued for, by 12
hours at the very most. One that was issued for a ticket ends with that ticket, or
two of them in turn could go on for ever (``gateway ssh-cert`` sees to it).

The key, ``<state>/ssh_ca``, is made on first use.  Deleting it ends all certificates.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    SSHCertificateBuilder,
    SSHCertificateType,
    load_ssh_public_key,
)

from gateway.identity.errors import Refused
from gateway.identity.public_keys import PublicKey
from gateway.key_file import KeyFileError, own_key, private_key, read_key
from gateway.policy.principal import Principal
from gateway.world import World

FILE = "ssh_ca"
EXTENSION = b"principal@wirewarden"
DEFAULT_TTL = 900.0
MOST_TTL = 12 * 3600.0
SKEW = 60
"""Seconds before now from which a certificate counts, for clocks that differ."""
MOST_CLAIMS = 32 << 10
"""Bytes of the principal within; more would not pass through every SSH program."""


@dataclass(frozen=True, slots=True)
class Issued:
    """``line`` is the certificate in the form of a ``-cert.pub`` file, without the
    comment. ``name`` is its one principal. ``expires`` is a Unix second."""

    line: str
    serial: int
    key_id: str
    name: str
    expires: int


class SshCa:
    """Issues certificates, and tells by which key they must be signed."""

    def __init__(self, state: Path, world: World) -> None:
        self._path = state / FILE
        self._world = world
        self._known: tuple[object, bytes] = (None, b"")

    def issue(self, key: PublicKey, principal: Principal, ttl: float, source: str = "") -> Issued:
        """A certificate of ``key`` for ``principal``, good for ``ttl`` seconds, and from
        the addresses ``source`` alone (networks with commas between). ValueError for a
        ttl that isn't over 0 and up to MOST_TTL, for too many claims, for a security
        key, and for a source that is no network; KeyFileError when the authority's key
        can't be had."""
        if not 0 < ttl <= MOST_TTL:
            raise ValueError(f"a certificate lives at most {MOST_TTL / 3600:g} hours")
        if key.kind.startswith("sk-"):
            raise ValueError("a security key can be registered (ssh_keys), and not certified")
        holder = load_ssh_public_key(key.line.encode())
        assert isinstance(holder, Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey)
        inside = json.dumps(_plain(principal), separators=(",", ":")).encode()
        if len(inside) > MOST_CLAIMS:
            raise ValueError("the token has too many claims for a certificate: use a ticket")
        signer = private_key(own_key(self._path))
        now = int(self._world.wall())
        serial = int.from_bytes(self._world.chance(8), "big") >> 1
        key_id = f"{principal.issuer}:{principal.subject}"
        if principal.run:
            key_id += f" run {principal.run}"
        name, expires = name_of(principal.subject), now + max(1, int(ttl))
        builder = (
            SSHCertificateBuilder()
            .public_key(holder)
            .serial(serial)
            .type(SSHCertificateType.USER)
            .key_id(key_id.encode())
            .valid_principals([name.encode()])
            .valid_after(now - SKEW)
            .valid_before(expires)
            .add_extension(EXTENSION, inside)
        )
        if source:
            networks = ",".join(str(ip_network(text)) for text in source.split(","))
            builder = builder.add_critical_option(b"source-address", networks.encode())
        line = builder.sign(signer).public_bytes().decode("ascii")
        return Issued(line, serial, key_id, name, expires)

    def public(self) -> bytes:
        """The 32 bytes of the key that signs, as the file has it now; Refused when
        there is none, or it is not to be trusted. Any thread may call it."""
        try:
            status = os.stat(self._path)
            mark = (status.st_mtime_ns, status.st_ino, status.st_size, status.st_mode)
            known = self._known
            if known[0] == mark:
                return known[1]
            raw = read_key(self._path)
            key = private_key(raw) if raw is not None else None
        except FileNotFoundError:
            raise Refused("a certificate, and this gateway has issued none") from None
        except (OSError, KeyFileError) as error:
            raise Refused(f"a certificate, and the authority's key: {error}") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise Refused(f"a certificate, and {self._path} is no Ed25519 key")
        public = key.public_key().public_bytes_raw()
        self._known = (mark, public)
        return public


def name_of(subject: str) -> str:
    """The principal of ``subject``'s certificates. In OpenSSH's tools a comma parts
    principals, so it and blanks are written with percent signs."""
    return quote(subject, safe="@/:+=._~!$*-")


def _plain(principal: Principal) -> dict[str, object]:
    return {
        "version": 1,
        "subject": principal.subject,
        "issuer": principal.issuer,
        "kind": principal.kind,
        "groups": sorted(principal.groups),
        "run": principal.run,
        "tags": dict(principal.tags),
        "claims": dict(principal.claims),
    }
