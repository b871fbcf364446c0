"""Targets as a session meets them: may this principal come in, and to which
database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import protocols
from gateway.addresses import Address, dialable
from gateway.config import Config, TargetConfig
from gateway.policy.globs import compile_globs
from gateway.policy.principal import Principal
from gateway.secrets.references import Secret
from protocols.contract import ProtocolKind
from protocols.git.words import is_canonical


class TargetRefused(Exception):
    """The text is fit for the client."""


class Target:
    """A named upstream, ready for use; see ``TargetConfig`` for the fields."""

    __slots__ = ("_allows", "config", "kind", "own")

    def __init__(self, config: TargetConfig, own: Iterable[Address] = ()) -> None:
        """``own`` are the gateway's listeners, which are never dialled."""
        self.config = config
        self.kind: ProtocolKind = protocols.load(config.protocol)
        self.own = tuple(own)
        self._allows = compile_globs(config.repositories or config.databases)

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def upstream(self) -> Address:
        return self.config.upstream

    @property
    def user(self) -> str:
        return self.config.user

    @property
    def password(self) -> Secret | None:
        return self.config.password

    @property
    def key(self) -> Secret | None:
        return self.config.key

    @property
    def certificate(self) -> Secret | None:
        return self.config.certificate

    @property
    def host_keys(self) -> tuple[str, ...]:
        return self.config.host_keys

    @property
    def root(self) -> str:
        return self.config.root

    @property
    def tls(self) -> str:
        return self.config.tls

    @property
    def auth(self) -> tuple[str, ...]:
        return self.config.auth

    @property
    def durability(self) -> str:
        return self.config.durability

    @property
    def settings(self) -> Mapping[str, object]:
        return self.config.settings

    def admit(self, principal: Principal) -> None:
        """TargetRefused when ``principal`` is in none of the target's groups,
        in the words for a target that does not exist."""
        if self.config.groups and not self.config.groups & principal.groups:
            raise TargetRefused(no_target(self.name))

    def choose(self, requested: str) -> str:
        """The database upstream for what the client asked for; TargetRefused
        when the target has none such.

        "" and the target's own name mean its default database, which is ""
        (the upstream's own default) where the configuration names none at all;
        the target's name and a slash may come before a database's name.

        Where the target has ``repositories``, ``requested`` is the canonical name of
        one (``org/repo``), and what is returned is the one to judge and to ask for.
        """
        config = self.config
        if config.repositories:
            return self._repository(requested)
        wanted = requested.removeprefix(f"{config.name}/")
        if wanted in ("", config.name):
            if config.database or not config.databases:
                return config.database
            raise TargetRefused(
                f'target {config.name} has no default database; ask for "{config.name}/<database>"'
            )
        if wanted == config.database or self._allows(wanted):
            return wanted
        hint = f'; ask for "{config.database}"' if config.database else ""
        raise TargetRefused(f"target {config.name} has no such database for you{hint}")

    def _repository(self, requested: str) -> str:
        name = requested.lower() if self.config.case == "lower" else requested
        # Whoever asks has made it canonical; what isn't is refused here again.
        if is_canonical(name) and self._allows(name):
            return name
        raise TargetRefused(f"target {self.name} has no such repository for you")

    def why_not(self, resolved: str) -> str:
        """Why the address ``resolved`` that the upstream's name resolved to
        must not be dialled, "" when it may. Dial exactly that address."""
        return dialable(
            self.upstream.host,
            resolved,
            self.upstream.port,
            self.own,
            self.config.allow_addresses,
        )

    def __repr__(self) -> str:
        return f"Target({self.name!r}, {self.config.protocol}, {self.upstream})"


def no_target(name: str) -> str:
    """The one sentence for a target that is not there or not for the asker."""
    return f'there is no target "{name}" for you'


def split_request(requested: str) -> tuple[str, str]:
    """``<target>`` or ``<target>/<database>`` to (target, database or "")."""
    name, _, database = requested.partition("/")
    return name, database


def load_targets(config: Config) -> dict[str, Target]:
    """Every target of the configuration, by name."""
    own = tuple(listener.address for listener in config.listeners)
    return {name: Target(target, own) for name, target in config.targets.items()}
