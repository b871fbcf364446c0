"""Tickets: short secrets of the gateway's own, for clients that choke on the
length of a token.

A ticket is ``wwt_`` and 160 random bits in base 32.  The state directory
holds one file for each, named by the SHA-256 of the ticket, so that neither
the directory nor a backup of it lets anyone in, and looking one up compares
nothing byte by byte with a secret.  A ticket works until it expires or is
revoked, any number of times, in every worker; it may outlive the proof that
it was minted for, by 12 hours at the very most.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gateway.identity.errors import Refused
from gateway.policy.principal import Principal
from gateway.world import World
from recorder.segment import fsync_directory

PREFIX = "wwt_"
DEFAULT_TTL = 900.0
MOST_TTL = 12 * 3600.0
MOST_TICKETS = 20_000
"""Files; minting more is refused, so that a loop can't fill the disk."""

_BITS = 160
_FORM = re.compile(r"wwt_[a-z2-7]{32}")
_NAME = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[0-9a-f]{8,64}")
_LIMIT = 64 << 10
_UNKNOWN = "a ticket that is unknown, revoked or expired"
_PUBLIC = "the ticket is not valid, or has expired"


@dataclass(frozen=True, slots=True)
class TicketRow:
    """What may be told of a ticket. ``id`` is no secret."""

    id: str
    subject: str
    issuer: str
    minted: float
    expires: float


class Tickets:
    """The tickets in ``<state>/tickets``; several processes may share it."""

    def __init__(self, state: Path, world: World) -> None:
        self._home = state / "tickets"
        self._world = world

    def mint(self, principal: Principal, ttl: float = DEFAULT_TTL) -> str:
        """A new ticket for ``principal``, good for ``ttl`` seconds. ValueError
        for a ttl that is not over 0 and up to MOST_TTL, and when there are too
        many tickets; OSError when it can't be stored."""
        if not 0 < ttl <= MOST_TTL:
            raise ValueError(f"a ticket lives at most {MOST_TTL / 3600:g} hours")
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.purge() >= MOST_TICKETS:
            raise ValueError(f"there are {MOST_TICKETS} tickets already; revoke some")
        secret = base64.b32encode(self._world.chance(_BITS // 8)).decode().lower()
        ticket = PREFIX + secret
        now = self._world.wall()
        body = json.dumps(
            {
                "version": 1,
                "minted": now,
                "expires": now + ttl,
                "principal": _plain(principal),
            }
        )
        where = self._home / _digest(ticket)
        partial = where.with_suffix(".new")
        descriptor = os.open(
            partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        with os.fdopen(descriptor, "w", encoding="utf-8") as sink:
            sink.write(body)
        partial.rename(where)
        return ticket

    def redeem(self, ticket: str) -> Principal:
        """Who ``ticket`` speaks for; Refused when it does for nobody."""
        if _FORM.fullmatch(ticket) is None:
            raise Refused("not the form of a ticket", _PUBLIC)
        stored = _read(self._home / _digest(ticket))
        if stored is None or not self._alive(stored):
            raise Refused(_UNKNOWN, _PUBLIC)
        return _principal(stored)

    def rows(self) -> list[TicketRow]:
        """The tickets that are good now, the next to expire first."""
        rows = [
            TicketRow(
                name[:16],
                str(stored["principal"]["subject"]),
                str(stored["principal"]["issuer"]),
                float(stored["minted"]),
                float(stored["expires"]),
            )
            for name, stored in self._stored()
            if self._alive(stored)
        ]
        return sorted(rows, key=lambda row: row.expires)

    def revoke(self, which: str) -> int:
        """Forget a ticket, given itself or the start of its id (8 characters
        or more). How many were forgotten: 0 when there is none such."""
        if _FORM.fullmatch(which):
            which = _digest(which)
        if _ID.fullmatch(which) is None:
            return 0
        found = [name for name, _ in self._stored() if name.startswith(which)]
        return self._revoked(found)

    def revoke_subject(self, subject: str, issuer: str) -> int:
        """Forget every ticket of one principal; how many there were."""
        return self._revoked(
            name
            for name, stored in self._stored()
            if (stored["principal"]["subject"], stored["principal"]["issuer"]) == (subject, issuer)
        )

    def purge(self) -> int:
        """Delete what has expired or can't be read; how many are left."""
        left = 0
        for name in self._names():
            stored = _read(self._home / name)
            if stored is not None and self._alive(stored):
                left += 1
            else:
                self._forget(name)
        return left

    def _alive(self, stored: dict[str, Any]) -> bool:
        # A ticket "from the future" means that the clock was set back since;
        # it errs towards refusing.
        now = self._world.wall()
        return bool(stored["minted"] - 60 <= now < stored["expires"]) and (
            stored["expires"] - stored["minted"] <= MOST_TTL
        )

    def _names(self) -> list[str]:
        with suppress(OSError):
            return [name for name in os.listdir(self._home) if _NAME.fullmatch(name)]
        return []

    def _stored(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for name in self._names():
            stored = _read(self._home / name)
            if stored is not None:
                yield name, stored

    def _revoked(self, names: Iterable[str]) -> int:
        count = sum(self._forget(name) for name in names)
        if count:
            fsync_directory(self._home)  # a power cut must not bring one back
        return count

    def _forget(self, name: str) -> int:
        try:
            (self._home / name).unlink()
        except FileNotFoundError:
            return 0
        return 1


def _digest(ticket: str) -> str:
    return hashlib.sha256(ticket.encode("ascii")).hexdigest()


def _plain(principal: Principal) -> dict[str, object]:
    plain = asdict(principal)
    plain["groups"] = sorted(principal.groups)
    return plain


def _read(where: Path) -> dict[str, Any] | None:
    """What a ticket's file says; None unless it is a whole file of ours that
    nobody else can write."""
    try:
        descriptor = os.open(where, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as source:
        status = os.fstat(descriptor)
        if (
            not stat.S_ISREG(status.st_mode)
            or status.st_uid not in (os.geteuid(), 0)
            or status.st_mode & 0o022
        ):
            return None
        raw = source.read(_LIMIT + 1)
    try:
        stored = json.loads(raw)
        whole = (
            stored["version"] == 1
            and isinstance(stored["minted"], float)
            and isinstance(stored["expires"], float)
            and isinstance(stored["principal"], dict)
        )
        _principal(stored)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return stored if whole and len(raw) <= _LIMIT else None


def _principal(stored: dict[str, Any]) -> Principal:
    plain = stored["principal"]
    return Principal(
        subject=str(plain["subject"]),
        issuer=str(plain["issuer"]),
        kind=str(plain["kind"]),
        groups=frozenset(map(str, plain["groups"])),
        run=str(plain["run"]),
        tags={str(k): str(v) for k, v in plain["tags"].items()},
        claims={str(k): str(v) for k, v in plain["claims"].items()},
        expires=float(stored["expires"]),
    )
