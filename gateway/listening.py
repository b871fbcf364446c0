"""A listener at run time: its socket's rules, its protocol, its certificate."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from gateway.config import Address, ListenerConfig
from gateway.host_key import HostKey, load_host_key
from gateway.key_file import own_key
from gateway.targets import split_request
from gateway.tls import server_context
from protocols import load
from protocols.contract import ProtocolKind


@dataclass(frozen=True, slots=True)
class Listener:
    """``context`` is None where the listener has no certificate; then TLS is
    never offered. ``host_key`` is for one that SSH carries."""

    address: Address
    kind: ProtocolKind
    target: str
    tls: str
    context: ssl.SSLContext | None
    host_key: HostKey | None = None

    @classmethod
    def from_config(cls, config: ListenerConfig) -> Listener:
        """Loads the certificate or the host key, which is made where there is none:
        OSError, ssl.SSLError, KeyFileError or ValueError when it can't."""
        kind = load(config.protocol)
        if config.host_key is not None:
            host_key = load_host_key(own_key(config.host_key))
            return cls(config.address, kind, config.target, "off", None, host_key)
        context = None
        if config.tls != "off" and config.certificate is not None and config.key is not None:
            context = server_context(config.certificate, config.key, kind.alpn)
        tls = config.tls if context is not None else "off"
        return cls(config.address, kind, config.target, tls, context)

    def tls_context(self) -> ssl.SSLContext:
        assert self.context is not None  # a conversation offers TLS only where there is one
        return self.context

    def choose(self, requested: str, user: str = "") -> tuple[str, str]:
        """Target and database (or repository) that the client asked for. On a
        listener with a target of its own all of it is the database; else ``<target>``
        or ``<target>/<database>``; database "" means the target's own. Over SSH the
        ``user`` name names the target."""
        if self.target:
            return self.target, "" if requested == self.target else requested
        if self.kind.carrier == "ssh":
            return user, requested
        return split_request(requested)
