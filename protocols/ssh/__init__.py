"""git over SSH (RFC 4251 to 4254 below, git's own protocol above).

``KIND`` is made when it is asked for: who only reads frames needs no lanes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from protocols.contract import ProtocolKind


def __getattr__(name: str) -> ProtocolKind:
    if name == "KIND":
        from protocols.ssh.kind import KIND

        return KIND
    raise AttributeError(name)
