"""One leg of a recording as a pcapng file (draft-ietf-opsawg-pcapng): the bytes inside TLS or
SSH, in TCP segments that were never on a wire.

Addresses are synthetic: the client is 10.0.0.1, the server 10.0.0.2 at the protocol's usual
port, so that Wireshark picks its dissector. A request for TLS that was granted is left out.
Of git over SSH there are no frames: what ssh carried stands there as ``git daemon`` would have
had it (gitprotocol-pack(5), "Git Transport"), its request made of the command line; what git
wrote to its standard error, and how it ended, are comments. Where bytes are not on record a
packet's comment says so; of PostgreSQL, a message of the same length stands there (asterisks for
a part of one), so that what follows decodes.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from protocols.postgres.messages import SSL_REQUEST
from protocols.ssh.frames import Kind
from protocols.wire import Mark, Side
from recorder.postgres_cutter import Cutter
from recorder.reader import Recording
from recorder.ssh_parts import FrameParts, Part
from recorder.ssh_streams import PROTOCOLS
from recorder.streams import Hop, Piece, Streams

PORTS = {"postgres": 5432, "resp": 6379, "git-ssh": 9418}
_CLIENT, _SERVER = b"\x0a\0\0\1", b"\x0a\0\0\2"
_CLIENT_PORT = 50_000
_MOST = 32_768
_FIN, _SYN, _PSH, _ACK = 1, 2, 8, 16
_RAW_IP = 101
_COMMENT = 4096
"""Bytes of one comment."""


def pcapng(recording: Recording, leg: Side) -> Iterator[bytes]:
    """The file, block by block. FormatError where the recording breaks."""
    header = recording.header
    protocol = str(header.get("protocol", ""))
    flow = _Flow(int(header["wall"]), PORTS.get(protocol, 9))
    yield _block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    about = f"session {header['session']}, {leg.name.lower()} leg".encode()
    resolution = _option(9, b"\x09")  # nanoseconds
    yield _block(1, struct.pack("<HHI", _RAW_IP, 0, 0) + _option(2, b"wirewarden0")
                 + _option(3, about) + resolution + _option(0, b""))  # fmt: skip
    yield from flow.greet()
    at, asked, note = 0, -1, ""
    for at, ours, raw, why in _said(recording, leg, protocol):
        if protocol == "postgres" and ours and raw == SSL_REQUEST:
            asked = at
            continue
        if asked >= 0 and not ours and raw == b"S":
            # A dissector would look for TLS now; what is here was inside of it.
            asked, note = -1, "SSLRequest and its answer are left out: this was inside TLS"
            continue
        if asked >= 0:
            yield from flow.say(asked, True, SSL_REQUEST)
            asked = -1
        if not raw:
            yield from flow.say(at, ours, b"", why)
        for start in range(0, len(raw), _MOST):
            yield from flow.say(at, ours, raw[start : start + _MOST], why or note)
            note = ""
    if asked >= 0:
        yield from flow.say(asked, True, SSL_REQUEST)
    yield from flow.leave(at)


class Words(NamedTuple):
    """``raw`` was said ``at``, by the client's side of the leg (``ours``) or the other."""

    at: int
    ours: bool
    raw: bytes
    why: str


def _said(recording: Recording, leg: Side, protocol: str) -> Iterator[Words]:
    asks = Hop(leg, leg is Side.CLIENT)
    git = protocol in PROTOCOLS
    frames = {True: _Daemon(), False: _Daemon()}
    messages = {True: Cutter(client=True), False: Cutter(client=False)}
    for item in Streams(recording).story(asks, Hop(leg, leg is Side.UPSTREAM)):
        if not isinstance(item, Piece):
            continue
        ours = item.hop == asks
        if item.offset < 0:
            yield Words(item.at, ours, b"", "records of the recording are missing here")
        if git:
            yield from frames[ours].taken(item, ours)
        elif item.offset >= 0:
            raw, why = item.raw, ""
            if raw is None:
                within = protocol != "postgres" or messages[ours].within
                raw = b"*" * item.length if within else _filler(ours, item)
                why = f"{item.length} bytes are not on record: {item.why}"
            if protocol == "postgres":
                deque(messages[ours].feed(raw), 0)
            yield Words(item.at, ours, raw, why)


class _Daemon:
    """One way of an SSH channel, as git's own transport has it."""

    def __init__(self) -> None:
        self._frames = FrameParts()
        self._body = bytearray()
        self._version = b""

    def taken(self, piece: Piece, ours: bool) -> Iterator[Words]:
        """What ``piece`` comes to."""
        for part in self._frames.feed(piece):
            if part.over or part.kind is None:
                if part.mark is not Mark.SECRET:
                    yield Words(part.at, ours, b"", f"frames are not on record: {part.why}")
            elif part.kind is Kind.DATA:
                why = "" if part.raw is not None else f"{part.length} bytes are not on record"
                raw = bytes(part.length) if part.raw is None else part.raw
                if raw:
                    yield Words(part.at, ours, raw, why)
            else:
                yield from self._other(part, ours)

    def _other(self, part: Part, ours: bool) -> Iterator[Words]:
        self._body += (part.raw or b"")[: _COMMENT - len(self._body)]
        if not part.last:
            return
        body = bytes(self._body)
        self._body.clear()
        if part.kind is Kind.ENV:
            self._version = body
        elif part.kind is Kind.EXEC:
            yield Words(part.at, ours, _request(body, self._version), "")
        elif part.kind is Kind.STDERR:
            text = body.decode("utf-8", "backslashreplace")
            yield Words(part.at, ours, b"", f"standard error: {text}")
        elif part.kind is Kind.EXIT:
            yield Words(part.at, ours, b"", f"exit status {int.from_bytes(body, 'big')}")


def _request(line: bytes, version: bytes) -> bytes:
    """The git-proto-request of a command line such as ``git-upload-pack '/a.git'``."""
    service, _, path = line.partition(b" ")
    told = service + b" " + path.strip(b"'") + b"\0host=10.0.0.2\0"
    if version:
        told += b"\0" + version + b"\0"
    return b"%04x" % (len(told) + 4) + told


def _filler(ours: bool, piece: Piece) -> bytes:
    """A message in place of those of PostgreSQL's that are missing."""
    if piece.length < 5:
        return bytes(piece.length)
    if piece.mark is Mark.SECRET:
        kind = b"p" if ours else b"K" if piece.length in range(13, 18) else b"R"
    else:
        kind = b"d"
    body = bytes(piece.length - 5)
    if kind == b"R":
        body = (12).to_bytes(4, "big")[: len(body)] + body[4:]
    return kind + (piece.length - 1).to_bytes(4, "big") + body


class _Flow:
    def __init__(self, wall: int, port: int) -> None:
        self._wall = wall
        self._port = port
        self._next = [1_000, 2_000]
        self._id = 0

    def greet(self) -> Iterator[bytes]:
        yield self._packet(0, True, b"", _SYN)
        yield self._packet(0, False, b"", _SYN | _ACK)
        yield self._packet(0, True, b"", _ACK)

    def say(self, at: int, ours: bool, raw: bytes, comment: str = "") -> Iterator[bytes]:
        yield self._packet(at, ours, raw, _PSH | _ACK, comment)

    def leave(self, at: int) -> Iterator[bytes]:
        yield self._packet(at, True, b"", _FIN | _ACK)
        yield self._packet(at, False, b"", _FIN | _ACK)
        yield self._packet(at, True, b"", _ACK)

    def _packet(self, at: int, ours: bool, raw: bytes, flags: int, comment: str = "") -> bytes:
        me = 0 if ours else 1
        ends = (_CLIENT, _SERVER) if ours else (_SERVER, _CLIENT)
        ports = (_CLIENT_PORT, self._port) if ours else (self._port, _CLIENT_PORT)
        ack = self._next[1 - me] if flags & _ACK else 0
        tcp = struct.pack(">HHIIBBHHH", *ports, self._next[me], ack, 0x50, flags, 65_535, 0, 0)
        pseudo = b"".join(ends) + struct.pack(">BBH", 0, 6, len(tcp) + len(raw))
        tcp = tcp[:16] + struct.pack(">H", _sum(pseudo + tcp + raw)) + tcp[18:]
        self._id = (self._id + 1) & 0xFFFF
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 40 + len(raw), self._id, 0x4000, 64, 6, 0)
        ip += b"".join(ends)
        ip = ip[:10] + struct.pack(">H", _sum(ip)) + ip[12:]
        step = len(raw) + (1 if flags & (_SYN | _FIN) else 0)
        self._next[me] = (self._next[me] + step) & 0xFFFFFFFF
        packet = ip + tcp + raw
        when = self._wall + at
        body = struct.pack("<IIIII", 0, when >> 32, when & 0xFFFFFFFF, len(packet), len(packet))
        body += packet + bytes(-len(packet) % 4)
        if comment:
            body += _option(1, comment.encode()) + _option(0, b"")
        return _block(6, body)


def _sum(data: bytes) -> int:
    """The checksum of RFC 1071."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _block(kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)
