"""Channels and sessions of the island, as far as they need no SSH library.

``Channel`` and the classes below it stand before the library's class of a channel and
replace what that one does with data and requests: data go to the link at once, and the
window is opened again only while the link takes them.  The library would keep them in a
list of packets, however small, and drop them when the channel closes.
"""

from __future__ import annotations

from typing import Any, Final, cast
from typing import Protocol as Interface

from gateway import ssh_algorithms as limits
from gateway.ssh_link import Link
from protocols.errors import WireError
from protocols.ssh.frames import Kind
from protocols.wire import Side

WINDOW_ADJUST: Final = 93
CHANNEL_REQUEST: Final = 98
STDERR: Final = 1
"""RFC 4254 sections 5.2 to 5.4."""
HIGH: Final = 1 << 18
DIED: Final = 128
"""The exit status of git when it dies."""


def uint32(number: int) -> bytes:
    """RFC 4251 section 5."""
    return number.to_bytes(4, "big")


def words(body: bytes) -> str:
    """Of whichever side, for people."""
    return body.decode("utf-8", "backslashreplace")


class Host(Interface):
    """The connection."""

    link: Link

    def unwanted(self, what: str) -> None: ...
    def channel_ended(self, error: Exception | None) -> None: ...


class Channel:
    """What both legs' channels share."""

    def log_sent_packet(self, *_args: object, **_kwargs: object) -> None:
        """Nothing: the library formats words here even when nobody reads them."""

    log_received_packet = log_sent_packet

    def _accept_data(self, data: bytes, datatype: int | None = None) -> None:
        channel = cast(Any, self)
        if not data or channel._send_state in ("close_pending", "closed"):
            return
        channel._recv_window -= len(data)
        session = channel._session
        if session is not None:
            session.data_received(data, datatype)
            if session.open_hearted:
                self.reopen()

    def reopen(self) -> None:
        """Tell the peer of the window again, once half of it is used."""
        channel = cast(Any, self)
        used = channel._init_recv_window - channel._recv_window
        if used * 2 > channel._init_recv_window and channel._send_state != "closed":
            channel.send_packet(WINDOW_ADJUST, uint32(used))
            channel._recv_window = channel._init_recv_window

    def flows(self, flows: bool) -> None:
        """The link takes more, or not."""
        session = cast(Any, self)._session
        if session is not None:
            session.flows = flows
            if session.open_hearted:
                self.reopen()

    def _process_request(self, kind: int, number: int, packet: Any) -> None:
        if len(cast(Any, self)._request_queue) >= limits.WAITING:
            raise ValueError("too many requests at once")
        cast(Any, super())._process_request(kind, number, packet)


class ServedChannel(Channel):
    """The client's: one exec and nothing else."""

    def _wrap_session(self, session: Any) -> tuple[Any, Any]:
        return self, session

    def _service_next_request(self) -> None:
        """Decide on the first request of the queue. Each but the one exec is answered
        here, with a failure that the library would not always give."""
        channel = cast(Any, self)
        request, packet, _ = channel._request_queue[0]
        host, session = cast(Host, channel._conn), channel._session
        asked = session is None or session.asked
        if request == "exec" and not asked:
            command = packet.get_string()
            packet.check_end()
            session.asked = True
            host.link.send(Kind.EXEC, command)
            return
        if request == "env" and not asked:
            name, value = packet.get_string(), packet.get_string()
            packet.check_end()
            if name == b"GIT_PROTOCOL" and len(value) <= 1024 and not session.told:
                session.told = True
                host.link.send(Kind.ENV, value)
                channel._report_response(True)
                return
            request = f"env {words(name[:64])}"
        if request not in ("keepalive@openssh.com", "eow@openssh.com"):
            host.unwanted(request)
        channel._report_response(False)


class UpstreamChannel(Channel):
    """The upstream's."""

    def _process_exit_status_request(self, packet: Any) -> bool:
        cast(Any, self)._session.give(Kind.EXIT, uint32(packet.get_uint32()))
        return True

    def _process_exit_signal_request(self, packet: Any) -> bool:
        cast(Any, self)._session.give(Kind.SIGNAL, packet.get_string()[:64])
        return True


class Session:
    """What both legs' sessions share. ``running``: the command was granted."""

    channel: Any

    def __init__(self, link: Link) -> None:
        self._link = link
        self._early: list[tuple[Kind, bytes]] = []
        self._early_data = bytearray()
        self._gave_end = False
        self.running = False
        self.flows = True

    @property
    def open_hearted(self) -> bool:
        """The peer may send more."""
        return self.flows and self.running

    def connection_made(self, chan: Any) -> None:
        chan.set_write_buffer_limits(HIGH)

    def session_started(self) -> None:
        """What came before the command was granted comes after it."""
        self.started()
        self.running = True
        if self._early_data:
            self._link.send(Kind.DATA, bytes(self._early_data))
            self._early_data.clear()
        for kind, body in self._early:
            self._link.send(kind, body)
        self._early.clear()
        self.channel.reopen()

    def started(self) -> None:
        """Say so, where it is to be said."""

    def give(self, kind: Kind, body: bytes = b"") -> None:
        """A frame for the gateway, now or once the command is granted."""
        if self.running:
            self._link.send(kind, body)
        elif kind is Kind.DATA:
            self._early_data += body
        else:
            self._early.append((kind, body))

    def eof_received(self) -> bool:
        """True: the other way stays open."""
        self._gave_end = True
        self.give(Kind.EOF)
        return True

    def pause_writing(self) -> None:
        self._link.hold("window")

    def resume_writing(self) -> None:
        self._link.release("window")

    def write(self, body: bytes, datatype: int | None = None) -> None:
        """Nothing once the peer has closed the channel."""
        if not self.channel.is_closing():
            self.channel.write(body, datatype)


class ServedSession(Session):
    """The client's. ``asked``: there was an exec; ``told``: there was a GIT_PROTOCOL."""

    def __init__(self, host: Host) -> None:
        super().__init__(host.link)
        self._host = host
        self.asked = self.told = False
        self._ends: set[Kind] = set()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self.give(Kind.DATA, data)

    def frame_received(self, kind: Kind, body: bytes) -> None:
        """Raises WireError for what does not belong here."""
        if not self.running:
            self._grant(kind, body)
            return
        if kind is Kind.DATA:
            self.write(body)
        elif kind is Kind.STDERR:
            self.write(body, STDERR)
        elif kind is Kind.EOF:
            self.channel.write_eof()
        elif kind is Kind.EXIT:
            self.channel._send_request(b"exit-status", body)
        elif kind is Kind.SIGNAL:
            name = uint32(len(body)) + body
            self.channel._send_request(b"exit-signal", name, b"\0", uint32(0), uint32(0))
        else:
            raise WireError(Side.UPSTREAM, f"{kind.name} is not for a running command")
        self._ends.add(Kind.EXIT if kind is Kind.SIGNAL else kind)
        if self._ends >= {Kind.EOF, Kind.EXIT}:
            self.close()

    def _grant(self, kind: Kind, body: bytes) -> None:
        if not self.asked or kind not in (Kind.STARTED, Kind.DENIED):
            raise WireError(Side.UPSTREAM, f"{kind.name} before the command was granted")
        if self.channel.is_closing():
            return
        # A refusal is granted too: only a running command can say why it fails.
        self.channel._report_response(True)
        if kind is Kind.DENIED:
            self.leave(body)

    def dismiss(self, reason: bytes) -> None:
        """``leave``, whether the command was granted or not."""
        if self.running:
            self.leave(reason)
        else:
            self._grant(Kind.DENIED, reason)

    def leave(self, reason: bytes) -> None:
        """Say why on standard error, and end as git does when it dies."""
        if not self.channel.is_closing():
            self.write(reason.rstrip(b"\n") + b"\n", STDERR)
            self.channel._send_request(b"exit-status", uint32(DIED))
        self.close()

    def close(self) -> None:
        """Once everything has been written."""
        self.channel.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._host.channel_ended(exc)


class UpstreamSession(Session):
    """The upstream's."""

    def __init__(self, host: Host, channel: Any) -> None:
        super().__init__(host.link)
        self._host = host
        self.channel = channel

    def started(self) -> None:
        self._link.send(Kind.STARTED)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self.give(Kind.STDERR if datatype else Kind.DATA, data)

    def connection_lost(self, exc: Exception | None) -> None:
        # A server may close without an end of its output: it has ended all the same.
        if exc is None and self.running and not self._gave_end:
            self.give(Kind.EOF)
        self._host.channel_ended(exc)
