"""Where each token was first seen, so that a stolen one is of no use from
another place (THREATS.md row 87).

One small file for each token in ``<state>/tokens``, named by the token's id
(a SHA-256), holds the first peer's neighbourhood. Files, because the worker
processes of a gateway must agree, and a restart must not forget.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from gateway.addresses import neighbourhood
from gateway.identity.errors import Refused
from gateway.world import World

MOST_TOKENS = 100_000
"""Files; beyond that new tokens are refused until some expire."""
_REMEMBERED = 10_000
_PURGE_EVERY = 300.0
_NAME = re.compile(r"[0-9a-f]{64}")
_BODY = re.compile(r"([0-9]{1,12}) (\S{1,64})\n")


class Bindings:
    """First come, first bound."""

    def __init__(self, state: Path, world: World) -> None:
        self._home = state / "tokens"
        self._world = world
        self._known: OrderedDict[str, str] = OrderedDict()
        self._purged: float | None = None
        self._count = 0

    def bind(self, token: str, peer: str, until: float) -> None:
        """Refused when ``token`` (its id) was first seen from another place
        than ``peer``, and when that can't be written down."""
        place = neighbourhood(peer)
        known = self._known.get(token)
        if known is None:
            try:
                known = self._settle(token, place, until)
            except OSError as error:
                raise Refused(f"the token's address can't be written down: {error}") from None
            self._known[token] = known
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        if known != place:
            raise Refused(
                f"the token was first used from {known}, and now from {place}",
                "the token was used from another address before",
            )

    def _settle(self, token: str, place: str, until: float) -> str:
        """The place that ``token`` belongs to, ``place`` if it is new."""
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        now = self._world.mono_ns() / 1e9
        if self._purged is None or now - self._purged > _PURGE_EVERY:
            self._count = self.purge()
            self._purged = now
        where = self._home / token
        partial = self._home / f"{token}.{self._world.ulid()}"
        if self._count >= MOST_TOKENS and not where.exists():
            raise Refused("there are too many live tokens to keep apart")
        partial.write_text(f"{int(until) + 1} {place}\n")
        try:
            # A link appears whole or not at all, and never replaces.
            os.link(partial, where)
            self._count += 1
        except FileExistsError:
            pass
        finally:
            partial.unlink()
        stored = _BODY.fullmatch(where.read_text())
        return stored[2] if stored else "an unknown place"

    def purge(self) -> int:
        """Forget tokens that have expired by themselves; how many are left."""
        left = 0
        for name in os.listdir(self._home):
            where = self._home / name
            with suppress(OSError):
                stored = _BODY.fullmatch(where.read_text())
                old = self._world.wall() - where.stat().st_mtime > 60
                if _NAME.fullmatch(name) is None:
                    if old:
                        where.unlink()  # Left behind by a process that died.
                elif stored and int(stored[1]) < self._world.wall():
                    where.unlink()
                else:
                    left += 1
        return left
