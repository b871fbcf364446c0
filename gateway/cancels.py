"""Cancel keys: minted here, known to no upstream, honoured across workers.

A key is 4 bytes of number and random bytes. The number's highest byte names the
worker, so that a cancel request that lands on another worker is passed on over a
datagram socket in the state directory. The random part is compared in full; a
wrong key has no effect and no answer, as with the server itself.
"""

from __future__ import annotations

import hmac
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from gateway.errands import run_errand
from gateway.world import World
from protocols.contract import Errand

if TYPE_CHECKING:
    from gateway.session import Session

NUMBER_BYTES = 4
MOST_WORKERS = 64
LARGEST_KEY = 512
PER_SECOND = 50
"""Cancels looked at per second and worker; guessing does not pay above it."""


class Cancels:
    """The keys of this worker's sessions. ``worker`` is 0 to 63."""

    def __init__(self, world: World, directory: Path, worker: int) -> None:
        if not 0 <= worker < MOST_WORKERS:
            raise ValueError(f"worker {worker}: at most {MOST_WORKERS} workers")
        self._world = world
        self._directory = directory
        self._worker = worker
        self._sessions: dict[bytes, tuple[bytes, Session]] = {}
        self._count = 0
        self._window = (0, 0)

    def mint(self, session: Session, size: int) -> bytes:
        """A key of ``size`` bytes for ``session``; b"" where the protocol has none."""
        if not size:
            return b""
        while True:
            # The number stays positive as a signed 32-bit integer: clients print it.
            number = self._worker << 24 | int.from_bytes(self._world.chance(3), "big")
            head = number.to_bytes(NUMBER_BYTES, "big")
            if number and head not in self._sessions:
                break
        key = head + self._world.chance(size - NUMBER_BYTES)
        self._sessions[head] = (key, session)
        return key

    def forget(self, key: bytes) -> None:
        self._sessions.pop(key[:NUMBER_BYTES], None)

    async def cancel(self, key: bytes) -> bool:
        """Cancel what the session with ``key`` runs or waits for, here or in
        another worker. True when the key is this worker's and right."""
        if not NUMBER_BYTES < len(key) <= LARGEST_KEY or not self._allowed():
            return False
        worker = key[0]
        if worker != self._worker:
            self._pass_on(worker, key)
            return False
        return await self._cancel_here(key)

    async def _cancel_here(self, key: bytes) -> bool:
        entry = self._sessions.get(key[:NUMBER_BYTES])
        if entry is None:
            return False
        minted, session = entry
        if not hmac.compare_digest(minted, key):
            return False
        session.note("cancel", {"by": "key"})
        if session.relay.withdraw():
            return True
        talk = session.conversation.cancel()
        if talk is not None:
            try:
                await run_errand(session.relay, Errand(0, talk, "cancel"))
            except Exception as error:
                # Whoever asked is not to blame, and other cancels must go on.
                session.services.crash(session.id, error)
        return True

    def _allowed(self) -> bool:
        second, count = self._window
        now = self._world.mono_ns() // 1_000_000_000
        if second != now:
            second, count = now, 0
        self._window = (second, count + 1)
        return count < PER_SECOND

    # -- other workers ----------------------------------------------------

    def path(self, worker: int) -> Path:
        return self._directory / f"worker-{worker}.sock"

    def _pass_on(self, worker: int, key: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
            try:
                sock.sendto(key, os.fspath(self.path(worker)))
            except OSError:
                return  # No such worker: to the client it looks like a wrong key.

    async def listen(self) -> None:
        """Take cancels that landed on other workers, until cancelled. OSError
        when there can be no socket (a path of more than about 100 bytes)."""
        path = self.path(self._worker)
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.unlink(missing_ok=True)
        sock = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_DGRAM)
        with sock:
            await sock.bind(os.fspath(path))
            try:
                path.chmod(0o600)
                async with trio.open_nursery() as nursery:
                    while True:
                        key = await sock.recv(LARGEST_KEY + 1)
                        if len(key) <= LARGEST_KEY and self._allowed():
                            nursery.start_soon(self._cancel_here, key)
            finally:
                path.unlink(missing_ok=True)
