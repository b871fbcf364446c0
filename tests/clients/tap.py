"""A witness on a TCP leg: passes bytes on and keeps what passed.

Recordings are compared with what a tap saw, not with what the gateway says that
it sent: the one proof that does not depend on the code that it is about.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field


@dataclass(eq=False)
class Wire:
    """One connection. ``source`` is ``host:port`` of the tap's own end towards
    ``upstream``, which is the peer that the upstream sees."""

    source: str
    to_upstream: bytearray = field(default_factory=bytearray)
    to_client: bytearray = field(default_factory=bytearray)
    threads: list[threading.Thread] = field(default_factory=list)
    ends: tuple[socket.socket, ...] = ()


class Tap:
    """Listens on ``port`` of loopback and connects to ``upstream`` for each
    connection. One thread per direction."""

    def __init__(self, host: str, upstream: int) -> None:
        self._to = (host, upstream)
        self.wires: list[Wire] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.host, self.port = self._listener.getsockname()[:2]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                upstream = socket.create_connection(self._to, 5)
                upstream.settimeout(None)
            except OSError:
                client.close()
                continue
            for sock in (client, upstream):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            name = upstream.getsockname()
            wire = Wire(f"{name[0]}:{name[1]}", ends=(client, upstream))
            for source, sink, seen in (
                (client, upstream, wire.to_upstream),
                (upstream, client, wire.to_client),
            ):
                thread = threading.Thread(target=_pump, args=(source, sink, seen), daemon=True)
                wire.threads.append(thread)
                thread.start()
            self.wires.append(wire)

    def settle(self, seconds: float = 5.0) -> None:
        """Wait until every connection has ended."""
        for wire in self.wires:
            for thread in wire.threads:
                thread.join(seconds)

    def close(self) -> None:
        # shutdown wakes the thread in accept; close alone does not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for wire in self.wires:
            for end in wire.ends:
                end.close()


def _pump(source: socket.socket, sink: socket.socket, seen: bytearray) -> None:
    try:
        while data := source.recv(1 << 18):
            seen += data
            sink.sendall(data)
    except OSError:
        pass
    for sock, how in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
        with contextlib.suppress(OSError):
            sock.shutdown(how)
