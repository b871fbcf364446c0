"""What both legs' SSH connections share, as far as it needs no SSH library.

``Connection`` stands before the library's class of a connection: it quietens it, bounds
what it leaves unbounded, and ties it to a link.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Final, cast
from typing import Protocol as Interface

from gateway import ssh_algorithms as limits
from gateway.ssh_channel import words
from gateway.ssh_inbox import Inbox
from gateway.ssh_link import Link, Loop
from protocols.wire import Side

IGNORE: Final = 2
REQUEST_SUCCESS: Final = 81
REQUEST_FAILURE: Final = 82
LATER_PACKET: Final = (1 << 18) + 1024
DEFERRED: Final = 1024
"""Packets that may wait for an exchange of keys. Data do not: the link is held."""


class Home(Interface):
    """The island, as its connections see it."""

    connections: set[Any]

    @property
    def loop(self) -> Loop: ...

    def note(self, text: str) -> None: ...


class _Silent:
    """A logger that says nothing: what it would say, peers could write."""

    def get_child(self, *_args: object, **_kwargs: object) -> _Silent:
        return self

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return _nothing


def _nothing(*_args: object, **_kwargs: object) -> None:
    return None


_SILENT: Final = _Silent()


class Connection:
    """``ended`` is called once, when the SSH connection is no more."""

    link: Link
    home: Home

    def settle(self, home: Home, end: socket.socket, side: Side) -> None:
        """Take the island's end of the socketpair, and quieten the library."""
        conn = cast(Any, self)
        conn._logger = _SILENT
        conn._inpbuf = Inbox()
        conn._max_recv_pktlen = limits.EARLY_PACKET
        conn._protocol_factory = self.owner
        self.home = home
        self.link = Link(home.loop, end, side, conn)
        self._early = 0
        self._over = False
        home.connections.add(conn)

    def owner(self) -> Any:
        """What the library asks its questions."""
        raise NotImplementedError

    def ended(self, error: Exception | None) -> None:
        """The SSH connection is no more."""
        raise NotImplementedError

    def unwanted(self, what: str) -> None:
        """The peer asked for something that nobody gets."""

    def grow(self) -> None:
        """The login is over: packets may be as long as channels allow."""
        cast(Any, self)._max_recv_pktlen = LATER_PACKET

    def log_sent_packet(self, *_args: object, **_kwargs: object) -> None:
        """Nothing, as for channels."""

    log_received_packet = log_sent_packet

    def connection_made(self, transport: Any) -> None:
        transport.set_write_buffer_limits(1 << 18)
        cast(Any, super()).connection_made(transport)

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        conn = cast(Any, self)
        if not conn._auth_complete:
            self._early += len(data)
            if self._early > limits.EARLY_BYTES:
                self.home.note("a login that sent too much was ended")
                conn.abort()
                return
        cast(Any, super()).data_received(data, datatype)
        transport = conn._transport
        if transport is not None and (
            transport.get_write_buffer_size() > limits.BACKLOG
            or len(conn._deferred_packets) > DEFERRED
        ):
            self.home.note("a peer that asks and does not read was ended")
            conn.abort()

    def pause_writing(self) -> None:
        self.link.hold("socket")

    def resume_writing(self) -> None:
        self.link.release("socket")

    def _send_kexinit(self) -> None:
        # During an exchange of keys the library keeps what is to be sent, all of it.
        if cast(Any, self)._auth_complete:
            self.link.hold("keys")
        cast(Any, super())._send_kexinit()

    def _send_deferred_packets(self) -> None:
        cast(Any, super())._send_deferred_packets()
        if cast(Any, self)._kex_complete:
            self.link.release("keys")

    def send_packet(self, pkttype: int, *args: bytes, handler: Any = None) -> None:
        # The library sends an empty IGNORE before each packet, which is good against
        # a flaw of CBC. No cipher here has it, and it halves the speed.
        if pkttype != IGNORE:
            cast(Any, super()).send_packet(pkttype, *args, handler=handler)

    def _process_global_request(self, _kind: int, _number: int, packet: Any) -> None:
        name, wants_reply = packet.get_string(), packet.get_boolean()
        alive = name == b"keepalive@openssh.com"
        if not alive:
            self.unwanted(words(name))
        if wants_reply:
            cast(Any, self).send_packet(REQUEST_SUCCESS if alive else REQUEST_FAILURE)

    def _cleanup(self, error: Exception | None) -> None:
        cast(Any, super())._cleanup(error)
        if not self._over:
            self._over = True
            self.home.connections.discard(self)
            self.ended(error)

    def link_flows(self, flows: bool) -> None:
        """The link takes more, or not."""
        for channel in list(cast(Any, self)._channels.values()):
            channel.flows(flows)
