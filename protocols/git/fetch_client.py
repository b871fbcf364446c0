"""Speaks protocol v2 to ``git-upload-pack`` as a client (gitprotocol-v2(5)).

The methods are generators: they yield None for the next line and are sent it
(None at the end of the stream); what they do ends with the value that they return, or
with FetchFailed.  Commands follow each other on one connection; after a FetchFailed
the connection is good for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass
from typing import Final, NoReturn, TypeAlias, TypeVar

from protocols.contract import Spool, SpoolFull
from protocols.errors import WireError
from protocols.git.advertisement import Advertisement
from protocols.git.looking import Fetch
from protocols.git.names import is_oid
from protocols.git.pktline import DELIM, END, FLUSH, V2, Pkts, content, pkt
from protocols.git.sideband import DATA, ERROR, band_of
from protocols.wire import Side

T = TypeVar("T")
Reading: TypeAlias = "Generator[None, bytes | None, T]"

_PACK_HEAD: Final = 12
_AGENT: Final = b"agent=wirewarden\n"
_FEATURES_MOST: Final = 1000
"""Lines of an advertisement, and of a section that is no pack."""


class FetchFailed(Exception):
    """Fit for the client. ``begun``: objects were on their way."""

    def __init__(self, message: str, begun: bool = False) -> None:
        super().__init__(message)
        self.begun = begun


@dataclass(frozen=True, slots=True)
class Fetched:
    """``objects`` in the pack that was spooled; ``cut``: the upstream named commits
    at which it cut history short."""

    objects: int
    cut: bool


class FetchClient:
    """One connection. ``send`` takes what is to go upstream."""

    def __init__(self, send: Callable[[bytes], None], algorithm: str, most_bytes: int) -> None:
        self._send = send
        self._algorithm = algorithm
        self._digits = 40 if algorithm == "sha1" else 64
        self._left = most_bytes
        """Bytes of packs that may still come."""
        self._common = b""
        self.filters = False
        self.shallow = False
        self.symbolic: dict[bytes, bytes] = {}
        """Symbolic refs that were told of, and what each stands for."""
        self.pkts = Pkts(Side.UPSTREAM, V2)

    @property
    def left(self) -> int:
        return self._left

    def greet_or_list(self) -> Reading[dict[bytes, str] | None]:
        """``greet``; or, of an upstream that speaks v0 or v1, which shows its refs by
        itself, all of them. FetchFailed where they can't be read or are too many."""
        line = yield from self._line()
        if content(line) == b"version 2":
            yield from self._capabilities()
            return None
        shown = Advertisement(1)
        try:
            shown.line(line)
            while not shown.done:
                shown.line((yield from self._line()))
        except WireError as error:
            raise FetchFailed("the upstream's refs can't be read") from error
        if shown.error or not shown.whole:
            raise FetchFailed("the upstream's refs can't be read")
        return {ref: oid.decode() for ref, oid in shown.tips.items()}

    def greet(self) -> Reading[None]:
        """The capability advertisement. FetchFailed when it is not of v2, or of another
        object format than the client's."""
        line = yield from self._line()
        if content(line) != b"version 2":
            raise FetchFailed(
                "the upstream does not speak git's protocol version 2 "
                "(sshd: AcceptEnv GIT_PROTOCOL)"
            )
        yield from self._capabilities()

    def _capabilities(self) -> Reading[None]:
        capabilities: dict[bytes, bytes] = {}
        while (line := (yield from self._line())) != FLUSH:
            name, _, value = content(line).partition(b"=")
            capabilities[name] = value
            if line in (DELIM, END) or len(capabilities) > _FEATURES_MOST:
                raise FetchFailed("the upstream's capabilities can't be read")
        if b"fetch" not in capabilities or b"ls-refs" not in capabilities:
            raise FetchFailed("the upstream offers no fetch")
        said = capabilities.get(b"object-format", b"sha1")
        if said != self._algorithm.encode():
            raise FetchFailed("the upstream has another object format than the push")
        if b"object-format" in capabilities:
            self._common += pkt(b"object-format=%b\n" % said)
        if b"agent" in capabilities:
            self._common += pkt(_AGENT)
        features = capabilities[b"fetch"].split(b" ")
        self.filters = b"filter" in features
        self.shallow = b"shallow" in features

    def refs(self, prefixes: Collection[bytes], most: int) -> Reading[dict[bytes, str]]:
        """Refs that begin with one of ``prefixes``, and their object ids; ``symbolic``
        tells which of them stand for another. FetchFailed when there are more than ``most``."""
        arguments = b"".join(pkt(b"ref-prefix %b\n" % prefix) for prefix in prefixes)
        self._ask(b"ls-refs", pkt(b"symrefs\n") + arguments)
        found: dict[bytes, str] = {}
        while (line := (yield from self._line())) != FLUSH:
            oid, space, rest = content(line).partition(b" ")
            ref, _, attributes = rest.partition(b" ")
            if not space or not ref or not is_oid(oid, self._digits):
                raise FetchFailed("the upstream's refs can't be read")
            found[ref] = oid.decode()
            if attributes:
                self.symbolic[ref] = attributes.removeprefix(b"symref-target:")
            if len(found) > most:
                raise FetchFailed("the upstream has more refs than are looked at")
        return found

    def fetch(self, fetch: Fetch, spool: Spool, most_objects: int) -> Reading[Fetched]:
        """Runs ``fetch`` and writes the pack that comes to ``spool``."""
        lines = [b"ofs-delta\n", b"no-progress\n"]
        lines += [b"want %b\n" % oid.encode() for oid in fetch.wants]
        lines += [b"have %b\n" % oid.encode() for oid in fetch.haves]
        if fetch.filter:
            lines.append(b"filter %b\n" % fetch.filter.encode())
        if fetch.deepen:
            lines.append(b"deepen %d\n" % fetch.deepen)
        self._ask(b"fetch", b"".join(map(pkt, (*lines, b"done\n"))))
        cut = False
        while content(line := (yield from self._line())) != b"packfile":
            if line in (FLUSH, END):
                raise FetchFailed("the upstream sent no pack")
            if content(line) != b"shallow-info":
                raise FetchFailed("the upstream's answer can't be read")
            while (line := (yield from self._line())) != DELIM:
                if line in (FLUSH, END):
                    raise FetchFailed("the upstream sent no pack")
                # No more of these than commits were wanted, or at the depth.
                cut = cut or content(line).startswith(b"shallow ")
        objects = yield from self._pack(spool, most_objects)
        return Fetched(objects, cut)

    def bye(self) -> None:
        """End the connection in peace."""
        self._send(FLUSH)

    # -- inner

    def _ask(self, command: bytes, arguments: bytes) -> None:
        head = pkt(b"command=%b\n" % command) + self._common
        self._send(head + DELIM + arguments + FLUSH)

    def _line(self) -> Reading[bytes]:
        line = yield
        if line is None:
            raise FetchFailed("the upstream closed the connection")
        if line.startswith(b"ERR ", 4):
            self._err()
        return line

    def _err(self, begun: bool = False) -> NoReturn:
        # Its words may be anything: they are not ours to pass on to the client.
        raise FetchFailed("the upstream refused to tell", begun)

    def _pack(self, spool: Spool, most_objects: int) -> Reading[int]:
        head = b""
        objects = 0
        while True:
            line = yield
            begun = objects > 0
            if line is None:
                raise FetchFailed("the upstream closed the connection", begun)
            if line in (FLUSH, DELIM, END):
                if line != FLUSH or len(head) < _PACK_HEAD:
                    raise FetchFailed("the upstream's pack can't be read", begun)
                return objects
            try:
                band = band_of(line)
            except WireError as error:
                raise FetchFailed("the upstream's pack can't be read", begun) from error
            if band == ERROR:
                self._err(begun)
            if band != DATA:
                continue
            data = line[5:]
            if len(head) < _PACK_HEAD:
                head += data[:_PACK_HEAD]
                if len(head) >= _PACK_HEAD:
                    objects = _count(head[:_PACK_HEAD])
            self._left -= len(data)
            if self._left < 0 or objects > most_objects:
                raise FetchFailed(
                    "what the upstream has to be asked for is larger than is fetched", objects > 0
                )
            try:
                spool.write(data)
            except SpoolFull as error:
                raise FetchFailed(str(error), objects > 0) from error


def _count(head: bytes) -> int:
    """Objects, from the first bytes of a pack (gitformat-pack(5))."""
    if head[:4] != b"PACK" or int.from_bytes(head[4:8]) not in (2, 3):
        raise FetchFailed("the upstream's pack can't be read")
    return int.from_bytes(head[8:12])
