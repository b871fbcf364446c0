"""The table of protocols: one line each. See README.md to add one."""

from __future__ import annotations

from importlib import import_module

from protocols import compiled
from protocols.contract import ProtocolKind

compiled.settle()

_FOLDERS = {
    "postgres": "protocols.postgres",
    "resp": "protocols.resp",
    "git-ssh": "protocols.ssh",
}

NAMES = tuple(_FOLDERS)


def load(name: str) -> ProtocolKind:
    """The protocol called ``name``; KeyError when the table has none."""
    kind: ProtocolKind = import_module(_FOLDERS[name]).KIND
    return kind
