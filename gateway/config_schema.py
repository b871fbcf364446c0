"""What ``gateway.toml`` may say: reads it whole and checks it across."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gateway.addresses import reaches
from gateway.config import (
    Config,
    ConfigErrors,
    LimitsConfig,
    ListenerConfig,
    PrincipalConfig,
    RecordingConfig,
    TargetConfig,
)
from gateway.config_evidence import read_evidence
from gateway.config_identity import read_issuer, read_principal
from gateway.config_routes import read_listener, read_target
from gateway.config_ssh import read_ssh_listener, read_ssh_target, rides_ssh
from gateway.config_table import Place, Report, Table
from gateway.policy.lines import syntax_line
from gateway.policy.words import nearest
from recorder.retention import Wrong, read_retention
from recorder.store import Wrong as Unfit
from recorder.store import read_store

_MOST_BYTES = 1 << 24
"""Of a configuration file; a larger one is not one."""


def read_config(path: Path) -> Config:
    """See ``gateway.config.load_config``."""
    try:
        with path.open("rb") as source:
            text = source.read(_MOST_BYTES).decode("utf-8")
    except OSError as error:
        raise ConfigErrors((f"{path}: can't be read: {error.strerror}",)) from None
    except UnicodeDecodeError as error:
        raise ConfigErrors((f"{path}: is not UTF-8 (byte {error.start})",)) from None
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # The message names characters at most, never a value.
        raise ConfigErrors((f"{path}:{syntax_line(error, text)}: {error}",)) from None
    report = Report(path, text)
    config = _document(Table(report, (), raw), path)
    if report.errors:
        ordered = sorted(report.errors, key=lambda pair: pair[0])
        raise ConfigErrors(tuple(message for _, message in ordered))
    return config


def _document(top: Table, path: Path) -> Config:
    top.require("version")
    top.number("version", 1, 1, 1)
    state = top.path("state", file=False) or top.report.base / "state"
    if state.exists() and not state.is_dir():
        top.error("state", f"is {state}, which is not a directory")
    policy = top.path("policy")
    if policy is None:
        policy = top.report.base / "policy.toml"
        top.report.check_file(("policy",), policy)
    workers = top.number("workers", 1, 1, 256)
    recording = _recording(top.table("recording"))
    evidence = read_evidence(top.table("evidence"))
    wrong: Wrong = []
    retention = read_retention(top.raw("retention"), wrong)
    for place, message in wrong:
        top.report.error(("retention", *place), message)
    unfit: Unfit = []
    store = read_store(top.raw("store"), top.raw("recordings"), unfit)
    for where, message in unfit:
        top.report.error(where, message)
    if store.index_has_password:
        top.report.warn(("store",), "has a password in it: libpq's passfile is a better place")
    limits = _limits(top.table("limits"))
    issuers = {n: read_issuer(n, t) for n, t in top.named("issuer").items()}
    principals = {n: read_principal(n, t) for n, t in top.named("principal").items()}
    targets = {
        n: (read_ssh_target if rides_ssh(t) else read_target)(n, t, recording.durability)
        for n, t in top.named("target").items()
    }
    listeners = tuple(
        read_ssh_listener(t, state) if rides_ssh(t) else read_listener(t)
        for t in top.tables("listener")
    )
    top.finish()
    config = Config(
        path=path.absolute(),
        state=state,
        policy=policy,
        workers=workers,
        recording=recording,
        evidence=evidence,
        retention=retention,
        store=store,
        limits=limits,
        listeners=listeners,
        issuers=issuers,
        principals=principals,
        targets=targets,
    )
    _across(top.report, config)
    return replace(config, warnings=tuple(top.report.warnings))


def _recording(table: Table) -> RecordingConfig:
    plain = RecordingConfig()
    auditors = tuple(table.report.base / name for name in table.texts("auditors"))
    for number, where in enumerate(auditors):
        table.report.check_file((*table.at("auditors"), number), where)
    recording = RecordingConfig(
        durability=table.text("durability", plain.durability, ("os", "disk")),
        originals=table.text("originals", plain.originals, ("withhold", "seal")),
        credentials=table.text("credentials", plain.credentials, ("withhold", "seal")),
        auditors=auditors,
        low_water=table.size("low_water", plain.low_water),
        critical=table.size("critical", plain.critical),
        part_size=table.size("part_size", plain.part_size),
        part_time=table.duration("part_time", plain.part_time),
    )
    if not 1 << 10 <= recording.part_size <= 1 << 30:
        table.error("part_size", "must be 1KiB to 1GiB")
    for key in ("originals", "credentials"):
        if getattr(recording, key) == "seal" and not auditors:
            table.error(key, 'is "seal", but there are no auditors to seal them to')
    if recording.critical > recording.low_water:
        table.error("critical", "is more than low_water")
    table.finish()
    return recording


def _limits(table: Table) -> LimitsConfig:
    plain = LimitsConfig()
    limits = LimitsConfig(
        connections=table.number("connections", plain.connections, 1, 1_000_000),
        per_address=table.number("per_address", plain.per_address, 1, 1_000_000),
        greeting=table.duration("greeting", plain.greeting),
        idle=table.duration("idle", plain.idle),
        message=table.size("message", plain.message),
        held=table.size("held", plain.held),
        approvals=table.number("approvals_per_principal", plain.approvals, 1, 100_000),
        dial=table.duration("dial", plain.dial),
        failed_proofs=table.number("failed_proofs", plain.failed_proofs, 0, 1_000_000),
        spool=table.size("spool", plain.spool),
    )
    for key in ("greeting", "dial"):
        if table.has(key) and getattr(limits, key) == 0:
            table.error(key, "can't be off: strangers could keep connections forever")
    if not 4096 <= limits.message <= 1 << 30:
        table.error("message", "must be from 4KiB to 1GiB")
    if limits.spool < 1 << 20:
        table.error("spool", "must be 1MiB or more")
    if limits.held < limits.message:
        table.error("held", "is less than message, so that a whole message can't wait")
    table.finish()
    return limits


def _across(report: Report, config: Config) -> None:
    """What no table can tell alone."""
    if not config.listeners:
        report.error(("listener",), "is missing: there is nowhere to connect")
    if not config.targets:
        report.error(("target",), "is missing: there is nothing to connect to")
    if not config.issuers and not config.principals:
        report.error(("issuer",), "is missing, and so is principal: nobody could connect")
    _listeners(report, config.listeners, config.targets)
    first: dict[str, str] = {}
    for name, issuer in config.issuers.items():
        other = first.setdefault(issuer.iss, name)
        if issuer.iss and other != name:
            report.error(("issuer", name, "iss"), f"is that of issuer.{other} too")
    for name, target in config.targets.items():
        for listener in config.listeners:
            if listener.address.port and reaches(target.upstream, (listener.address,)):
                report.error(
                    ("target", name, "upstream"),
                    f"is this gateway's own listener {listener.address}",
                )
        _groups(report, ("target", name, "groups"), target, config.principals, config.groups)
        cap = target.settings.get("max_pack")
        if isinstance(cap, int) and cap > config.limits.spool:
            report.error(
                ("target", name, "max_pack"), "is more than limits.spool, where pushes wait"
            )
    _keys(report, config.principals)


def _keys(report: Report, principals: Mapping[str, PrincipalConfig]) -> None:
    """A key says who comes, so it is one principal's."""
    owners: dict[str, str] = {}
    for name, principal in principals.items():
        for number, key in enumerate(principal.ssh_keys):
            other = owners.setdefault(key, name)
            if other != name:
                report.error(
                    ("principal", name, "ssh_keys", number), f"is a key of principal.{other} too"
                )


def _listeners(
    report: Report, listeners: tuple[ListenerConfig, ...], targets: Mapping[str, TargetConfig]
) -> None:
    taken: set[object] = set()
    for number, listener in enumerate(listeners):
        place: Place = ("listener", number)
        if listener.address.port and listener.address in taken:
            report.error((*place, "address"), "is that of an earlier listener")
        taken.add(listener.address)
        # An empty protocol is one that was reported already.
        if listener.target:
            target = targets.get(listener.target)
            if target is None:
                report.error(
                    (*place, "target"),
                    f'is "{listener.target}", which is not a target'
                    f"{nearest(listener.target, targets)}",
                )
            elif target.protocol != listener.protocol and target.protocol and listener.protocol:
                report.error(
                    (*place, "target"),
                    f"speaks {target.protocol}, and this listener {listener.protocol}",
                )
        elif listener.protocol and not any(
            t.protocol in (listener.protocol, "") for t in targets.values()
        ):
            report.error((*place, "protocol"), f"is {listener.protocol}, which no target speaks")


def _groups(
    report: Report,
    place: Place,
    target: TargetConfig,
    principals: Mapping[str, PrincipalConfig],
    known: frozenset[str] | None,
) -> None:
    if known is None or not principals:
        return  # Issuers attest groups of their own; errs towards accepting.
    for group in sorted(target.groups - known):
        report.error(
            place, f'names "{group}", a group that no principal has{nearest(group, known)}'
        )
