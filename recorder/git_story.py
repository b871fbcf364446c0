"""What a recorded git session said on the client leg, in order: requests, refs,
progress, packs, reports (gitprotocol-pack(5), gitprotocol-v2(5)).

Values for ``show``, ``play`` and ``grep``. It never raises on bytes, and holds one
packet of each stream.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Final, NamedTuple

from protocols.ssh.frames import Kind
from protocols.wire import Mark, Side
from recorder.git_lines import Cut, Packet, PacketReader, Said, TextReader
from recorder.reader import Recording
from recorder.ssh_parts import FrameParts, Part
from recorder.streams import Hop, Piece, Streams, Told

PROTOCOL: Final = "git-ssh"
_IN: Final = Hop(Side.CLIENT, True)
_OUT: Final = Hop(Side.CLIENT, False)
_BODY_MAX: Final = 4096

_OID = rb"(?:[0-9a-f]{40}|[0-9a-f]{64})"
_UPDATE: Final = re.compile(rb"(%b) (%b) ([^\0\n]+)(?:\0[^\n]*)?\n?" % (_OID, _OID))
_REF: Final = re.compile(rb"(%b) ([^\0\n ]+)(?:[\0 ][^\n]*)?\n?" % _OID)
_WANT: Final = re.compile(rb"(want|have|shallow) (%b)(?: [^\n]*)?\n?" % _OID)
_ASK: Final = re.compile(
    rb"(command=|(?:want-ref|deepen-since|deepen-not|deepen|filter|argument|push-cert)[ \0])"
    rb"([^\n\0]*)[^\n]*\n?"
)
_REPORT: Final = re.compile(rb"(unpack|ok|ng) ([^\n ]+)(?: ([^\n]*))?\n?")
_PUSH: Final = re.compile(rb"git[ -]receive-pack\b")


class What(Enum):
    """What was said. Beside it, what ``Line.words`` are."""

    EXEC = "exec"
    """Client. The command line."""
    REFUSED = "refused"
    """Client. What the SSH side turned away."""
    UPDATE = "update"
    """Client. Old object, new object, ref."""
    WANT = "want"
    """Client. An object."""
    HAVE = "have"
    """Client. An object."""
    ASK = "ask"
    """Client. A word (``deepen``, ``filter``, ``want-ref``...) and its value."""
    OPTION = "option"
    """Client. A push option."""
    REF = "ref"
    """Server. Object and ref."""
    PACK = "pack"
    """Bytes of a pack or an archive, either way: ``Line.size``."""
    TEXT = "text"
    """Progress, messages, standard error: one line; ``Line.passing``."""
    ERROR = "error"
    """Server. An ``ERR`` line, or the text of side-band 3."""
    REPORT = "report"
    """Server. ``unpack``, ``ok`` or ``ng``, its object, and a reason."""
    FLUSH = "flush"
    """Either. A request, a list or a stream ends."""
    EXIT = "exit"
    """Server. The exit status or the signal."""
    END = "end"
    """Server. The last words on the connection."""
    LOST = "lost"
    """From here on this stream can't be read; why."""


class Line(NamedTuple):
    """Something said at ``at`` (nanoseconds) by the client or (``server``) to it.
    ``ours``: in the gateway's own words."""

    at: int
    what: What
    server: bool
    words: tuple[str, ...] = ()
    size: int = 0
    ours: bool = False
    passing: bool = False


def _text(*raw: bytes) -> tuple[str, ...]:
    return tuple(part.decode("utf-8", "surrogateescape") for part in raw)


class _Way:
    """One direction: frames, packets in them, and what they mean."""

    def __init__(self, server: bool, shared: _Shared) -> None:
        self._server = server
        self._shared = shared
        self._frames = FrameParts()
        self._packets = PacketReader()
        self._report = PacketReader()
        self._errors = TextReader()
        self._progress = TextReader()
        self._fatal = TextReader()
        self._body = bytearray()
        self._flushes = 0

    def feed(self, piece: Piece) -> Iterator[Line]:
        for part in self._frames.feed(piece):
            if part.over:
                yield Line(part.at, What.LOST, self._server, (part.why,))
            elif part.kind is Kind.DATA:
                for packet in self._packets.feed(part.raw, part.length, part.mark):
                    yield from self._packet(part.at, packet)
            elif part.kind is Kind.STDERR:
                raw = b"?" * part.length if part.raw is None else part.raw
                yield from self._said(part.at, self._errors.feed(raw, part.mark), What.TEXT)
            elif part.kind is not None:
                yield from self._frame(part)

    def finish(self, at: int) -> Iterator[Line]:
        for reader in (self._progress, self._errors):
            yield from self._said(at, reader.finish(), What.TEXT)
        yield from self._said(at, self._fatal.finish(), What.ERROR)

    def _said(self, at: int, lines: Iterator[Said], what: What) -> Iterator[Line]:
        for said in lines:
            yield Line(at, what, True, (said.text,), 0, said.ours, said.passing)

    def _frame(self, part: Part) -> Iterator[Line]:
        self._body += (part.raw or b"")[: _BODY_MAX - len(self._body)]
        if not part.last:
            return
        body = bytes(self._body)
        self._body.clear()
        ours = part.mark is Mark.OURS
        if part.kind is Kind.EXEC:
            self._shared.push = self._shared.push or _PUSH.match(body) is not None
            yield Line(part.at, What.EXEC, False, _text(body))
        elif part.kind is Kind.REFUSED:
            yield Line(part.at, What.REFUSED, False, _text(body))
        elif part.kind is Kind.EOF:
            yield from self.finish(part.at)
            yield Line(part.at, What.FLUSH, self._server)
        elif part.kind is Kind.EXIT:
            yield from self.finish(part.at)
            yield Line(part.at, What.EXIT, True, (str(int.from_bytes(body, "big")),), 0, ours)
        elif part.kind is Kind.SIGNAL:
            yield Line(part.at, What.EXIT, True, ("signal", *_text(body)), 0, ours)
        elif part.kind in (Kind.GOODBYE, Kind.DENIED):
            yield Line(part.at, What.END, True, _text(body), 0, ours)

    def _packet(self, at: int, packet: Packet) -> Iterator[Line]:
        cut, raw, size, mark = packet
        if cut is Cut.PACK:
            yield Line(at, What.PACK, self._server, (), size)
        elif cut is Cut.LOST:
            yield Line(at, What.LOST, self._server, ("these are no pkt-lines",))
        elif cut is not Cut.LINE:
            self._flushes += cut is Cut.FLUSH
            yield from self._said(at, self._progress.finish(), What.TEXT)
            yield Line(at, What.FLUSH, self._server)
        elif self._server:
            yield from self._from_server(at, raw, mark)
        else:
            yield from self._from_client(at, raw)

    def _from_client(self, at: int, raw: bytes) -> Iterator[Line]:
        found = _UPDATE.fullmatch(raw)
        if found is not None:
            self._shared.push = True
            yield Line(at, What.UPDATE, False, _text(*found.groups()))
            return
        if self._shared.push and self._flushes:
            yield Line(at, What.OPTION, False, _text(raw.rstrip(b"\n")))
            return
        found = _WANT.fullmatch(raw)
        if found is not None and found[1] != b"shallow":
            what = What.WANT if found[1] == b"want" else What.HAVE
            yield Line(at, what, False, _text(found[2]))
            return
        found = _ASK.fullmatch(raw)
        if found is not None:
            word, value = _text(*found.groups())
            yield Line(at, What.ASK, False, (word.rstrip("= \0"), value))

    def _from_server(self, at: int, raw: bytes, mark: Mark) -> Iterator[Line]:
        band = raw[:1]
        ours = mark is Mark.OURS
        if band == b"\x01":
            if not self._shared.push:
                yield Line(at, What.PACK, True, (), len(raw) - 1)
                return
            for packet in self._report.feed(raw[1:], len(raw) - 1, mark):
                if packet.cut is Cut.LINE:
                    yield from self._reported(at, packet.raw, ours)
        elif band == b"\x02":
            yield from self._said(at, self._progress.feed(raw[1:], mark), What.TEXT)
        elif band == b"\x03":
            yield from self._said(at, self._fatal.feed(raw[1:], mark), What.ERROR)
            yield from self._said(at, self._fatal.finish(), What.ERROR)
        elif raw.startswith(b"ERR "):
            yield Line(at, What.ERROR, True, _text(raw[4:].rstrip(b"\n")), 0, ours)
        elif (found := _REF.fullmatch(raw)) is not None:
            yield Line(at, What.REF, True, _text(*found.groups()))
        elif self._shared.push:
            yield from self._reported(at, raw, ours)

    def _reported(self, at: int, raw: bytes, ours: bool) -> Iterator[Line]:
        found = _REPORT.fullmatch(raw)
        if found is not None:
            words = _text(found[1], found[2], found[3] or b"")
            yield Line(at, What.REPORT, True, words, 0, ours)


class _Shared:
    """What both directions must know: it is a push."""

    def __init__(self) -> None:
        self.push = False


def lines(recording: Recording, client: bool = True) -> Iterator[Line | Told | Piece]:
    """All of it, with what happened. A Piece stands where bytes are not on record.
    ``client`` False leaves out what the client said. ``FormatError`` where the
    recording breaks."""
    shared = _Shared()
    ways = {_OUT: _Way(True, shared), _IN: _Way(False, shared)}
    at = 0
    for item in Streams(recording).story(*((_IN, _OUT) if client else (_OUT,))):
        at = item.at
        if isinstance(item, Told):
            yield item
            continue
        assert item.hop is not None
        if item.raw is None and item.mark is not Mark.SECRET:
            yield item
        yield from ways[item.hop].feed(item)
    for way in ways.values():
        yield from way.finish(at)
