"""``gateway ssh-cert``: an SSH certificate in exchange for a token."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import protocols
from gateway.commands import CommandError, add_config, guarded, read_config
from gateway.commands.proof import add_proof, prove_with
from gateway.config import Config
from gateway.durations import duration
from gateway.identity.authority import Authority
from gateway.identity.public_keys import KeyInvalid, PublicKey, public_key
from gateway.key_file import KeyFileError, fresh_key, private_key, write_secret
from gateway.world import World

_MOST_KEY = 32 << 10


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "ssh-cert",
        help="issue a short-lived SSH certificate for a token (for git over SSH)",
        description="Verify an OIDC token or ticket, and certify an SSH key for the same "
        "principal until the certificate expires. One for a ticket ends with the ticket. Run it "
        "where the gateway's state directory is.",
    )
    add_config(parser)
    add_proof(parser)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--key", type=Path, metavar="FILE", help="your public key, such as ~/.ssh/id_ed25519.pub"
    )
    which.add_argument(
        "--new", type=Path, metavar="PATH", help="make a new key pair there first (for CI)"
    )
    parser.add_argument("--ttl", default="15m", help="how long it lives (default 15m, at most 12h)")
    parser.add_argument(
        "--source",
        default="",
        metavar="NETWORKS",
        help="good only from these addresses, such as 192.0.2.0/24 (commas between)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="where to write it (default: beside the key)"
    )
    parser.add_argument("--json", action="store_true", help="print an object")
    parser.set_defaults(run=guarded(_run))


def _run(arguments: argparse.Namespace) -> int:
    config = read_config(arguments.config)
    try:
        ttl = duration(arguments.ttl)
    except ValueError as error:
        raise CommandError(f"--ttl: {error}", 2) from error
    secret = arguments.new or _private(arguments.key)
    out = arguments.out or secret.with_name(f"{secret.name}-cert.pub")
    held = None if arguments.new else _read(arguments.key)
    world = World()
    authority = Authority(config, world)
    principal, ticket = prove_with(authority, arguments)
    if ticket:
        ttl = min(ttl, principal.expires - world.wall())
    try:
        key = held or _make(arguments.new)
        issued = authority.ssh_keys.authority.issue(key, principal, ttl, arguments.source)
        out.write_text(f"{issued.line} {issued.name}\n")
    except (ValueError, KeyFileError) as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"{error.filename or out}: {error.strerror}") from error
    if arguments.json:
        told = {
            "certificate": str(out),
            "key": str(secret),
            "principal": issued.name,
            "serial": issued.serial,
            "key_id": issued.key_id,
            "expires": issued.expires,
        }
        print(json.dumps(told))
        return 0
    left = max(0, round(issued.expires - world.wall()))
    lasts = f"{left} s" if left < 90 else f"{round(left / 60)} min"
    print(f"wrote {out}: {issued.key_id}, serial {issued.serial}, good for {lasts}")
    options = f"-i {secret} -o IdentitiesOnly=yes -o CertificateFile={out}"
    print(f"next: GIT_SSH_COMMAND='ssh {options}' git clone {_example(config)}")
    return 0


def _read(where: Path) -> PublicKey:
    try:
        with where.open("rb") as file:
            text = file.read(_MOST_KEY).decode("utf-8", "replace")
    except OSError as error:
        raise CommandError(f"{where}: {error.strerror}") from error
    if "PRIVATE KEY" in text:
        raise CommandError(f"{where} is a private key; give the public one, {where}.pub", 2)
    try:
        return public_key(text)
    except KeyInvalid as error:
        raise CommandError(f"{where} {error}") from error


def _private(public: Path) -> Path:
    """The private key beside ``public``, where OpenSSH looks for it."""
    return public.with_suffix("") if public.suffix == ".pub" else public


def _make(where: Path) -> PublicKey:
    """A new key pair in ``where`` and ``where.pub``; never overwrites one."""
    raw = fresh_key()
    public = private_key(raw).public_key()
    line = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")
    try:
        write_secret(where, raw)
    except FileExistsError as error:
        raise CommandError(f"{where} exists; give it with --key {where}.pub") from error
    where.with_name(f"{where.name}.pub").write_text(f"{line}\n")
    return public_key(line)


def _example(config: Config) -> str:
    for listener in config.listeners:
        if protocols.load(listener.protocol).carrier == "ssh":
            names = (n for n, t in config.targets.items() if t.protocol == listener.protocol)
            user = listener.target or next(names, "TARGET")
            host = listener.address.host
            port = "PORT" if not listener.address.port else listener.address.port
            host = "GATEWAY" if host in ("0.0.0.0", "::") else host
            host = f"[{host}]" if ":" in host else host
            return f"ssh://{user}@{host}:{port}/org/repo.git"
    return "ssh://TARGET@GATEWAY:2222/org/repo.git"
