"""One leg of a recording as a pcapng file (draft-ietf-opsawg-pcapng): the bytes inside TLS or
SSH, in TCP segments that were never on a wire.

Addresses are synthetic: the client is 10.0.0.1, the server 10.0.0.2 at the protocol's usual
port, so that Wireshark picks its dissector. A request for TLS that was granted is left out.
Where bytes are not on record a packet's comment says so; of PostgreSQL, a message of the same
length stands there, so that what follows decodes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from protocols.postgres.messages import SSL_REQUEST
from protocols.wire import Mark, Side
from recorder.reader import Recording
from recorder.streams import Hop, Piece, Streams

PORTS = {"postgres": 5432, "resp": 6379, "git-ssh": 9418}
_CLIENT, _SERVER = b"\x0a\0\0\1", b"\x0a\0\0\2"
_CLIENT_PORT = 50_000
_MOST = 32_768
_FIN, _SYN, _PSH, _ACK = 1, 2, 8, 16
_RAW_IP = 101


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
    asks = Hop(leg, leg is Side.CLIENT)
    for item in Streams(recording).story(asks, Hop(leg, leg is Side.UPSTREAM)):
        if not isinstance(item, Piece):
            continue
        at, ours = item.at, item.hop == asks
        if item.offset < 0:
            yield from flow.say(at, ours, b"", "records of the recording are missing here")
            continue
        raw, why = item.raw, ""
        if raw is None:
            raw = _filler(protocol, ours, item)
            why = f"{item.length} bytes are not on record: {item.why}"
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
        for start in range(0, len(raw), _MOST):
            yield from flow.say(at, ours, raw[start : start + _MOST], why or note)
            note = ""
    if asked >= 0:
        yield from flow.say(asked, True, SSL_REQUEST)
    yield from flow.leave(at)


def _filler(protocol: str, ours: bool, piece: Piece) -> bytes:
    """As many bytes as are missing."""
    if protocol != "postgres" or piece.length < 5:
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
