"""A recorded git session as exchanges: what the client asked, and where in what it got the
answer to that stands. Cut by git's own grammar, not by time: clients ask ahead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from protocols.errors import WireError
from protocols.git.pktline import DELIM, FLUSH, LONGEST, content
from recorder.replay.git_requests import Request, Requests
from recorder.replay.git_tape import Tape
from recorder.replay.messages import UnreadableError

_LENGTH: Final = re.compile(rb"[0-9a-fA-F]{4}")
_RECORDED_MAX: Final = 1 << 28
"""Bytes of one recorded request that are looked at."""


@dataclass(slots=True)
class Exchange:
    """``start`` to ``stop`` is the answer in what the client got. ``last``: the server hung up
    behind it. ``behind``: it means nothing but behind the one before it. ``pack``: where in
    what the client said. ``acked``: the objects that the answer calls common."""

    number: int
    request: Request
    start: int
    stop: int
    last: bool = False
    behind: bool = False
    pack: tuple[int, int] | None = None
    acked: frozenset[bytes] = frozenset()
    hidden: str = ""
    """Why the request is not all on record."""
    withheld: str = ""
    """Why the answer is not."""


@dataclass(slots=True)
class Conversation:
    """What there is to play. The client gets ``greeting`` bytes before it asks anything;
    ``ended``: and nothing more."""

    tape: Tape
    greeting: int = 0
    ended: bool = False
    version: int = 0
    object_format: str = "sha1"
    withheld: str = ""
    """Why the greeting is not all on record."""
    missing: str = ""
    """Why what the client said is not."""
    unanswered: int = 0
    exchanges: list[Exchange] = field(default_factory=list)


def conversation(tape: Tape) -> Conversation:
    """Cut it. UnreadableError where what is on record is no git."""
    answers = _Answers(tape)
    found = Conversation(tape)
    if tape.service != "archive":
        _greet(found, answers)
    if not found.ended:
        for request, start in _requests(found):
            if request.kind == "(pack)":
                found.exchanges[-1].pack = (start, tape.said.size)
                continue
            exchange = answers.to(request, found)
            exchange.hidden = tape.said.withheld(start, start + request.size)
            silent = answers.over and exchange.start == exchange.stop
            hole = tape.got.withheld(exchange.start, exchange.stop, True)
            if silent and not hole and request.kind not in ("want", "push"):
                # The next thing on record is the end: it was never answered.
                found.unanswered += 1
                break
            found.exchanges.append(exchange)
            if exchange.last and not exchange.request.pack:
                break
    found.missing = tape.said.withheld(0, tape.said.size, True)
    if found.exchanges and answers.at < tape.got.size and not found.missing:
        found.exchanges[-1].stop, found.exchanges[-1].last = tape.got.size, True
    for exchange in found.exchanges:
        exchange.withheld = tape.got.withheld(exchange.start, exchange.stop, exchange.last)
        if exchange.pack is not None:
            exchange.hidden = exchange.hidden or tape.said.withheld(*exchange.pack, True)
    return found


def _greet(found: Conversation, answers: _Answers) -> None:
    lines = list(answers.until_flush())
    found.greeting, found.ended = answers.at, answers.over
    found.withheld = found.tape.got.withheld(0, found.greeting, found.ended)
    first = content(lines[0]) if lines else b""
    if not lines or not found.greeting:
        raise UnreadableError(f"its client got nothing of a service{_why(found.tape)}")
    if first in (b"version 1", b"version 2"):
        found.version = int(first[8:])
    # The capabilities: lines of v2, or behind the first ref's NUL.
    told = b" ".join(map(content, lines)) if found.version == 2 else b"".join(
        line.partition(b"\0")[2] for line in lines[:2])  # fmt: skip
    if re.search(rb"\bobject-format=sha256\b", told):
        found.object_format = "sha256"


def _why(tape: Tape) -> str:
    text = bytes(tape.errors[:300]).decode("utf-8", "backslashreplace").strip()
    return f": {text}" if text else ""


def _requests(found: Conversation) -> Iterator[tuple[Request, int]]:
    """Each recorded request and where it begins; a pack as one of kind ``(pack)``."""
    track = found.tape.said
    reader = Requests(found.tape.service, found.version, _RECORDED_MAX)
    at, packing = 0, False
    try:
        for piece in track.read(0, track.size):
            for item in reader.feed(piece):
                if isinstance(item, Request):
                    yield item, at
                    at += item.size
                elif not packing:
                    packing = True
                    yield Request("(pack)", ()), at
    except WireError as error:
        if not track.holes:
            raise UnreadableError(str(error)) from error


class _Answers:
    """Walks through what the client got."""

    def __init__(self, tape: Tape) -> None:
        self._file: BinaryIO = tape.got.file
        self._size = tape.got.size
        self._file.seek(0)
        self._tape = tape
        self._plain = False
        self.at = 0
        self.over = False
        """The client got no more than this."""

    def until_flush(self) -> Iterator[bytes]:
        """Lines with the flush that ends them; to the end behind an error."""
        while (line := self._line()) is not None:
            yield line
            if line == FLUSH:
                return
            if line[4:8] == b"ERR ":
                self._rest()
                return

    def to(self, request: Request, found: Conversation) -> Exchange:
        """The answer to ``request``, which is the next one."""
        start = self.at
        exchange = Exchange(len(found.exchanges) + 1, request, start, start)
        kind = request.kind
        if found.version == 2:
            exchange.acked = self._sections()
        elif kind == "want":
            if any(content(line).startswith(b"deepen") for line in request.lines):
                for _ in self.until_flush():
                    pass
        elif kind == "have" and content(request.lines[-1]) != b"done":
            exchange.behind = True
            exchange.acked = self._batch(self._acks(found))
        else:
            exchange.behind = kind == "have"
            self._rest()
        exchange.stop, exchange.last = self.at, self.over
        if kind == "want" and found.version != 2 and self.at == start:
            # No answer is due, and what comes next is the next one's.
            exchange.last, self.over = False, False
        return exchange

    def _sections(self) -> frozenset[bytes]:
        """An answer of v2: sections up to a flush."""
        acked = set()
        for line in self.until_flush():
            if line[4:8] == b"ACK ":
                acked.add(content(line)[4:].split(b" ")[0])
        return frozenset(acked)

    def _acks(self, found: Conversation) -> bool:
        """The client speaks multi_ack or multi_ack_detailed."""
        wanted = next((e.request for e in found.exchanges if e.request.kind == "want"), None)
        return wanted is not None and any(c.startswith(b"multi_ack") for c in wanted.parts[1])

    def _batch(self, multiple: bool) -> frozenset[bytes]:
        """The answer of v0 to a batch of haves: up to NAK; without multi_ack one ACK is all."""
        acked = set()
        while (line := self._line()) is not None:
            said = content(line)
            if said.startswith(b"ERR "):
                self._rest()
            elif said.startswith(b"ACK "):
                acked.add(said[4:].split(b" ")[0])
                if multiple:
                    continue
            elif said != b"NAK":
                self._back(line)
            break
        return frozenset(acked)

    def _back(self, line: bytes) -> None:
        self.at -= len(line)
        self._file.seek(self.at)

    def _line(self) -> bytes | None:
        """The next line; None at the end, and where none begins: then all that is left
        is one answer."""
        head = self._file.read(4)
        if self.at + 4 > self._size or not _LENGTH.fullmatch(head):
            self._rest()
            return None
        length = int(head, 16)
        if length < 4:
            self.at += 4
            return head if head in (FLUSH, DELIM) else FLUSH
        body = self._file.read(length - 4)
        if length > LONGEST or len(body) < length - 4:
            self._rest()
            return None
        self.at += length
        return head + body

    def _rest(self) -> None:
        self.at, self.over = self._size, True
