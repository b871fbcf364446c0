"""SSH on both legs: the one place where asyncio and asyncssh are.

A thread of its own runs an asyncio loop.  ``Island.serve`` and ``Island.connect`` hand
it a TCP socket and get one end of a socketpair back, on which they talk in frames
(protocols/ssh/frames.py); nobody else knows of SSH.  The library does key exchange,
ciphers, signatures and the bookkeeping of channels.  What it would do of its own accord
(files of a home directory, agents, forwarding, terminals, logs) is turned off here, and
what it leaves unbounded is bounded here.

It is used below its public surface in a few places, each with a test that fails when the
library moves: the table of packet handlers, the buffers of a channel, the inbox.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, cast

import asyncssh
import trio
from asyncssh import constants as ssh

from gateway import ssh_algorithms as limits
from gateway.host_key import HostKey
from gateway.ssh_algorithms import shown
from gateway.ssh_channel import (
    ServedChannel,
    ServedSession,
    UpstreamChannel,
    UpstreamSession,
)
from gateway.ssh_connection import Connection
from gateway.ssh_dialled import DialledConnection
from gateway.ssh_link import Link
from gateway.ssh_served import Accepts, ServedConnection
from protocols.ssh.frames import Kind
from protocols.wire import Side

WINDOW: Final = 2 << 20
PACKET: Final = 1 << 15
LOGIN_SECONDS: Final = 60.0
KEEPALIVE_SECONDS: Final = 15
KEEPALIVES: Final = 3
REKEY_BYTES: Final = 1 << 30
REKEY_SECONDS: Final = 3600
STOP_SECONDS: Final = 2.0

Alarm = Callable[[str, str], None]


def _table(base: Any, **own: Callable[..., Any]) -> dict[int, Any]:
    """The library finds what to do with a packet in a table of plain functions, so an
    overriding method must be put there too."""
    return {**base._packet_handlers, **{getattr(ssh, name): call for name, call in own.items()}}


# -- connections ---------------------------------------------------------------


class _Served(ServedConnection, asyncssh.SSHServerConnection):  # type: ignore[misc]
    def __init__(
        self, island: Island, options: Any, end: socket.socket, peer: str, accepts: Accepts
    ) -> None:
        super().__init__(island.loop, options)
        self._server_host_key_algs: list[bytes] = [
            name for name in options.server_host_keys if name in limits.HOST_KEYS
        ]
        self.island = island
        self.admit(peer, accepts)
        self.settle(island, end, Side.CLIENT)

    def owner(self) -> Any:
        return _Doorkeeper(self)

    def denial(self, why: str) -> Exception:
        code = ssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE
        return cast(Exception, asyncssh.DisconnectError(code, why or "denied"))

    def public_key(self, blob: bytes) -> Any:
        return _public_key(blob)

    def new_session(self) -> ServedSession:
        session = ServedSession(self)
        session.channel = _ServedChannel(
            self, self.island.loop, False, False, False, 0, 0, None, "strict",
            self.island.window, self.island.packet,
        )  # fmt: skip
        return session

    def _choose_alg(self, kind: str, local: Sequence[bytes], remote: Sequence[bytes]) -> bytes:
        return _fit(self, super()._choose_alg(kind, local, remote))

    _packet_handlers = _table(
        asyncssh.SSHServerConnection,
        MSG_USERAUTH_REQUEST=ServedConnection._process_userauth_request,
        MSG_CHANNEL_OPEN=ServedConnection._process_channel_open,
        MSG_GLOBAL_REQUEST=Connection._process_global_request,
    )


def _fit(conn: Any, chosen: bytes) -> bytes:
    """An algorithm that was negotiated. Raises KeyExchangeFailed for chacha20-poly1305
    with a peer that has no strict key exchange."""
    if chosen == limits.CHACHA.encode() and not conn._strict_kex:
        raise asyncssh.KeyExchangeFailed("no chacha20-poly1305 without strict key exchange")
    return chosen


def _public_key(blob: bytes) -> Any:
    """The key in a public key or an OpenSSH certificate; None for one that is neither
    or too weak."""
    try:
        if b"-cert-v01@" in blob[:64]:
            key = asyncssh.public_key.decode_ssh_certificate(blob).key
        else:
            key = asyncssh.public_key.decode_ssh_public_key(blob)
        weak = key.algorithm == b"ssh-rsa" and key.pyca_key.key_size < limits.LEAST_RSA
    except (ValueError, AttributeError):
        return None
    key.set_touch_required(True)
    return None if weak else key


class _Doorkeeper(asyncssh.SSHServer):  # type: ignore[misc]
    """The library's questions about a login. All answers are the same whoever asks."""

    def __init__(self, conn: _Served) -> None:
        self._conn = conn

    def begin_auth(self, username: str) -> Coroutine[Any, Any, bool]:
        return self._conn.greet(username)

    def auth_completed(self) -> None:
        self._conn.grow()

    def public_key_auth_supported(self) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def kbdint_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> Coroutine[Any, Any, bool]:
        return self._conn.secret(password)

    def change_password(self, username: str, old_password: str, new_password: str) -> bool:
        return False

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> Any:
        return "", "", "", [("Ticket or token: ", False)]

    async def validate_kbdint_response(self, username: str, responses: Sequence[str]) -> bool:
        return len(responses) == 1 and await self._conn.secret(responses[0])


# -- channels ------------------------------------------------------------------


class _ServedChannel(ServedChannel, asyncssh.SSHServerChannel):  # type: ignore[misc]
    _packet_handlers = _table(
        asyncssh.SSHServerChannel, MSG_CHANNEL_REQUEST=ServedChannel._process_request
    )


class _UpstreamChannel(UpstreamChannel, asyncssh.SSHClientChannel):  # type: ignore[misc]
    _packet_handlers = _table(
        asyncssh.SSHClientChannel, MSG_CHANNEL_REQUEST=UpstreamChannel._process_request
    )


# -- the upstream leg ----------------------------------------------------------


class _Dialled(DialledConnection, asyncssh.SSHClientConnection):  # type: ignore[misc]
    def __init__(self, island: Island, options: Any, end: socket.socket) -> None:
        super().__init__(island.loop, options)
        self.island = island
        self.home = island
        self.set_out()
        self.settle(island, end, Side.UPSTREAM)

    def owner(self) -> Any:
        return asyncssh.SSHClient()

    def denial(self, why: str) -> Exception:
        return cast(Exception, asyncssh.PermissionDenied(why))

    def explain(self, error: Exception | None) -> str:
        return _why(error, self._seen)

    def key_pair(self, private: bytes, certificate: bytes) -> Any:
        return _key_pair(private, certificate)

    def new_session(self) -> UpstreamSession:
        channel = _UpstreamChannel(
            self, self.island.loop, "strict", None, "strict", self.island.window, self.island.packet
        )
        return UpstreamSession(self, channel)

    async def create(self, session: UpstreamSession, protocol: bytes, command: bytes) -> bool:
        env = {b"GIT_PROTOCOL": protocol} if protocol else {}
        try:
            await session.channel.create(
                lambda: session, command, None, env, False, None, None, {},
                False, None, None, False, False,
            )  # fmt: skip
        except asyncssh.ChannelOpenError:
            return False
        return True

    def _choose_alg(self, kind: str, local: Sequence[bytes], remote: Sequence[bytes]) -> bytes:
        return _fit(self, super()._choose_alg(kind, local, remote))

    _packet_handlers = _table(
        asyncssh.SSHClientConnection,
        MSG_SERVICE_ACCEPT=DialledConnection._process_service_accept,
        MSG_USERAUTH_SUCCESS=DialledConnection._process_userauth_success,
        MSG_CHANNEL_OPEN=DialledConnection._process_channel_open,
        MSG_GLOBAL_REQUEST=Connection._process_global_request,
    )


def _why(error: Exception | None, seen: str) -> str:
    """For an operator, why an upstream leg came to nothing."""
    match error:
        case asyncssh.HostKeyNotVerifiable():
            return f"host key {seen} is not pinned ({shown(str(error))})"
        case asyncssh.PermissionDenied():
            return f"the upstream refused the login: {shown(str(error))}"
        case asyncssh.KeyExchangeFailed():
            return f"no algorithm in common with the upstream: {shown(str(error))}"
        case None | asyncssh.ConnectionLost() | OSError():
            return f"the upstream ended the connection: {shown(str(error or 'end of stream'))}"
        case asyncssh.DisconnectError():
            return f"SSH with the upstream failed: {shown(str(error))}"
    return f"SSH with the upstream failed: {type(error).__name__}"


def _key_pair(private: bytes, certificate: bytes) -> Any:
    """A private key (OpenSSH or PEM) and its certificate (a line or wire form; may be
    empty). ValueError for one that can't be used."""
    key = asyncssh.import_private_key(private)
    if not certificate:
        return asyncssh.load_keypairs([key])[0]
    if certificate.startswith(b"\0"):
        cert = asyncssh.public_key.decode_ssh_certificate(certificate)
    else:
        cert = asyncssh.import_certificate(certificate)
    pair = asyncssh.load_keypairs([(key, cert)])[0]
    if pair.public_data != cert.public_data:
        raise ValueError("the certificate is another key's")
    return pair


def _pins(lines: Sequence[str]) -> tuple[list[Any], list[Any], list[Any]]:
    """Keys, authorities and no revoked ones. ValueError for a line that is no pin."""
    keys: list[Any] = []
    authorities: list[Any] = []
    for line in lines:
        authority = line.startswith("@cert-authority ")
        text = line.removeprefix("@cert-authority ")
        (authorities if authority else keys).append(asyncssh.import_public_key(text))
    return keys, authorities, []


# -- the island ----------------------------------------------------------------


class Island:
    """``serve`` and ``connect`` are for the trio thread; they return at once.

    ``window`` and ``packet`` are bytes of a channel; ``login_seconds`` bounds all that
    comes before a login's success, and the upstream's. ``alarm(kind, text)`` is called
    in the trio thread.
    """

    def __init__(
        self,
        alarm: Alarm,
        *,
        version: str = "wirewarden",
        window: int = WINDOW,
        packet: int = PACKET,
        login_seconds: float = LOGIN_SECONDS,
        rekey_bytes: int = REKEY_BYTES,
        keepalive_seconds: float = KEEPALIVE_SECONDS,
    ) -> None:
        self.loop = asyncio.new_event_loop()
        self.window = window
        self.packet = packet
        self.connections: set[Any] = set()
        self._alarm = alarm
        self._token: trio.lowlevel.TrioToken | None = None
        self._error: BaseException | None = None
        self._stopping = False
        self._options: dict[HostKey, Any] = {}
        self._common = {
            "login_timeout": login_seconds,
            "keepalive_interval": keepalive_seconds,
            "keepalive_count_max": KEEPALIVES,
            "rekey_bytes": rekey_bytes,
            "rekey_seconds": REKEY_SECONDS,
            "kex_algs": limits.KEX,
            "encryption_algs": limits.CIPHERS,
            "mac_algs": limits.MACS,
            "compression_algs": ["none"],
            "signature_algs": limits.SIGNATURES,
            "host_based_auth": False,
            "gss_host": None,
            "x509_trusted_certs": None,
            "config": None,
            "encoding": None,
        }
        self._version = version

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The loop's thread, until cancelled: then every connection is dropped and the
        thread joined. Raises RuntimeError when the loop ends by itself."""
        token = self._token = trio.lowlevel.current_trio_token()
        died = trio.Event()

        def spin() -> None:
            try:
                asyncio.set_event_loop(self.loop)
                self.loop.set_exception_handler(self._unhandled)
                self.loop.run_forever()
            except BaseException as error:
                self._error = error
            finally:
                self._wind_up()
                try:
                    token.run_sync_soon(died.set)
                except trio.RunFinishedError:
                    pass

        thread = threading.Thread(target=spin, name="ssh", daemon=True)
        thread.start()
        task_status.started()
        try:
            await died.wait()
            why = type(self._error).__name__ if self._error is not None else "it was stopped"
            raise RuntimeError(f"the SSH loop ended: {why}")
        finally:
            self._post(self._stop)
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(thread.join)

    def serve(
        self, sock: socket.socket, host_key: HostKey, peer: str, accepts: Accepts
    ) -> socket.socket:
        """The gateway's end of a client leg. ``sock`` was accepted; it is the island's
        now. ``accepts(key, peer)`` is called in the loop's thread."""
        return self._give(sock, lambda end: self._served(sock, end, host_key, peer, accepts))

    def connect(self, sock: socket.socket, host_keys: Sequence[str], host: str) -> socket.socket:
        """The gateway's end of an upstream leg. ``sock`` is connected; it is the
        island's now. ``host_keys`` are lines ``type base64`` or ``@cert-authority type
        base64``; ``host`` is what a host's certificate must name."""
        return self._give(sock, lambda end: self._dialled(sock, end, tuple(host_keys), host))

    def note(self, text: str) -> None:
        """Tell the operators, from the loop's thread."""
        token = self._token
        try:
            if token is not None:
                token.run_sync_soon(self._alarm, "ssh", text)
        except trio.RunFinishedError:
            pass

    # -- the trio thread's side --

    def _give(self, sock: socket.socket, made: Callable[[socket.socket], Any]) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        sock.setblocking(False)
        if not self._post(self._begin, sock, theirs, made):
            sock.close()
            theirs.close()
        return ours

    def _post(self, call: Callable[..., object], *args: object) -> bool:
        """False when the loop is no more: then nothing will be called."""
        try:
            self.loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            return False
        return True

    # -- the loop's side --

    def _begin(
        self, sock: socket.socket, end: socket.socket, made: Callable[[socket.socket], Any]
    ) -> None:
        try:
            if self._stopping:
                raise RuntimeError("stopping")
            conn = made(end)
        except Exception as error:
            self.note(f"a connection could not be begun: {type(error).__name__}")
            sock.close()
            end.close()
            return
        if conn is None:
            sock.close()
            return
        task = self.loop.create_task(self._attach(sock, conn))
        conn.attaching = task  # a loop keeps no hold of its tasks

    async def _attach(self, sock: socket.socket, conn: Any) -> None:
        try:
            await self.loop.create_connection(lambda: conn, sock=sock)
        except OSError as error:
            sock.close()
            conn._cleanup(error)

    def _served(
        self,
        sock: socket.socket,
        end: socket.socket,
        host_key: HostKey,
        peer: str,
        accepts: Accepts,
    ) -> Any:
        options = self._options.get(host_key)
        if options is None:
            options = self._options[host_key] = asyncssh.SSHServerConnectionOptions(
                server_factory=asyncssh.SSHServer,
                server_version=self._version,
                server_host_keys=[asyncssh.import_private_key(host_key.private)],
                authorized_client_keys=None,
                agent_forwarding=False,
                allow_pty=False,
                line_editor=False,
                **self._common,
            )
        return _Served(self, options, end, peer, accepts)

    def _dialled(
        self, sock: socket.socket, end: socket.socket, host_keys: Sequence[str], host: str
    ) -> Any:
        why = "no host key is pinned for this upstream" if not host_keys else ""
        try:
            pins = _pins(host_keys)
        except ValueError:
            why = "a pinned host key can't be read"
        if why:
            _Refused(self, end, why)
            return None
        options = asyncssh.SSHClientConnectionOptions(
            client_factory=asyncssh.SSHClient,
            client_version=self._version,
            host=host,
            port=22,
            username="nobody",
            known_hosts=pins,
            client_keys=None,
            agent_path=None,
            preferred_auth=["publickey"],
            password_auth=False,
            kbdint_auth=False,
            **self._common,
        )
        return _Dialled(self, options, end)

    def _unhandled(self, _loop: object, context: dict[str, Any]) -> None:
        self.note(f"in the loop: {type(context.get('exception')).__name__}")

    def _stop(self) -> None:
        self._stopping = True
        for conn in list(self.connections):
            conn.abort()
        self._wait_for_last(self.loop.time() + STOP_SECONDS)

    def _wait_for_last(self, deadline: float) -> None:
        if self.connections and self.loop.time() < deadline:
            self.loop.call_later(0.01, self._wait_for_last, deadline)
        else:
            # Once more round, for what the last of them left to be called.
            self.loop.call_soon(self.loop.stop)

    def _wind_up(self) -> None:
        """In the thread, after the loop: nothing may stay open."""
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        for conn in list(self.connections):
            conn.link.abort()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


class _Refused:
    """An upstream leg that is refused before a byte of it is read."""

    def __init__(self, island: Island, end: socket.socket, why: str) -> None:
        link = Link(island.loop, end, Side.UPSTREAM, self)
        link.send(Kind.FAILED, why.encode())
        link.finish()

    def frame_received(self, kind: Kind, body: bytes) -> None:
        """Nothing is heard."""

    def link_lost(self, why: str) -> None:
        """Nor missed."""

    def link_flows(self, flows: bool) -> None:
        """Nor is there more."""
