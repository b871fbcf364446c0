"""Listeners and targets that SSH carries: host keys instead of certificates, a key
pair instead of a password, repositories instead of databases."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import protocols
from gateway.addresses import Address, parse_address, why_refused
from gateway.config import ListenerConfig, TargetConfig
from gateway.config_routes import check_name, read_networks, read_secret
from gateway.config_table import Table
from gateway.identity.public_keys import KeyInvalid
from gateway.key_file import HOST_KEY
from gateway.known_hosts import pins_for, read_pin
from gateway.policy.globs import complaint

MAX_PACK: Final = 1 << 30
"""Bytes of one push, where the target says nothing."""
SSH_PORT: Final = 22

_ENCRYPTION = "has no place here: SSH has its own encryption"
_LISTENER_NOT = {"tls": _ENCRYPTION, "certificate": _ENCRYPTION, "key": _ENCRYPTION}
_TARGET_NOT = {
    "tls": f"{_ENCRYPTION}, and host_keys say whom to trust",
    "ca": f"{_ENCRYPTION}, and host_keys say whom to trust",
    "password": "has no place here: the gateway logs in with a key",
    "auth": "has no place here: the gateway logs in with a key",
    "database": "has no place here: write repositories",
    "databases": "has no place here: write repositories",
}
_URL = re.compile(
    r"ssh://(?:(?P<user>[^@/:\s]+)@)?(?P<host>\[[^\]\s]+\]|[^@/:\[\]\s]+)"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<root>/[^\s]*)?"
)
_USER = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.@+\\-]{0,63}")
_STEP = r"[A-Za-z0-9_.+@][A-Za-z0-9_.+@-]*"
_ROOT = re.compile(rf"(?:/{_STEP})*")
_FOLDS_CASE = ("github.com", "gitlab.com", "bitbucket.org", "codeberg.org")
"""Public hosts that take names of repositories in any case."""


def rides_ssh(table: Table) -> bool:
    """True when the table's ``protocol`` is one that SSH carries."""
    name = table.raw("protocol")
    return (
        isinstance(name, str) and name in protocols.NAMES and protocols.load(name).carrier == "ssh"
    )


def read_ssh_listener(table: Table, state: Path) -> ListenerConfig:
    """``[[listener]]``."""
    _refuse(table, _LISTENER_NOT)
    listener = ListenerConfig(
        address=table.address("address", zero_port=True),
        protocol=table.text("protocol", "", protocols.NAMES),
        target=table.text("target"),
        tls="off",
        host_key=table.path("host_key") or state / HOST_KEY,
    )
    table.finish()
    return listener


def read_ssh_target(name: str, table: Table, durability: str) -> TargetConfig:
    """``[target.NAME]``; ``durability`` is the recording's, for a default."""
    check_name(table, name)
    _refuse(table, _TARGET_NOT)
    for key in ("key", "repositories"):
        table.require(key)
    upstream, user, root = _upstream(table)
    allowed = read_networks(table)
    if reason := why_refused(upstream.host, allowed):
        table.error("upstream", f"can't be {upstream}: {reason} (allow_addresses permits networks)")
    pins = _pins(table, upstream)
    case = table.text("case", "exact", ("exact", "lower"))
    if not table.has("case") and upstream.host in _FOLDS_CASE:
        table.report.warn(
            table.at("case"),
            f'is not set, and {upstream.host} takes names in any case: write case = "lower", '
            "or rules on one spelling miss the others",
        )
    target = TargetConfig(
        name=name,
        protocol=table.text("protocol", "", protocols.NAMES),
        upstream=upstream,
        user=user,
        password=None,
        tls="disable",
        auth=("publickey",),
        durability=table.text("durability", durability, ("os", "disk")),
        settings={
            "host_keys": pins,
            "root": root,
            "max_pack": _max_pack(table),
            "push_options": _globs(table, "push_options"),
        },
        groups=frozenset(table.texts("groups")),
        allow_addresses=allowed,
        key=read_secret(table, "key"),
        certificate=read_secret(table, "certificate"),
        host_keys=pins,
        root=root,
        repositories=_repositories(table, case),
        case=case,
    )
    table.finish()
    return target


def _refuse(table: Table, reasons: dict[str, str]) -> None:
    for key, why in reasons.items():
        if table.has(key):
            table.error(key, why)


def _upstream(table: Table) -> tuple[Address, str, str]:
    """Address, user and root. No message quotes the text, which may hold a password."""
    nowhere = Address("invalid.invalid", 1)
    user = table.text("user")
    text = table.text("upstream") if table.require("upstream") else ""
    root = ""
    if "://" in text or "/" in text:
        found = _URL.fullmatch(text)
        if found is None:
            table.error("upstream", 'is not a URL such as "ssh://git@host:22/srv/git"')
            return nowhere, user, ""
        named, root = found["user"] or "", (found["root"] or "").rstrip("/")
        if named and user and named != user:
            table.error("user", "is another than the one in upstream")
        user = named or user
        text = f"{found['host']}:{found['port'] or SSH_PORT}"
        if _ROOT.fullmatch(root) is None or {".", ".."} & set(root.split("/")):
            table.error(
                "upstream", "has a path that is no plain folder such as /srv/git (no ~, .., %)"
            )
            root = ""
    if text and not user:
        table.error("user", "is missing, here and in upstream")
    elif user and _USER.fullmatch(user) is None:
        table.error("user", "is no name that can be logged in as")
    if not text:
        return nowhere, user, root
    try:
        return parse_address(text), user, root
    except ValueError as error:
        table.error("upstream", str(error))
        return nowhere, user, root


def _pins(table: Table, upstream: Address) -> tuple[str, ...]:
    """Whom to trust at the other end. There is no trust on first use."""
    pins: list[str] = []
    for number, text in enumerate(table.texts("host_keys")):
        try:
            pins.append(read_pin(text))
        except KeyInvalid as error:
            table.report.error((*table.at("host_keys"), number), str(error))
    where = table.path("known_hosts")
    if where is not None and where.is_file():
        try:
            found = pins_for(upstream, where.read_text("utf-8", "replace"))
        except OSError:
            found = ()  # Reported with the path.
        if not found:
            table.error("known_hosts", f"is {where}, which has no usable key of {upstream}")
        pins += found
    if not (table.has("host_keys") or table.has("known_hosts")):
        table.error(
            "host_keys",
            'is missing: write the host\'s public keys, as "ssh-ed25519 AAAA...", or '
            'known_hosts = "FILE"',
        )
    elif table.has("host_keys") and table.raw("host_keys") == [] and not pins:
        table.error("host_keys", "is empty: nobody could be trusted")
    return tuple(dict.fromkeys(pins))


def _max_pack(table: Table) -> int:
    size = table.size("max_pack", MAX_PACK)
    if size < 4096:
        table.error("max_pack", "must be 4KiB or more")
    return size


def _repositories(table: Table, case: str) -> tuple[str, ...]:
    globs = _globs(table, "repositories")
    if table.has("repositories") and not globs:
        table.error("repositories", "is empty: nothing could be reached")
    for pattern in globs:
        if pattern.endswith((".git", "/")) or pattern.startswith("/"):
            table.error(
                "repositories",
                f'has "{pattern}": names are written org/repo, without .git and outer slashes',
            )
        elif case == "lower" and pattern != pattern.lower():
            table.error("repositories", f'has "{pattern}", which is never met: case is "lower"')
    return globs


def _globs(table: Table, key: str) -> tuple[str, ...]:
    globs = table.texts(key)
    for wrong in filter(None, map(complaint, globs)):
        table.error(key, f"has a bad pattern: {wrong}")
    return globs
