"""The upstream leg of SSH, as far as it needs no SSH library."""

from __future__ import annotations

from typing import Any, Final, cast

from gateway import ssh_algorithms as limits
from gateway.identity.public_keys import fingerprint
from gateway.ssh_channel import UpstreamSession
from gateway.ssh_connection import Connection
from protocols.errors import WireError
from protocols.ssh.frames import Kind, untexts
from protocols.wire import Side

NOT_WANTED: Final = 1
"""SSH_OPEN_ADMINISTRATIVELY_PROHIBITED, RFC 4254 section 5.1."""


class DialledConnection(Connection):
    """A connection to an upstream: READY, LOGIN, OPENED, EXEC, STARTED, data."""

    def set_out(self) -> None:
        """At the start."""
        self._seen = ""
        self._login: Any = cast(Any, self.home.loop).create_future()
        self._opened = self._done = False
        self._protocol = b""
        self._session: UpstreamSession | None = None

    def key_pair(self, private: bytes, certificate: bytes) -> Any:
        """What to log in with. ValueError for what can't be used."""
        raise NotImplementedError

    def denial(self, why: str) -> Exception:
        """What to raise when the login can't be tried."""
        raise NotImplementedError

    def explain(self, error: Exception | None) -> str:
        """For an operator, why the leg came to nothing."""
        raise NotImplementedError

    async def create(self, session: UpstreamSession, protocol: bytes, command: bytes) -> bool:
        """Start the command. False when the upstream won't."""
        raise NotImplementedError

    def new_session(self) -> UpstreamSession:
        """A session with its channel."""
        raise NotImplementedError

    def _connection_made(self) -> None:
        conn = cast(Any, self)
        cast(Any, super())._connection_made()
        conn._server_host_key_algs = [
            name for name in conn._server_host_key_algs or () if name in limits.HOST_KEYS
        ]

    def validate_server_host_key(self, key_data: bytes) -> Any:
        self._seen = fingerprint(key_data)
        return cast(Any, super()).validate_server_host_key(key_data)

    async def _process_service_accept(self, kind: int, number: int, packet: Any) -> None:
        """Before the first request of the login: whose it is, is only known now. The
        host key was verified in the exchange of keys, which is over."""
        conn = cast(Any, self)
        self.link.send(Kind.READY, self._seen.encode())
        body = await self._login
        try:
            user, private, certificate = untexts(body)
            conn._client_keys = [self.key_pair(private, certificate)]
            conn._username = user.decode("utf-8")
        except ValueError:
            # Not the error's words: they may quote the key.
            raise self.denial("the gateway's own key for it can't be used") from None
        conn._auth_methods = [b"publickey"]
        cast(Any, super())._process_service_accept(kind, number, packet)

    def _process_userauth_success(self, kind: int, number: int, packet: Any) -> None:
        cast(Any, super())._process_userauth_success(kind, number, packet)
        self._opened = True
        self.grow()
        self.link.send(Kind.OPENED)

    def _process_channel_open(self, _kind: int, _number: int, packet: Any) -> None:
        packet.get_string()
        theirs = packet.get_uint32()
        cast(Any, self).send_channel_open_failure(theirs, NOT_WANTED, "not wanted", "en")

    def frame_received(self, kind: Kind, body: bytes) -> None:
        """Raises WireError for a frame out of turn."""
        session = self._session
        if kind is Kind.LOGIN and not self._login.done():
            self._login.set_result(body)
        elif kind is Kind.ENV and self._opened and session is None:
            self._protocol = body
        elif kind is Kind.EXEC and self._opened and session is None:
            self._session = self.new_session()
            cast(Any, self).create_task(self._start(self._session, body))
        elif kind is Kind.DATA and session is not None and session.running:
            session.write(body)
        elif kind is Kind.EOF and session is not None and session.running:
            session.channel.write_eof()
        else:
            raise WireError(Side.CLIENT, f"{kind.name} out of turn on an upstream leg")

    async def _start(self, session: UpstreamSession, command: bytes) -> None:
        if not await self.create(session, self._protocol, command):
            self._fail("the upstream does not run the command")

    def link_lost(self, why: str) -> None:
        """Nobody is there any more: at once."""
        if why:
            self.home.note(f"an upstream leg was given up: {why}")
        cast(Any, self).abort()

    def channel_ended(self, error: Exception | None) -> None:
        """Closed on both sides, or with the connection (``error``)."""
        if error is None and self._session is not None and self._session.running:
            self._done = True
            self.link.finish()
            cast(Any, self).close()

    def _fail(self, why: str) -> None:
        if not self._done:
            self._done = True
            self.link.send(Kind.FAILED, why.encode())
            self.link.finish()
        cast(Any, self).abort()

    def ended(self, error: Exception | None) -> None:
        self._login.cancel()
        self._fail(self.explain(error))
