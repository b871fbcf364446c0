"""Where an issuer's keys come from: a file, or an https URL.

A source never gives up keys that it has because a newer set can't be had: an
outage of the identity provider must not stop work. It errs towards serving a
key that was withdrawn meanwhile, for ``_STALE`` at most.
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Protocol

import httpx
import trio

from gateway.identity.jwks import LIMIT, JwksInvalid, KeySet, read_jwks
from gateway.world import World

_log = logging.getLogger("gateway.identity")

_FRESH = 600.0
"""Seconds after which a fetched set is fetched again when it is next used."""
_STALE = 86400.0
"""Seconds after which a fetched set is dropped when no newer one can be had."""
_PAUSE = 60.0
"""Least seconds between fetches for keys that were not in the set, so that
a flood of made-up key ids is not a flood of fetches."""
_RETRY = 5.0
"""Least seconds between fetches when there is no set at all."""
_TIMEOUT = 5.0


class KeySource(Protocol):
    """Keys of one issuer."""

    async def keys(self, kid: str) -> KeySet | None:
        """The newest set there is, looked up again when it does not know
        ``kid``; None when there is none to be had."""


class FileKeys:
    """A JWKS file, read again when it changes; a version of it that can't be
    read is told of and tried once, not for each token that comes along."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._set: KeySet | None = None
        self._told = ""

    async def keys(self, kid: str) -> KeySet | None:
        try:
            status = self._path.stat()
            mark = (status.st_mtime_ns, status.st_size, status.st_ino)
            if mark != self._seen:
                self._seen = mark
                with self._path.open("rb") as source:
                    self._set = read_jwks(source.read(LIMIT + 1))
                self._told = ""
        except (OSError, JwksInvalid) as error:
            if isinstance(error, OSError):
                self._seen = None
            why = str(error)
            if why != self._told:
                self._told = why
                kept = "keeping the keys read before" if self._set else "it has no keys"
                _log.warning("jwks file %s: %s; %s", self._path, why, kept)
        return self._set


class UrlKeys:
    """A JWKS URL. One fetch at a time; redirects, compression, answers other
    than 200 and sets over LIMIT bytes are failures. No proxy is taken from
    the environment: the connection goes to the host that the URL names."""

    def __init__(self, url: str, world: World, ca: Path | None = None) -> None:
        self._url = url
        self._world = world
        self._ca = ca
        self._set: KeySet | None = None
        self._fetched = 0.0
        self._tried: float | None = None
        self._lock = trio.Lock()

    async def keys(self, kid: str) -> KeySet | None:
        if self._wanted(kid) or (self._lacks(kid) and self._lock.locked()):
            async with self._lock:
                # Whoever held the lock may have fetched what is missing.
                if self._wanted(kid):
                    await self._fetch()
        if self._set is not None and self._now() - self._fetched > _STALE:
            self._set = None
        return self._set

    def _now(self) -> float:
        return self._world.mono_ns() / 1e9

    def _wanted(self, kid: str) -> bool:
        now = self._now()
        since = float("inf") if self._tried is None else now - self._tried
        if self._set is None:
            return since >= _RETRY
        return (self._lacks(kid) or now - self._fetched >= _FRESH) and since >= _PAUSE

    def _lacks(self, kid: str) -> bool:
        """True when a fetch might bring a key that is not here."""
        return self._set is None or (bool(kid) and not self._set.knows(kid))

    async def _fetch(self) -> None:
        self._tried = self._now()
        try:
            with trio.fail_after(_TIMEOUT):
                raw = await self._download()
            self._set = read_jwks(raw)
            self._fetched = self._now()
        except (httpx.HTTPError, JwksInvalid, trio.TooSlowError, OSError, ValueError) as error:
            why = str(error) or type(error).__name__
            kept = "keeping the keys fetched before" if self._set else "it has no keys"
            _log.warning("jwks %s: %s; %s", self._url, why, kept)

    async def _download(self) -> bytes:
        context = ssl.create_default_context(cafile=self._ca)
        async with (
            httpx.AsyncClient(
                verify=context, follow_redirects=False, trust_env=False, timeout=_TIMEOUT
            ) as client,
            client.stream(
                "GET",
                self._url,
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            ) as response,
        ):
            if response.status_code != 200:
                raise JwksInvalid(f"was answered with HTTP status {response.status_code}")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise JwksInvalid("is compressed, which was not asked for")
            raw = bytearray()
            async for chunk in response.aiter_raw():
                raw += chunk
                if len(raw) > LIMIT:
                    raise JwksInvalid(f"is larger than {LIMIT} bytes")
            return bytes(raw)
