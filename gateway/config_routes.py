"""Listeners and targets: where sessions come in and where they go."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

import protocols
from gateway.addresses import Network, is_loopback, why_refused
from gateway.config import Address, ListenerConfig, TargetConfig
from gateway.config_table import Table
from gateway.policy.globs import complaint
from gateway.policy.words import nearest
from gateway.secrets.references import ReferenceInvalid, Secret

TLS_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
AUTH_METHODS = ("scram-sha-256-plus", "scram-sha-256", "md5", "cleartext", "none")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def check_name(table: Table, name: str) -> None:
    """Names appear in file names, in logs and before a ``/`` in what clients
    ask for, so their alphabet is small."""
    if _NAME.fullmatch(name) is None:
        table.report.error(
            table.place, "must be called by 1 to 63 of A-Z a-z 0-9 . _ -, a letter or digit first"
        )


def read_listener(table: Table) -> ListenerConfig:
    """``[[listener]]``."""
    address = table.address("address", zero_port=True)
    table.require("protocol")
    certificate, key = table.path("certificate"), table.path("key")
    if (certificate is None) != (key is None):
        table.error("key" if key is None else "certificate", "is missing: they come in pairs")
    near = is_loopback(address.host)
    # Without a certificate there is no TLS to offer on loopback; elsewhere the
    # default stays "require", so that leaving it out is an error, not a leak.
    plain = ("allow" if certificate else "off") if near else "require"
    tls = table.text("tls", plain, ("require", "allow", "off"))
    if tls != "off" and certificate is None:
        table.error("tls", f'is "{tls}", which needs a certificate and a key')
    if tls != "require" and not near:
        table.report.warn(
            table.at("tls"), f'is "{tls}" on {address}: secrets may cross the network in clear'
        )
    listener = ListenerConfig(
        address=address,
        protocol=table.text("protocol", "", protocols.NAMES),
        target=table.text("target"),
        tls=tls,
        certificate=certificate,
        key=key,
    )
    table.finish()
    return listener


def read_target(name: str, table: Table, durability: str) -> TargetConfig:
    """``[target.NAME]``; ``durability`` is the recording's, for a default."""
    check_name(table, name)
    for key in ("protocol", "user"):
        table.require(key)
    protocol = table.text("protocol", "", protocols.NAMES)
    upstream = table.address("upstream")
    allowed = read_networks(table)
    if reason := why_refused(upstream.host, allowed):
        table.error("upstream", f"can't be {upstream}: {reason} (allow_addresses permits networks)")
    near = is_loopback(upstream.host)
    tls = table.text("tls", "disable" if near else "verify-full", TLS_MODES)
    if not near and not tls.startswith("verify-"):
        table.report.warn(table.at("tls"), f'is "{tls}": who answers at {upstream} is not verified')
    auth = table.texts("auth", ("scram-sha-256-plus", "scram-sha-256"), AUTH_METHODS)
    if "cleartext" in auth and not near and not tls.startswith("verify-"):
        table.error("auth", 'has "cleartext", which needs tls = "verify-ca" or "verify-full"')
    password = read_secret(table, "password")
    if password is None and "none" not in auth and not table.has("password"):
        table.error(
            "password", 'is missing (auth = ["none"] is for an upstream that asks for none)'
        )
    database, databases = table.text("database"), table.texts("databases")
    for wrong in filter(None, map(complaint, databases)):
        table.error("databases", f"has a bad pattern: {wrong}")
    target = TargetConfig(
        name=name,
        protocol=protocol,
        upstream=upstream,
        user=table.text("user"),
        password=password,
        database=database,
        databases=databases,
        tls=tls,
        ca=_ca(table, tls),
        auth=auth,
        durability=table.text("durability", durability, ("os", "disk")),
        settings=_settings(table, protocol),
        groups=frozenset(table.texts("groups")),
        allow_addresses=allowed,
    )
    table.finish()
    return target


def _ca(table: Table, tls: str) -> Path | None:
    ca = table.path("ca")
    if ca is not None and tls in ("disable", "allow", "prefer"):
        table.error("ca", f'is of no use with tls = "{tls}"')
    return ca


def read_secret(table: Table, key: str) -> Secret | None:
    """The secret that ``key`` refers to, None where there is none or an error."""
    text = table.text(key)
    if not text:
        return None
    try:
        secret = Secret(text, table.report.base)
    except ReferenceInvalid as error:
        table.error(key, str(error))
        return None
    for warning in secret.warnings():
        table.report.warn(table.at(key), warning)
    return secret


def read_networks(table: Table) -> tuple[Network, ...]:
    """``allow_addresses``."""
    out: list[Network] = []
    for number, text in enumerate(table.texts("allow_addresses")):
        try:
            out.append(ipaddress.ip_network(text))
        except ValueError:
            table.report.error(
                (*table.at("allow_addresses"), number), 'is not a network such as "169.254.1.2/32"'
            )
    return tuple(out)


def _settings(table: Table, protocol: str) -> dict[str, object]:
    """``[target.NAME.settings]``, by the protocol's own table of settings."""
    inner = table.table("settings")
    raw = table.raw("settings")
    if not isinstance(raw, dict) or protocol not in protocols.NAMES:
        return {}
    known = protocols.load(protocol).settings
    out: dict[str, object] = {}
    for key, value in raw.items():
        if key not in known:
            inner.error(key, f"is not a setting of {protocol}{nearest(key, known)}")
            continue
        wanted = known[key]
        given: object = value
        if wanted in (tuple, frozenset) and isinstance(value, list):
            given = wanted(value)
        elif wanted is float and isinstance(value, int) and not isinstance(value, bool):
            given = float(value)
        if type(given) is not wanted:
            inner.error(key, f"must be of the type {_TYPES.get(wanted, wanted.__name__)}")
            continue
        out[key] = given
    doubts = protocols.load(protocol).doubts
    try:
        found = doubts(out) if doubts is not None else {}
    except ValueError as error:
        table.error("settings", f"can't be used: {error}")
        return out
    for key, doubt in found.items():
        table.report.warn((*table.at("settings"), key), doubt)
    return out


_TYPES = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    tuple: "list",
    frozenset: "list",
    list: "list",
    dict: "table",
}

__all__ = [
    "AUTH_METHODS",
    "TLS_MODES",
    "Address",
    "check_name",
    "read_listener",
    "read_networks",
    "read_secret",
    "read_target",
]
