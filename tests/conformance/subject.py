"""What a protocol brings to the laws: scripts, a server, and its canaries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

from protocols.contract import Destined
from protocols.wire import Side


class Server(Protocol):
    """A scripted upstream: takes any bytes, at any cut, and never raises."""

    def receive(self, data: bytes) -> bytes:
        """What it says when it has read ``data``."""


@dataclass(frozen=True)
class Script:
    """What a client says, in turns: in each it waits for the answers to the
    one before. Turns before ``login`` are the login."""

    turns: tuple[bytes, ...]
    login: int
    identity: bool = True
    """False when some of it is for the gateway itself."""
    errors: bool = False
    """True when the server reports errors, and they may quote values."""


@dataclass(frozen=True)
class Subject:
    """``forbidden`` is in the text of commands that are to be refused, and in
    nothing else. ``refusals`` counts the well-formed refusals in what the
    client got, and raises when that is not made of whole frames.
    ``oversized`` are bytes behind a login that break a limit, and of whom."""

    scripts: Mapping[str, Script]
    server: Callable[[], Server]
    destined: Destined
    canaries: tuple[bytes, ...]
    forbidden: str
    refusals: Callable[[bytes], int]
    oversized: tuple[tuple[Side, bytes], ...]
    results: frozenset[str] = frozenset()
    """Scripts with results that have columns."""
    limit: int = 1 << 16
    waits: int = 0
    """Not 0: the client sends this turn and later ones only once the upstream let it in."""
    greeting: bytes = b""
    """What the upstream says by itself, once a client's destination is known."""


def load(protocol: str) -> Subject:
    subject: Subject = import_module(f"subjects.{protocol.replace('-', '_')}").SUBJECT
    return subject
