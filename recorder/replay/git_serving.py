"""Plays a recorded git service for one client of ``git://`` (gitprotocol-pack(5), "Git
Transport"). No sockets here: bytes in, bytes out.

What is asked is looked up among the recorded exchanges and answered with the very bytes that
the client got then. What is not on record is answered in git's own words for an error.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import BinaryIO, Final, Literal

from protocols.errors import WireError
from protocols.git.packstream import PackLimits, PackStream
from protocols.git.pktline import FLUSH, Pkts
from protocols.git.refusal import error_line
from protocols.git.report import last_word, progress, report
from protocols.ssh.exec import PROGRAMS
from protocols.wire import Side
from recorder.render import one_line
from recorder.replay.git_exchanges import Conversation, Exchange
from recorder.replay.git_matching import DEFAULT, Form, closest, form, same
from recorder.replay.git_packs import Contents, PackError, contents, differing
from recorder.replay.git_requests import ROOM, Request, Requests

Mode = Literal["strict", "ordered", "pool"]
PARSED: Final = 1 << 28
"""The longest pack whose objects are looked at."""
SPOOLED: Final = 1 << 31
"""Bytes of packs on disk, of all connections together."""
_VERSION: Final = re.compile(rb"(?:^|:)version=([0-9])(?=:|$)")


@dataclass(slots=True)
class Repertoire:
    """What can be answered, for all connections."""

    conversation: Conversation
    mode: Mode = "strict"
    on: frozenset[str] = frozenset(DEFAULT)
    tell: Callable[[str], object] = print
    misses: int = 0
    used: Counter[str] = field(default_factory=Counter)
    """How often which normaliser was needed."""
    lock: Lock = field(default_factory=Lock)
    looking: Lock = field(default_factory=Lock)
    """Only one pack is unpacked at a time."""
    spooled: int = 0
    recorded: Contents | None = None
    forms: list[Form] = field(default_factory=list)
    """Of the recorded requests."""

    def __post_init__(self) -> None:
        self.forms = [form(each.request, self.on) for each in self.conversation.exchanges]

    @property
    def longest(self) -> int:
        """Bytes that a request may have."""
        exchanges = self.conversation.exchanges
        cost = (e.request.size + 64 * len(e.request.lines) for e in exchanges)
        return ROOM + 2 * max(cost, default=0)

    def of_pack(self, place: tuple[int, int]) -> Contents:
        """The objects of the recorded pack. PackError. Within ``looking``."""
        if self.recorded is None:
            talk = self.conversation
            pack = b"".join(talk.tape.said.read(*place))
            self.recorded = contents(pack, talk.object_format)
        return self.recorded


class Player:
    """One connection. ``receive`` gives what to send; ``over`` when to hang up."""

    def __init__(self, on: Repertoire) -> None:
        self._on = on
        self._first = Pkts(Side.CLIENT)
        self._requests: Requests | None = None
        self._last = 0
        self._now: Exchange | None = None
        self._push: Request | None = None
        self._missed = ""
        self._stream: PackStream | None = None
        self._spool: BinaryIO | None = None
        self._spooled = 0
        self.whole = 0
        """Requests that came whole, packs and the first line among them."""
        self.over = False

    @property
    def partial(self) -> bool:
        """It waits for the rest of a request."""
        if self._requests is None:
            return True
        return self._requests.partial and not self.over

    def close(self) -> None:
        """Give back what it holds."""
        if self._spool is not None:
            self._spool.close()
        with self._on.lock:
            self._on.spooled -= self._spooled
        self._spooled, self._spool = 0, None

    def receive(self, data: bytes) -> Iterator[bytes]:
        """Bytes of the client, and what to answer."""
        try:
            if self._requests is None:
                self._first.feed(data)
                line = self._first.next()
                if line is None:
                    return
                yield from self._greet(line)
                data = self._first.rest()
            if self._requests is not None and not self.over:
                for item in self._requests.feed(data):
                    yield from self._asked(item) if isinstance(item, Request) else self._pack(item)
                    if self.over:
                        return
                self.over = self.over or self._requests.bye
        except WireError as error:
            self.over = True
            yield from self._say(f"recorder serve: {error}")

    # -- the first line ---------------------------------------------------

    def _greet(self, line: bytes) -> Iterator[bytes]:
        talk = self._on.conversation
        self.whole += 1
        if line == FLUSH:
            raise WireError(Side.CLIENT, "this is git://: no service was asked for")
        asked, *more = line[4:].split(b"\0")
        program, _, path = asked.rstrip(b"\n").partition(b" ")
        why = self._other(program, path, more)
        if why:
            self.over = True
            yield from self._miss(why)
            return
        self._requests = Requests(talk.tape.service, talk.version, self._on.longest)
        self.over = talk.ended
        yield from talk.tape.got.read(0, talk.greeting)

    def _other(self, program: bytes, path: bytes, more: list[bytes]) -> str:
        """How what is asked for is another service than the recorded."""
        on, talk = self._on, self._on.conversation
        tape = talk.tape
        if PROGRAMS.get(program) != tape.service:
            names = {service: name.decode() for name, service in PROGRAMS.items()}
            return f"on record is {names[tape.service]}, asked is {_text(program)}"
        if "repository" not in on.on and _plain(path) != _plain(tape.path):
            return f"on record is {_text(tape.path)}, asked is {_text(path)}"
        then = _version(tape.asked_version)
        now = max(map(_version, more), default=0)
        if (then != now) if on.mode == "strict" else (talk.version > now):
            which = then if on.mode == "strict" else talk.version
            return (f"it was asked with version {which} of git's protocol, this is {now} "
                    f"(git -c protocol.version={which})")  # fmt: skip
        return ""

    # -- requests ---------------------------------------------------------

    def _asked(self, request: Request) -> Iterator[bytes]:
        found = self._find(request)
        if found is None:
            among = self._candidates()
            self._missed = closest(request, among or self._on.conversation.exchanges[-1:])
            if not among:
                self._missed = f"all that is on record was asked; {self._missed}"
        elif found.withheld:
            self._missed = (f"request {found.number} ({found.request.said}) is on record, but its "
                            f"answer is not all there: {found.withheld}")  # fmt: skip
            found = None
        self.whole += 1
        self._now, self._push = found, request if request.kind == "push" else None
        if request.pack:
            talk = self._on.conversation
            place = found.pack if found is not None else None
            known = place[1] - place[0] if place is not None else 0
            size = min(1 << 30, (1 << 26) + 2 * known)
            self._stream = PackStream(talk.object_format, PackLimits(size=size, inflated=4 << 30))
        else:
            yield from self._answer()

    def _candidates(self) -> list[Exchange]:
        exchanges, at = self._on.conversation.exchanges, self._last
        if self._on.mode == "strict":
            return exchanges[at : at + 1]
        if self._on.mode == "ordered":
            return exchanges[at:]
        # Of the same asked again, the one that came next.
        return exchanges[at:] + exchanges[:at]

    def _find(self, request: Request) -> Exchange | None:
        """The first that is the very same; else the one whose answer makes most of the haves."""
        on = self._on
        now = form(request, on.on)
        best: tuple[Exchange, tuple[str, ...]] | None = None
        for exchange in self._candidates():
            if exchange.hidden or on.forms[exchange.number - 1] != now:
                continue
            if exchange.behind and exchange.number != self._last + 1:
                continue
            took = same(exchange, request, on.on)
            if took is None:
                continue
            if best is None or not took or len(exchange.acked) > len(best[0].acked):
                best = exchange, took
            if not took:
                break
        if best is None:
            return None
        with on.lock:
            on.used.update(best[1])
        return best[0]

    def _answer(self) -> Iterator[bytes]:
        found = self._now
        if found is None:
            yield from self._miss(self._missed)
            return
        self._last, self.over = found.number, found.last
        yield from self._on.conversation.tape.got.read(found.start, found.stop)

    # -- packs ------------------------------------------------------------

    def _pack(self, data: bytes) -> Iterator[bytes]:
        stream = self._stream
        assert stream is not None
        used = stream.feed(data)
        if used < len(data):
            raise WireError(Side.CLIENT, "speaks on behind its pack")
        if self._now is not None:
            with self._on.lock:
                full = self._on.spooled + used > SPOOLED
                if not full:
                    self._on.spooled += used
                    self._spooled += used
            if full:
                self._now, self._missed = None, "no room is left for its pack; try again later"
            else:
                if self._spool is None:
                    self._spool = tempfile.TemporaryFile(prefix="recorder-")  # noqa: SIM115
                self._spool.write(data)
        if stream.done:
            self.whole += 1
            if self._now is not None:
                self._compare(self._now, stream.trailer)
            self.close()
            yield from self._answer()

    def _compare(self, found: Exchange, trailer: str) -> None:
        """Is it the recorded pack, or one of the same objects? Else it is a miss."""
        on, spool = self._on, self._spool
        assert found.pack is not None
        assert spool is not None
        start, stop = found.pack
        tail = b"".join(on.conversation.tape.said.read(stop - len(trailer) // 2, stop))
        if tail.hex() == trailer:
            return
        if "pack-bytes" not in on.on:
            why = "its pack: other bytes (its objects were not compared: --exact)"
        elif max(stop - start, spool.tell()) > PARSED:
            why = "its pack: other bytes, and too long for its objects to be compared"
        else:
            with on.looking:
                try:
                    then = on.of_pack(found.pack)
                    spool.seek(0)
                    why = differing(then, contents(spool.read(), on.conversation.object_format))
                except PackError as error:
                    why = f"its pack: other bytes, and its objects can't be compared: {error}"
        if why:
            self._now = None
            self._missed = f"the closest on record is request {found.number}, " \
                f"{found.request.said}; {why}"  # fmt: skip
        else:
            with on.lock:
                on.used["pack-bytes"] += 1

    # -- misses -----------------------------------------------------------

    def _miss(self, why: str) -> Iterator[bytes]:
        on = self._on
        with on.lock:
            on.misses += 1
        self.over = True
        why = one_line(why)
        on.tell(f"not on record: {why}")
        yield from self._say(f"this was not recorded: {why}")

    def _say(self, text: str) -> Iterator[bytes]:
        """An error, where the client expects one: a report for a push."""
        if self._push is None:
            yield error_line(text)
            return
        updates = self._push.updates
        chosen = self._push.parts[1]
        band = b"side-band-64k" in chosen
        if not {b"report-status", b"report-status-v2"} & set(chosen):
            yield last_word(text, band)
            return
        if band:
            yield progress(text)
        said = [(update.ref, "this was not recorded") for update in updates]
        if said and not band:
            said[0] = said[0][0], text
        yield report(said, side_band=band)


def _version(raw: bytes) -> int:
    return max((int(found) for found in _VERSION.findall(raw)), default=0)


def _plain(path: bytes) -> bytes:
    return path.strip(b"/").removesuffix(b".git")


def _text(raw: bytes) -> str:
    return one_line(repr(raw[:200].decode("utf-8", "backslashreplace")))
