"""Frames: what passes between a conversation and whoever speaks SSH for it.

SSH itself (key exchange, ciphers, channels: RFC 4253 and 4254) is a library's;
what is left of one connection with one ``exec`` channel are these frames, each
``kind`` (1 byte), ``length`` (4 bytes, big-endian) and ``length`` bytes of body.
DATA looks the same on both legs, so that bytes pass from one to the other as
they are.  This is also what a recording holds of both legs.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from protocols.errors import LimitError, WireError
from protocols.wire import Side

HEADER: Final = 5
LONGEST: Final = 1 << 18
"""Bytes of one body. The SSH side cuts what is longer into several frames."""


class Kind(IntEnum):
    """Which way a kind goes is written behind it: client leg in (from the
    client), client leg out, upstream leg in (from the upstream), upstream leg out."""

    HELLO = ord("h")
    """client in. The user name that the client logs in as, UTF-8. Once, first."""
    SECRET = ord("s")
    """client in. The answer at a password or keyboard-interactive prompt."""
    KEY = ord("k")
    """client in. The public key or certificate (RFC 4253 section 6.6) with which the
    client has logged in: its signature was verified. Last of the login."""
    REFUSED = ord("r")
    """client in. What the SSH side turned away by itself, in words (``pty-req``,
    ``direct-tcpip``, ``env LANG``, ``key SHA256:...``): for the record."""
    ENV = ord("v")
    """client in, upstream out. The value of GIT_PROTOCOL, before EXEC."""
    EXEC = ord("x")
    """client in, upstream out. The command line, once."""
    GREETED = ord("g")
    """client out. The login may go on; answers HELLO."""
    PROVEN = ord("p")
    """client out. Answers SECRET and KEY: it is who it says."""
    DENIED = ord("n")
    """client out. Answers HELLO, SECRET or KEY: no, with a reason in words. The
    SSH side tells a SECRET's sender that it was wrong, and disconnects others."""
    STARTED = ord("o")
    """client out: EXEC is granted. upstream in: the upstream granted it."""
    DATA = ord("d")
    """All. Standard input towards the upstream, standard output from it."""
    STDERR = ord("e")
    """upstream in, client out. Standard error."""
    EOF = ord("f")
    """All. No more DATA this way."""
    EXIT = ord("z")
    """upstream in, client out. Exit status, 4 bytes big-endian."""
    SIGNAL = ord("q")
    """upstream in, client out. It was killed: the signal's name without SIG."""
    GOODBYE = ord("b")
    """client out. Disconnect now, with a reason in words. Last."""
    READY = ord("y")
    """upstream in. The host key is one of those pinned; its fingerprint. The
    upstream waits for a login."""
    LOGIN = ord("l")
    """upstream out. User, private key and certificate (may be empty), each
    behind its length in 4 bytes. Answers READY."""
    OPENED = ord("w")
    """upstream in. The login was accepted."""
    FAILED = ord("!")
    """upstream in. It came to nothing, and why, in words. Last."""


_KINDS: Final = {int(kind): kind for kind in Kind}


class Frame(NamedTuple):
    kind: Kind
    body: bytes


def frame(kind: Kind, body: bytes = b"") -> bytes:
    """One frame on the wire. ValueError for a body over LONGEST."""
    if len(body) > LONGEST:
        raise ValueError("a body of this length takes several frames")
    return b"%c%b%b" % (kind, len(body).to_bytes(4, "big"), body)


def data(kind: Kind, body: bytes) -> bytes:
    """DATA or STDERR of any length: as many frames as it takes, none for none."""
    return b"".join(frame(kind, body[at : at + LONGEST]) for at in range(0, len(body), LONGEST))


def texts(*bodies: bytes) -> bytes:
    """Several bodies in one, each behind its length (LOGIN)."""
    return b"".join(len(body).to_bytes(4, "big") + body for body in bodies)


def untexts(body: bytes) -> list[bytes]:
    """The inverse of ``texts``. ValueError when it is none."""
    out: list[bytes] = []
    at = 0
    while at < len(body):
        end = at + 4 + int.from_bytes(body[at : at + 4], "big")
        if at + 4 > len(body) or end > len(body):
            raise ValueError("cut short")
        out.append(body[at + 4 : end])
        at = end
    return out


class Frames:
    """Cuts a stream into frames; a partial one waits for the rest."""

    __slots__ = ("_need", "_parts", "_side", "waiting")

    def __init__(self, side: Side) -> None:
        self._side = side
        self._parts: list[bytes] = []
        self._need = HEADER
        self.waiting = 0
        """Bytes of a frame that is not whole yet."""

    def cut(self, raw: bytes) -> tuple[bytes, list[tuple[Kind, int, int]]]:
        """A buffer, and each frame that is whole in it: kind, start, end. The body
        is ``buffer[start + HEADER : end]``; frames follow each other without gaps
        from 0. Raises WireError (an unknown kind) and LimitError (a body over
        LONGEST), and then the stream is lost."""
        if self.waiting:
            self._parts.append(raw)
            self.waiting += len(raw)
            if self.waiting < self._need:
                return b"", []
            raw = b"".join(self._parts)
        at, size = 0, len(raw)
        found: list[tuple[Kind, int, int]] = []
        self._need = HEADER
        while size - at >= HEADER:
            kind = _KINDS.get(raw[at])
            if kind is None:
                raise WireError(self._side, "a frame of no kind")
            length = int.from_bytes(raw[at + 1 : at + HEADER], "big")
            if length > LONGEST:
                raise LimitError(self._side, "a frame longer than there may be")
            end = at + HEADER + length
            if end > size:
                self._need = HEADER + length
                break
            found.append((kind, at, end))
            at = end
        rest = raw[at:] if at else raw
        self._parts = [rest] if rest else []
        self.waiting = len(rest)
        return raw, found

    def spill(self, raw: bytes) -> bytes:
        """All that ``cut`` has not given out, after it raised on ``raw``."""
        rest = b"".join(self._parts) or raw
        self._parts, self.waiting = [], 0
        return rest

    def feed(self, raw: bytes) -> list[Frame]:
        """``cut``, as frames."""
        buffer, found = self.cut(raw)
        return [Frame(kind, buffer[start + HEADER : end]) for kind, start, end in found]
