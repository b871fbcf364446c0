"""Accepting connections, and turning away what is too much."""

from __future__ import annotations

import errno
import socket
from collections import Counter

import trio

from gateway.listening import Listener
from gateway.services import Services
from gateway.session import Session
from gateway.turnaway import Turnaway
from protocols.contract import Refuse
from recorder.errors import RecorderError

BACKLOG = 1024
PAUSE_SECONDS = 0.1
CROWD = 1.2


def bind(listener_host: str, port: int) -> socket.socket:
    """A listening socket; OSError when the address can't be had."""
    infos = socket.getaddrinfo(
        listener_host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, kind, proto, _, address = infos[0]
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


class Doorman:
    """Counts connections of this worker, in all and by address."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._by_address: Counter[str] = Counter()
        self._turnaway = Turnaway(services)
        self.count = 0

    def over(self, host: str) -> float:
        """How full it is: above 1 a client is told so, above CROWD it is told
        without a session on record."""
        limits = self._services.config.limits
        full = (self.count + 1) / limits.connections if limits.connections else 0.0
        if limits.per_address:
            full = max(full, (self._by_address[host] + 1) / limits.per_address)
        return full

    async def serve(self, sock: socket.socket, listener: Listener, nursery: trio.Nursery) -> None:
        """Accept on ``sock`` until cancelled; sessions run in ``nursery``."""
        while True:
            await trio.lowlevel.wait_readable(sock)
            try:
                client, address = sock.accept()
            except BlockingIOError:
                continue  # another worker was faster
            except OSError as error:
                if error.errno != errno.ECONNABORTED:
                    # No descriptors or memory: let sessions end rather than spin.
                    self._services.alarm("accept", error.strerror or str(error))
                    await trio.sleep(PAUSE_SECONDS)
                continue
            host = address[0] if isinstance(address, tuple) else "local"
            full = self.over(host)
            if full > CROWD:
                refuse = Refuse("too many connections", kind="busy")
                nursery.start_soon(self._turnaway.refuse, client, listener, host, refuse)
                continue
            nursery.start_soon(self._session, client, listener, host, full > 1)

    async def _session(
        self, client: socket.socket, listener: Listener, host: str, crowded: bool
    ) -> None:
        self.count += 1
        self._by_address[host] += 1
        session: Session | None = None
        try:
            try:
                self._services.notary.check()
                session = Session(self._services, listener, client, host, crowded=crowded)
            except RecorderError as error:
                self._services.alarm("recorder", str(error))
                refuse = Refuse("the gateway can't record, so it serves nobody", kind="recorder")
                await self._turnaway.refuse(client, listener, host, refuse)
                return
            await session.live()
        except Exception as error:
            # A fault of ours ends one session, never its neighbours.
            self._services.crash(session.id if session is not None else "?", error)
            client.close()
        finally:
            self.count -= 1
            self._by_address[host] -= 1
            if not self._by_address[host]:
                del self._by_address[host]
