"""What one worker process shares between its sessions."""

from __future__ import annotations

import ssl
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from gateway.approvals import Approvals
from gateway.config import Config
from gateway.identity.authority import Authority
from gateway.listening import Listener
from gateway.policy.policy import Policy
from gateway.reactor import Reactor
from gateway.spool import Depot
from gateway.targets import Target
from gateway.throttle import Throttle
from gateway.tls import client_context
from gateway.world import World
from protocols.contract import Screen
from recorder.journal import Journal

if TYPE_CHECKING:
    from gateway.cancels import Cancels
    from gateway.holds import Holds
    from gateway.island import Island
    from gateway.notary import Notary
    from gateway.quarantine.quarantine import Quarantine
    from gateway.session import Session


@dataclass(slots=True)
class Services:
    """``policy`` is what new sessions get; an open session keeps its own.
    ``own`` finds every secret that this gateway holds; ``memory`` is each
    target's scratch space for its protocol."""

    config: Config
    world: World
    journal: Journal
    authority: Authority
    approvals: Approvals
    policy: Policy
    targets: Mapping[str, Target]
    listeners: tuple[Listener, ...]
    reactor: Reactor
    own: Screen | None
    mask_key: bytes = field(repr=False)
    new_journal: Callable[[], Journal] = field(init=False)
    notary: Notary = field(init=False)
    holds: Holds = field(init=False)
    cancels: Cancels = field(init=False)
    throttle: Throttle = field(init=False)
    depot: Depot = field(init=False)
    apart: Path = field(init=False)
    """Where quarantines are: this worker's own folder."""
    island: Island | None = None
    """Speaks SSH where a listener or a target needs it."""
    secret_threads: trio.CapacityLimiter = field(init=False)
    """Of their own, so that a secret manager that hangs stops nothing else."""
    sessions: dict[str, Session] = field(default_factory=dict)
    memory: dict[str, dict[object, object]] = field(default_factory=dict)
    debug: bool = False
    _contexts: dict[tuple[str, str], ssl.SSLContext] = field(default_factory=dict)

    def quarantine(self) -> Quarantine:
        """A place apart, where a session's bulk is looked into."""
        from gateway.quarantine.quarantine import Quarantine

        return Quarantine(self.apart)

    def upstream_context(self, target: Target, alpn: str) -> ssl.SSLContext:
        """The TLS context for ``target``, made once: loading authorities takes
        milliseconds."""
        key = (target.name, alpn)
        context = self._contexts.get(key)
        if context is None:
            context = client_context(target.tls, target.config.ca, alpn)
            self._contexts[key] = context
        return context

    def alarm(self, what: str, message: str) -> None:
        """Something that the people who run the gateway must see. Never raises:
        the place where it is written to may be what has failed (a full disk)."""
        try:
            print(f"gateway: {what}: {message}", file=sys.stderr, flush=True)
        except (OSError, ValueError):
            pass  # There is nobody left to tell.

    def crash(self, session: str, error: BaseException) -> None:
        """A fault of ours. The exception's text may quote data, so only its
        type and place are printed, unless --debug was given."""
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "?"
        self.alarm("internal error", f"session {session}: {type(error).__name__} at {place}")
        if self.debug:
            traceback.print_exception(error, file=sys.stderr)
