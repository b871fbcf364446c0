"""``ref+file://path``, ``ref+file://path#key``: a file, or a value in a JSON
or TOML file. ``key`` is a path of names with ``/`` between; numbers index
lists. Relative paths start at the directory of the configuration."""

from __future__ import annotations

import json
import re
import stat
import tomllib
from pathlib import Path

from gateway.secrets.errors import ReferenceInvalid, SecretUnavailable

_LIMIT = 1 << 20
"""Bytes; a larger file is not a file of secrets."""
_INDEX = re.compile(r"[0-9]{1,6}")


def check(path: str, key: str) -> None:
    if key and any(not step for step in key.removeprefix("/").split("/")):
        raise ReferenceInvalid("has an empty name in its #key")


def resolve(path: str, key: str, base: Path) -> bytes:
    where = base / path
    try:
        with where.open("rb") as source:
            raw = source.read(_LIMIT + 1)
    except OSError as error:
        raise SecretUnavailable(f"{where}: {error.strerror}") from None
    if len(raw) > _LIMIT:
        raise SecretUnavailable(f"{where} is larger than {_LIMIT} bytes")
    if not key:
        # Editors end a file with a line break; a password never ends in one.
        return raw.removesuffix(b"\n").removesuffix(b"\r")
    return _value(_parse(where, raw), key, where)


def _parse(where: Path, raw: bytes) -> object:
    # The parser's own message may quote the file, so it is not passed on.
    try:
        text = raw.decode("utf-8")
        return tomllib.loads(text) if where.suffix == ".toml" else json.loads(text)
    except (ValueError, RecursionError):
        kind = "TOML" if where.suffix == ".toml" else "JSON"
        raise SecretUnavailable(f"{where} is not valid {kind}") from None


def _value(tree: object, key: str, where: Path) -> bytes:
    at = tree
    for step in key.removeprefix("/").split("/"):
        if isinstance(at, dict) and step in at:
            at = at[step]
        elif isinstance(at, list) and _INDEX.fullmatch(step) and int(step) < len(at):
            at = at[int(step)]
        else:
            raise SecretUnavailable(f"{where} has nothing at #{key}")
    if not isinstance(at, str):
        raise SecretUnavailable(f"{where} has no text at #{key}")
    return at.encode("utf-8")


def warnings(path: str, base: Path) -> list[str]:
    where = base / path
    try:
        mode = stat.S_IMODE(where.stat().st_mode)
    except OSError:
        return []
    if mode & 0o077:
        return [f"{where} can be read by others (mode {mode:04o}); make it 0600"]
    return []
