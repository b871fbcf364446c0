"""Hostile SSH, byte by byte (``Wire``) and behind an exchange of keys (``Rogue``), and a
door to knock at: an address, with what is known of the house behind it (ssh_door.py)."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncssh
from asyncssh.packet import Boolean, SSHPacket, String, UInt32

from protocols.ssh.frames import Kind

DISCONNECT, IGNORE, SERVICE_REQUEST, SERVICE_ACCEPT, EXT_INFO = 1, 2, 5, 6, 7
KEXINIT, NEWKEYS, ECDH_INIT, ECDH_REPLY = 20, 21, 30, 31
AUTH, AUTH_FAILURE, AUTH_SUCCESS, PK_OK, INFO_RESPONSE = 50, 51, 52, 60, 61
GLOBAL, GLOBAL_SUCCESS, GLOBAL_FAILURE = 80, 81, 82
OPEN, OPENED, OPEN_FAILURE = 90, 91, 92
CLOSE = 97
REQUEST, SUCCESS, FAILURE = 98, 99, 100
STRICT = "kex-strict-c-v00@openssh.com"
Result = TypeVar("Result")


@dataclass
class Door:
    """Where to knock. ``secret`` is a ticket that is good, for any name. ``heard``
    tells what got through, as (kind, body) of frames; ``alarms`` what operators saw."""

    host: str
    port: int
    secret: str
    heard: Callable[[], list[tuple[Kind, bytes]]]
    alarms: Callable[[], list[tuple[str, str]]]
    forget: Callable[[], None]
    """All that was heard."""

    def got(self, kind: Kind) -> list[bytes]:
        return [body for said, body in self.heard() if said is kind]


def packet(payload: bytes, block: int = 8) -> bytes:
    """RFC 4253 section 6, in the clear."""
    padding = -(len(payload) + 5) % block
    padding += block if padding < 4 else 0
    return struct.pack(">IB", len(payload) + padding + 1, padding) + payload + os.urandom(padding)


def kexinit(
    kex: str = f"curve25519-sha256,{STRICT}",
    cipher: str = "aes128-gcm@openssh.com",
    compression: str = "none",
    host: str = "ssh-ed25519",
) -> bytes:
    """A KEXINIT. Without ``STRICT`` in ``kex`` there is no strict key exchange."""
    lists = [kex, host, cipher, cipher, "hmac-sha2-256", "hmac-sha2-256"]
    lists += [compression, compression, "", ""]
    body = b"".join(String(text) for text in lists)
    return bytes([KEXINIT]) + os.urandom(16) + body + b"\0" + UInt32(0)


class Wire:
    """A TCP connection on which anything may be said, in the clear."""

    def __init__(self, door: Door, *, banner: bytes = b"SSH-2.0-rogue\r\n") -> None:
        self.sock = socket.create_connection((door.host, door.port), 10)
        self.sock.settimeout(10)
        self._buffer = b""
        if banner:
            self.sock.sendall(banner)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def say(self, *payloads: bytes) -> None:
        self.raw(b"".join(map(packet, payloads)))

    def raw(self, raw: bytes) -> None:
        """A peer that has gone already is no error."""
        try:
            self.sock.sendall(raw)
        except OSError:
            pass

    def _more(self) -> bool:
        try:
            raw = self.sock.recv(65536)
        except TimeoutError:
            raise
        except OSError:
            raw = b""
        self._buffer += raw
        return bool(raw)

    def banner(self) -> bytes:
        while b"\n" not in self._buffer:
            if not self._more():
                return b""
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.rstrip(b"\r")

    def hear(self) -> bytes | None:
        """The payload of the next packet, None at the end."""
        while len(self._buffer) < 5 or len(self._buffer) < 4 + int.from_bytes(
            self._buffer[:4], "big"
        ):
            if not self._more():
                return None
        length, padding = struct.unpack(">IB", self._buffer[:5])
        payload = self._buffer[5 : 4 + length - padding]
        self._buffer = self._buffer[4 + length :]
        return payload

    def rest(self) -> list[int]:
        """The types of what comes until the end. TimeoutError when there is none."""
        out = []
        while (payload := self.hear()) is not None:
            out.append(payload[0])
        return out

    def ends(self, seconds: float = 5.0) -> bool:
        """The other side hangs up, whatever it says before."""
        self.sock.settimeout(seconds)
        try:
            while self._more():
                pass
        except TimeoutError:
            return False
        return True


class _Owner(asyncssh.SSHClient):
    pass


class _Everything:
    """A login and all channels: whatever comes, the connection gets to hear it."""

    def __init__(self, conn: Rogue) -> None:
        self._conn = conn

    def __getitem__(self, _number: int) -> Rogue:
        return self._conn

    def values(self) -> list[object]:
        return []

    def cancel(self) -> None:
        pass

    def log_received_packet(self, *_: object) -> None:
        pass

    def process_packet(self, *packet: Any) -> Any:
        return self._conn.process_packet(*packet)


class Rogue(asyncssh.SSHClientConnection):
    """A client that has exchanged keys and then does as it is told. What it hears is
    in ``inbox``; nothing is answered by itself."""

    def __init__(self, loop: asyncio.AbstractEventLoop, options: Any) -> None:
        super().__init__(loop, options)
        self.inbox: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        self.inbox_time = 0.0
        self._channels = _Everything(self)
        self.ready = asyncio.Event()
        self.gone = asyncio.Event()

    def process_packet(self, pkttype: int, pktid: int, packet: SSHPacket) -> Any:
        if pkttype == SERVICE_ACCEPT:
            self._auth_in_progress = True
            self._auth = _Everything(self)
            self.ready.set()
            return True
        if pkttype >= AUTH or pkttype == DISCONNECT:
            self.inbox_time = time.perf_counter()
            self.inbox.put_nowait((pkttype, packet.get_full_payload()[1:]))
            if pkttype == AUTH_SUCCESS:
                self._auth_complete = True
            return True
        return super().process_packet(pkttype, pktid, packet)

    def _cleanup(self, exc: Exception | None) -> None:
        super()._cleanup(exc)
        self.gone.set()
        self.ready.set()

    def say(self, kind: int, *parts: bytes) -> None:
        # As if the login were over: the library would keep it back.
        before, self._auth_complete = self._auth_complete, True
        self.send_packet(kind, *parts)
        self._auth_complete = before

    async def hear(self) -> tuple[int, bytes]:
        """The next packet of interest; (0, b"") when the connection has ended."""
        for _ in range(500):
            if not self.inbox.empty():
                return self.inbox.get_nowait()
            if self.gone.is_set():
                return 0, b""
            await asyncio.sleep(0.01)
        raise TimeoutError("the server neither answers nor hangs up")

    async def closes(self) -> list[int]:
        """The types of what comes until the channel or the connection is closed."""
        heard = [(await self.hear())[0]]
        while heard[-1] not in (0, CLOSE):
            heard.append((await self.hear())[0])
        return heard

    async def ends(self) -> bool:
        """It hangs up, whatever it says before."""
        for _ in range(64):
            if (await self.hear())[0] == 0:
                return True
        return False

    def ask(
        self, user: str | bytes, method: str, *more: bytes, service: str = "ssh-connection"
    ) -> None:
        self.say(AUTH, String(user), String(service), String(method), *more)

    async def login(self, secret: str, user: str = "git") -> int:
        self.ask(user, "password", Boolean(False), String(secret))
        return (await self.hear())[0]

    def signed(
        self, user: str, key: asyncssh.SSHKey, blob: bytes, session: bytes = b""
    ) -> list[bytes]:
        """The rest of a publickey request for ``blob``, signed with ``key``."""
        algorithm = String("ssh-ed25519")
        head = bytes([AUTH]) + String(user) + String("ssh-connection") + String("publickey")
        body = Boolean(True) + algorithm + String(blob)
        signature = key.sign(String(session or self._session_id) + head + body, b"ssh-ed25519")
        return [body, String(signature)]

    async def open(self, kind: str = "session", *more: bytes) -> tuple[int, bytes]:
        self.say(OPEN, String(kind), UInt32(7), UInt32(1 << 20), UInt32(1 << 15), *more)
        return await self.hear()

    async def request(self, name: str, *more: bytes) -> int:
        """On channel 0. The type of the reply."""
        self.say(REQUEST, UInt32(0), String(name), Boolean(True), *more)
        return (await self.hear())[0]


def rogue(door: Door, script: Callable[[Rogue], Awaitable[Result]]) -> Result:
    """Run ``script`` after the exchange of keys, where the login would begin."""

    async def main() -> Result:
        options = await asyncssh.SSHClientConnectionOptions.construct(
            client_factory=_Owner, host=door.host, known_hosts=None, config=None, gss_host=None,
            client_keys=None, agent_path=None, username="git",
        )  # fmt: skip
        loop = asyncio.get_running_loop()
        conn = Rogue(loop, options)
        await loop.create_connection(lambda: conn, door.host, door.port)
        await asyncio.wait_for(conn.ready.wait(), 10)
        try:
            return await script(conn)
        finally:
            conn.abort()
            await asyncio.sleep(0)

    return asyncio.run(main())


def new_key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


def alive(door: Door) -> bool:
    """The door still opens to somebody honest."""

    async def script(conn: Rogue) -> bool:
        return await conn.login(door.secret) == AUTH_SUCCESS and (await conn.open())[0] == OPENED

    return rogue(door, script)


def settled(what: Callable[[], object], seconds: float = 5.0) -> bool:
    """``what`` comes true in time."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
