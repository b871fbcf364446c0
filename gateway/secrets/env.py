"""``ref+env://NAME``: an environment variable of the gateway's process."""

from __future__ import annotations

import os
import re
from pathlib import Path

from gateway.secrets.errors import ReferenceInvalid, SecretUnavailable

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check(path: str, key: str) -> None:
    if _NAME.fullmatch(path) is None:
        raise ReferenceInvalid("does not name an environment variable after ref+env://")
    if key:
        raise ReferenceInvalid("has a #key, which ref+env:// does not take")


def resolve(path: str, key: str, base: Path) -> bytes:
    value = os.environb.get(path.encode())
    if value is None:
        raise SecretUnavailable(f"the environment variable {path} is not set")
    return value


def warnings(path: str, base: Path) -> list[str]:
    return []
