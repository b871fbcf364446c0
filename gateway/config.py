"""The configuration as values: frozen, checked, complete.

``load_config`` reads ``gateway.toml`` strictly: an unknown key, a value of the
wrong form or a reference to something that is not there is an error, and all
errors of the file are told at once (``ConfigErrors``).  Everything here is
final: defaults are filled in and paths are absolute.

Units: durations are seconds (float, 0.0 means off), sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.addresses import Address, Network
from gateway.config_evidence import EvidenceConfig
from gateway.secrets.references import Secret
from recorder.retention import Retention
from recorder.store import Store

__all__ = [
    "Address",
    "ClaimNames",
    "Config",
    "ConfigErrors",
    "EvidenceConfig",
    "IssuerConfig",
    "LimitsConfig",
    "ListenerConfig",
    "PrincipalConfig",
    "RecordingConfig",
    "TargetConfig",
    "load_config",
]


class ConfigErrors(Exception):
    """Everything that is wrong with a configuration; one line each."""

    def __init__(self, errors: tuple[str, ...]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


@dataclass(frozen=True, slots=True)
class RecordingConfig:
    """``durability``: ``os`` (survives the process) or ``disk`` (fsync before
    bytes move).  ``originals``: ``withhold`` masked originals, or ``seal``
    them to the public keys in ``auditors``; ``credentials``: the same of what
    upstreams are shown, else not kept at all.  Below ``low_water`` free bytes
    new sessions are refused, below ``critical`` open ones end.  A long
    session is cut after ``part_size`` bytes of records or ``part_time``
    seconds (0: only by size)."""

    durability: str = "os"
    originals: str = "withhold"
    credentials: str = "withhold"
    auditors: tuple[Path, ...] = ()
    low_water: int = 1 << 30
    critical: int = 256 << 20
    part_size: int = 8 << 20
    part_time: float = 600.0


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """What one process grants. ``greeting`` is the time for TLS and proof,
    ``message`` the largest client message, ``held`` the most bytes parked
    behind questions in a session, ``approvals`` the most commands that one
    principal may have waiting for people, ``dial`` the time to connect a target,
    ``failed_proofs`` how many a minute one address may fail before it is turned
    away unheard (0: no limit), ``spool`` the most bytes of pushes that wait on disk
    in one worker."""

    connections: int = 1000
    per_address: int = 200
    greeting: float = 20.0
    idle: float = 0.0
    message: int = 1 << 20
    held: int = 4 << 20
    approvals: int = 20
    dial: float = 10.0
    failed_proofs: int = 20
    spool: int = 8 << 30


@dataclass(frozen=True, slots=True)
class ListenerConfig:
    """``target`` "" lets the client choose: it asks for ``<target>`` or
    ``<target>/<database>``.  ``tls``: ``require``, ``allow`` or ``off``.
    ``host_key``: of a listener that SSH carries, the private key with which it
    proves itself; None for others."""

    address: Address
    protocol: str
    target: str = ""
    tls: str = "require"
    certificate: Path | None = None
    key: Path | None = None
    host_key: Path | None = None


@dataclass(frozen=True, slots=True)
class ClaimNames:
    """Which claims of a token become what. Dots lead into nested objects
    (``realm_access.roles``) where no claim has the dotted name itself."""

    subject: str = "sub"
    groups: str = "groups"
    run: str = "run_id"
    tags: Mapping[str, str] = field(default_factory=dict)
    """Tag name to claim name."""


@dataclass(frozen=True, slots=True)
class IssuerConfig:
    """Someone whose tokens are believed. Exactly one of ``jwks_file`` and
    ``jwks_url`` is set.  ``max_age``: the most seconds since ``iat``, 0.0 for
    as long as ``exp`` says.  ``required``: claim to globs, one of which must
    match.  ``bind``: ``address`` refuses a token that was first seen from
    another address, ``none`` does not."""

    name: str
    iss: str
    audience: str
    algorithms: tuple[str, ...]
    jwks_file: Path | None
    jwks_url: str
    kind: str = "ci"
    claims: ClaimNames = ClaimNames()
    leeway: float = 30.0
    max_age: float = 0.0
    required: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    bind: str = "address"
    ca: Path | None = None
    """Certificate authorities for ``jwks_url``; None for the system's."""


@dataclass(frozen=True, slots=True)
class PrincipalConfig:
    """A local principal. ``password`` is a SCRAM-SHA-256 verifier in
    PostgreSQL's form, or a reference to one or to a password, or "" for none.
    ``ssh_keys`` are public keys (``type base64``), each of one principal only."""

    name: str
    password: str | Secret = field(default="", repr=False)
    groups: frozenset[str] = frozenset()
    kind: str = "person"
    tags: Mapping[str, str] = field(default_factory=dict)
    ssh_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TargetConfig:
    """A named upstream. ``tls`` is one of libpq's six modes.  ``auth`` are the
    methods by which the gateway will prove itself (``Challenge.method``; the
    word ``none`` lets the upstream ask for nothing).  ``databases`` are globs
    of what a client may ask for; empty: only ``database``, and where that is
    "" too, only what the upstream gives to who names none.  ``groups``: who
    may reach the target at all; empty: every proven principal (the policy
    still decides each command).

    Of a target that SSH carries: ``key`` is the private key to log in with,
    ``certificate`` its OpenSSH certificate if it has one, ``host_keys`` the pins
    (``type base64``, or ``@cert-authority type base64``), ``root`` the upstream's
    folder of repositories ("" or ``/srv/git``), and ``repositories`` globs of
    canonical names. ``case``: ``exact``, or ``lower`` where the upstream takes
    ``Org/Repo`` and ``org/repo`` for the same."""

    name: str
    protocol: str
    upstream: Address
    user: str
    password: Secret | None
    database: str = ""
    databases: tuple[str, ...] = ()
    tls: str = "verify-full"
    ca: Path | None = None
    auth: tuple[str, ...] = ("scram-sha-256-plus", "scram-sha-256")
    durability: str = "os"
    settings: Mapping[str, object] = field(default_factory=dict)
    groups: frozenset[str] = frozenset()
    allow_addresses: tuple[Network, ...] = ()
    """Networks of link-local, metadata or (behind a name) loopback addresses
    that may be dialled all the same."""
    key: Secret | None = None
    certificate: Secret | None = None
    host_keys: tuple[str, ...] = ()
    root: str = ""
    repositories: tuple[str, ...] = ()
    case: str = "exact"


@dataclass(frozen=True, slots=True)
class Config:
    """A whole, checked configuration. ``warnings`` are for the log."""

    path: Path
    state: Path
    policy: Path
    workers: int
    recording: RecordingConfig
    limits: LimitsConfig
    listeners: tuple[ListenerConfig, ...]
    issuers: Mapping[str, IssuerConfig]
    principals: Mapping[str, PrincipalConfig]
    targets: Mapping[str, TargetConfig]
    evidence: EvidenceConfig = field(default_factory=EvidenceConfig)
    retention: Retention = field(default_factory=Retention)
    """For ``recorder prune``; the gateway itself deletes nothing."""
    store: Store = field(default_factory=Store)
    """For ``recorder``; the gateway itself writes to its state directory only."""
    warnings: tuple[str, ...] = ()

    @property
    def groups(self) -> frozenset[str] | None:
        """Every group a principal can have; None when issuers attest groups
        that this file can't list."""
        if self.issuers:
            return None
        return frozenset(g for p in self.principals.values() for g in p.groups)


def load_config(path: Path | str) -> Config:
    """Read and check ``gateway.toml``; ``ConfigErrors`` tells all that is
    wrong with it, each with file, line and key."""
    from gateway.config_schema import read_config

    return read_config(Path(path))
