"""The client leg of SSH, as far as it needs no SSH library: who may log in, with what,
and what may be opened then.

Every method is offered to everybody, and each takes the same steps whatever the user
name, so that nobody learns from outside which names there are.
"""

from __future__ import annotations

import fcntl
import termios
from collections.abc import Callable
from typing import Any, Final, cast

from gateway import ssh_algorithms as limits
from gateway.identity.public_keys import fingerprint
from gateway.ssh_channel import ServedSession, words
from gateway.ssh_connection import Connection
from protocols.errors import WireError
from protocols.ssh.frames import Kind
from protocols.wire import Side

NOT_OFFERED: Final = 1
"""SSH_OPEN_ADMINISTRATIVELY_PROHIBITED, RFC 4254 section 5.1."""
BY_APPLICATION: Final = 11
"""SSH_DISCONNECT_BY_APPLICATION, RFC 4253 section 11.1."""
LINGER_SECONDS: Final = 30.0
"""For a client to take what the gateway said before it left."""
PARTING_SECONDS: Final = 5.0
"""For a client to hang up after its channel is closed."""
DROP_SECONDS: Final = 2.0
"""For a client that is dropped to take what is on record as sent to it."""
_GLANCE: Final = 0.05
"""Between looks whether it has."""
_ANSWERS: Final = frozenset({Kind.GREETED, Kind.PROVEN, Kind.DENIED})

Accepts = Callable[[bytes, str], bool]


class ServedConnection(Connection):
    """A client's connection."""

    def admit(self, peer: str, accepts: Accepts) -> None:
        """At the start: where the client is, and which keys are worth a signature."""
        self._peer, self._accepts = peer, accepts
        self._claimed = b""
        self._greeted = False
        self._attempts = self._secrets = self._refusals = 0
        self._answer: Any = None
        self._session: ServedSession | None = None
        self._parting = False

    def denial(self, why: str) -> Exception:
        """What to raise so that the client is told why, and disconnected."""
        raise NotImplementedError

    def public_key(self, blob: bytes) -> Any:
        """The key in a public key or certificate, None for one that is not taken."""
        raise NotImplementedError

    def new_session(self) -> ServedSession:
        """A session with its channel."""
        raise NotImplementedError

    # -- the gateway's words ------------------------------------------------

    async def ask(self, kind: Kind, body: bytes) -> tuple[Kind, bytes]:
        """A frame that has an answer, and the answer. A client that goes on before
        it is there would mix up what is answered: it is ended."""
        if self._answer is not None or (kind is not Kind.HELLO and not self._greeted):
            raise self.denial("a request before the last one was answered")
        self._answer = cast(Any, self.home.loop).create_future()
        self.link.send(kind, body)
        return cast(tuple[Kind, bytes], await self._answer)

    def frame_received(self, kind: Kind, body: bytes) -> None:
        """Raises WireError for a frame out of turn."""
        session = self._session
        if kind in _ANSWERS and self._answer is not None:
            answer, self._answer = self._answer, None
            if not answer.done():
                answer.set_result((kind, body))
        elif kind is Kind.GOODBYE:
            self._parting = True
            if session is not None and session.asked:
                session.dismiss(body)
            else:
                cast(Any, self).disconnect(BY_APPLICATION, words(body))
        elif session is not None:
            session.frame_received(kind, body)
            self._parting = self._parting or kind in (Kind.EXIT, Kind.SIGNAL, Kind.DENIED)
        else:
            raise WireError(Side.UPSTREAM, f"{kind.name} before there is a channel")

    def link_lost(self, why: str) -> None:
        """What is on record as sent, the client may take first; and if it was told that it
        is over, it may leave by itself."""
        if why:
            self.home.note(f"a client leg was given up: {why}")
            cast(Any, self).abort()
        elif self._parting:
            if self._session is not None:
                self._session.close()
            self._linger(LINGER_SECONDS, 1.0, PARTING_SECONDS)
        else:
            self._linger(DROP_SECONDS, _GLANCE, _GLANCE)

    def _linger(self, left: float, every: float, moment: float) -> None:
        """Hang up when the client has taken what is owed to it (looked at ``every`` so many
        seconds) and had a ``moment``, or in ``left`` seconds. One who was told that it is over
        may leave by itself in that moment; and OpenSSH's client forgets what it has read when
        the end is there at once. The session is over: nobody counts this connection any more."""
        if left > moment and self._owed():
            self.home.loop.call_later(every, lambda: self._linger(left - every, every, moment))
        else:
            self.home.loop.call_later(min(left, moment), cast(Any, self).abort)

    def _owed(self) -> bool:
        """Bytes wait for the client, here or in the kernel."""
        transport = cast(Any, self)._transport
        if transport is None:
            return False
        channel = self._session.channel if self._session is not None else None
        if transport.get_write_buffer_size() or (channel is not None and channel._send_buf):
            return True
        waiting = bytearray(4)
        fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, waiting)
        return any(waiting)

    def unwanted(self, what: str) -> None:
        """For the record. The 101st time raises."""
        if what == "no-more-sessions@openssh.com":
            return
        self._refusals += 1
        if self._refusals > limits.REFUSALS:
            raise self.denial("too many requests for what is not offered")
        self.link.send(Kind.REFUSED, what[:256].encode("utf-8", "backslashreplace"))

    def ended(self, error: Exception | None) -> None:
        self.link.finish()

    def channel_ended(self, error: Exception | None) -> None:
        """Closed on both sides. The client hangs up by itself; a disconnect in words
        would make it exit with 255."""
        self.link.finish()
        self.home.loop.call_later(PARTING_SECONDS, cast(Any, self).abort)

    # -- login --------------------------------------------------------------

    async def reload_config(self) -> None:
        """Nothing: there are no files to read."""

    def _process_userauth_request(self, kind: int, number: int, packet: Any) -> Any:
        if not cast(Any, self)._auth_complete:
            claimed = type(packet)(packet.get_full_payload()[1:]).get_string()
            self._attempts += 1
            if self._attempts > limits.ATTEMPTS:
                raise self.denial("too many attempts to log in")
            if self._answer is not None:
                raise self.denial("a login while the last one is being checked")
            if not claimed or claimed != (self._claimed or claimed):
                raise self.denial("a user name that is none, or another than before")
            self._claimed = claimed
        return cast(Any, super())._process_userauth_request(kind, number, packet)

    async def _finish_userauth(self, begin_auth: bool, method: bytes, packet: Any) -> None:
        # A name of which nothing is left (RFC 4013) begins nothing.
        if not (begin_auth or self._greeted):
            raise self.denial("a user name that is none")
        await cast(Any, super())._finish_userauth(begin_auth, method, packet)

    async def greet(self, name: str) -> bool:
        """True: the login goes on."""
        kind, body = await self.ask(Kind.HELLO, name.encode())
        self._greeted = kind is Kind.GREETED
        if not self._greeted:
            raise self.denial(words(body))
        return True

    async def secret(self, value: str) -> bool:
        """True: it was right."""
        self._secrets += 1
        if self._secrets > limits.SECRETS:
            raise self.denial("too many attempts to log in")
        kind, _ = await self.ask(Kind.SECRET, value.encode())
        return kind is Kind.PROVEN

    async def validate_public_key(
        self, username: str, key_data: bytes, msg: bytes, signature: bytes
    ) -> bool:
        """The library's own judgement of keys and certificates is not asked: who may
        come in is ``accepts``'s to say, and what a certificate grants is the
        gateway's. True without a signature says that one is worth making. A key is
        named to the gateway only with a signature by it over this session."""
        if not self._greeted:
            raise self.denial("a key before a name")
        fits = len(key_data) <= limits.LONGEST_KEY and self._accepts(key_data, self._peer)
        key = self.public_key(key_data) if fits else None
        if key is None:
            self.unwanted(f"key {fingerprint(key_data)}")
            return False
        if not msg:
            return True
        session_id = cast(bytes, cast(Any, self)._session_id)
        signed = len(session_id).to_bytes(4, "big") + session_id + msg
        if not limits.signed_with(signature) or not key.verify(signed, signature):
            self.unwanted(f"signature by {fingerprint(key_data)}")
            return False
        kind, body = await self.ask(Kind.KEY, key_data)
        if kind is not Kind.PROVEN:
            raise self.denial(words(body))
        return True

    # -- the channel --------------------------------------------------------

    def _process_channel_open(self, kind: int, number: int, packet: Any) -> None:
        inner = type(packet)(packet.get_full_payload()[1:])
        wanted, theirs = inner.get_string(), inner.get_uint32()
        if wanted == b"session" and self._session is None:
            cast(Any, super())._process_channel_open(kind, number, packet)
            return
        self.unwanted("second session" if wanted == b"session" else words(wanted))
        cast(Any, self).send_channel_open_failure(theirs, NOT_OFFERED, "not offered here", "en")

    def _process_session_open(self, packet: Any) -> tuple[Any, Any]:
        packet.check_end()
        self._session = self.new_session()
        return self._session.channel, self._session
